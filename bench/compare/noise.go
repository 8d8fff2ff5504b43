//go:build linux

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// quietEnough is how much of the two cores, in cores, others may use during
	// a measurement.
	quietEnough = 0.08
	// glance is how long it is looked whether they are quiet again.
	glance = 100 * time.Millisecond
)

// quietest measures once, and, when others used the cores meanwhile, again once
// they are quiet, as long as there is patience left. It returns what was
// measured when they used least.
func quietest[T any](b *bench, once func() (T, error)) (T, error) {
	var best T
	start := time.Now()
	least, err := b.noiseOf(func() (err error) {
		best, err = once()
		return err
	})
	took := time.Since(start)
	for err == nil && least > quietEnough && b.patience > took {
		start = time.Now()
		for noise := 1.0; err == nil && noise > quietEnough && time.Since(start) < b.patience; {
			noise, err = b.noiseOf(func() error {
				time.Sleep(glance)
				return nil
			})
		}
		if err != nil {
			break
		}
		var v T
		var noise float64
		noise, err = b.noiseOf(func() (err error) {
			v, err = once()
			return err
		})
		if err == nil && noise < least {
			best, least = v, noise
		}
		b.patience -= time.Since(start)
	}
	b.noise = append(b.noise, least)
	return best, err
}

// noiseOf is how much of the two cores, in cores, others used while do ran.
func (b *bench) noiseOf(do func() error) (float64, error) {
	start := time.Now()
	before, err := b.others()
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := b.others()
	return max((after-before).Seconds()/time.Since(start).Seconds(), 0), err
}

// others is the CPU time that the two cores have spent on what is not ours,
// with the hypervisor's other guests.
func (b *bench) others() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	sum, err := busy(string(text), b.serverCore, b.loadCore)
	if err != nil {
		return 0, err
	}
	seen := map[int]bool{}
	for _, s := range b.servers {
		if pid := s.cmd.Process.Pid; !seen[pid] {
			seen[pid] = true
			used, err := s.cpu()
			if err != nil {
				return 0, err
			}
			sum -= used
		}
	}
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if err := unix.Getrusage(who, &r); err != nil {
			return 0, fmt.Errorf("read the CPU time of the benchmark: %w", err)
		}
		sum -= time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return sum, nil
}

// busy sums the time that some cores were not idle, from the text of
// /proc/stat, which counts in hundredths of a second.
func busy(stat string, cores ...int) (time.Duration, error) {
	var sum time.Duration
	for _, core := range cores {
		_, line, ok := strings.Cut(stat, "\ncpu"+strconv.Itoa(core)+" ")
		line, _, _ = strings.Cut(line, "\n")
		fields := strings.Fields(line)
		if !ok || len(fields) < 8 {
			return 0, fmt.Errorf("/proc/stat tells nothing of core %d", core)
		}
		for i, f := range fields[:8] {
			if i == 3 || i == 4 { // idle, and idle while a disk works
				continue
			}
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read /proc/stat: %w", err)
			}
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum, nil
}
