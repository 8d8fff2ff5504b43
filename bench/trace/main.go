//go:build linux

// Command trace measures what the tracer costs traffic that it has no interest
// in: while a benchmark runs in one thread, the engine is attached and taken
// away in turn, and the time of an operation with it is divided by the time
// without it. bench/tracer runs it in a network namespace of its own.
package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"openimds/internal/trace"
	"openimds/internal/trace/engine"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench/trace:", err)
		os.Exit(1)
	}
}

// marker begins the section of the results.
const marker = "<!-- Written by bench/tracer from here on. -->\n"

func run(args []string, w io.Writer) error {
	flags := flag.NewFlagSet("trace", flag.ContinueOnError)
	each := flags.Duration("time", 20*time.Second, "how long each measurement takes")
	out := flags.String("out", "", "`file` of results, whose section is written again; empty: the standard output")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := alone(); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(marker + "\n# What the tracer costs unrelated traffic\n\n" +
		"Time of an operation with the engine attached, divided by that without it, from slices of 10 ms taken in turn within one run:\n" +
		"the 10th, 25th and 50th percentile of both. Low percentiles are the quiet moments. The traffic is TCP over the loopback interface,\n" +
		"in one thread that does nothing else: the worst case, as each send is two packets' worth of hooks and no work. The target is at\n" +
		"most 1.04 at p10 for the ping-pong without the status of answers, which is the default.\n\n" +
		"| traffic | engine | status of answers | off, p10, ns | p10 × | p25 × | p50 × |\n|---|---|---|--:|--:|--:|--:|\n")
	for _, l := range loads {
		for _, name := range []string{"cgrich", "cgroup"} {
			for _, answers := range []bool{false, true} {
				line, err := measure(l, name, answers, *each)
				if err != nil {
					return err
				}
				fmt.Fprintln(os.Stderr, line)
				b.WriteString(line + "\n")
			}
		}
	}
	fmt.Fprintf(&b, "\nLinux %s, %s, %v for each row.\n", release(), time.Now().Format(time.DateOnly), *each)
	if *out == "" {
		_, err := io.WriteString(w, b.String())
		return err
	}
	old, err := os.ReadFile(*out)
	if err != nil {
		return err
	}
	return os.WriteFile(*out, []byte(replace(string(old), b.String())), 0o644)
}

// replace puts the section in the place of the one before, or at the end. What
// others wrote before and after it stays.
func replace(text, section string) string {
	before, after, _ := strings.Cut(text, "\n"+marker)
	text = strings.TrimRight(before, "\n") + "\n\n" + section
	if i := strings.Index(after, "\n<!-- Written by "); i >= 0 {
		text += after[i:]
	}
	return text
}

// alone returns an error unless the loopback interface is the only one.
func alone() error {
	all, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range all {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0 {
			return fmt.Errorf("interface %s is up: run bench/tracer, which makes a namespace", i.Name)
		}
	}
	return nil
}

// Slices during which the engine is on, off, or neither for sure.
const (
	off = iota
	on
	between
)

const slice = 10 * time.Millisecond

// measure runs one load while an engine comes and goes.
func measure(l load, name string, answers bool, each time.Duration) (string, error) {
	var state atomic.Int32
	state.Store(between)
	done := make(chan error, 1)
	stop := make(chan struct{})
	go func() { done <- toggle(name, answers, &state, stop) }()
	times, err := l.slices(each, &state)
	close(stop)
	if terr := <-done; terr != nil {
		return "", terr
	}
	if err != nil {
		return "", err
	}
	if len(times[on]) < 20 || len(times[off]) < 20 {
		return "", fmt.Errorf("%s: only %d slices with and %d without; measure longer", l.name, len(times[on]), len(times[off]))
	}
	ratio := func(p float64) float64 { return percentile(times[on], p) / percentile(times[off], p) }
	with := map[bool]string{false: "no", true: "yes"}[answers]
	return fmt.Sprintf("| %s | %s | %s | %.0f | %.3f | %.3f | %.3f |", l.name, name, with, percentile(times[off], 0.10), ratio(0.10), ratio(0.25), ratio(0.50)), nil
}

// toggle attaches the engine for a while, and takes it away for a while.
func toggle(name string, answers bool, state *atomic.Int32, stop <-chan struct{}) error {
	pause := func() bool {
		select {
		case <-stop:
			return false
		case <-time.After(250 * time.Millisecond):
			return true
		}
	}
	for {
		state.Store(off)
		if !pause() {
			return nil
		}
		state.Store(between)
		e, _, err := engine.Open(engine.Options{Targets: trace.DefaultTargets(), Ports: []uint16{80}, Answers: answers, Log: slog.New(slog.DiscardHandler)}, name)
		if err != nil {
			return err
		}
		state.Store(on)
		more := pause()
		state.Store(between)
		if err := e.Close(); err != nil {
			return err
		}
		// What the kernel does later, such as freeing, belongs to neither.
		time.Sleep(50 * time.Millisecond)
		if !more {
			return nil
		}
	}
}

func percentile(all []float64, p float64) float64 {
	slices.Sort(all)
	return all[int(p*float64(len(all)-1))]
}

func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "?"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// pin keeps the calling goroutine on one thread and one processor.
func pin() {
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(runtime.NumCPU() - 1)
	_ = unix.SchedSetaffinity(0, &set) // with one processor there is no choice
}
