//go:build linux

// Command series measures what a day of usage costs in internal/usage/history:
// 10,000 instances, a tenth of which do something in any minute. The program
// below tsdb does the same with the Prometheus time-series library.
package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"openimds/internal/usage/history"
	"openimds/internal/usage/series"
)

const instances, active, minutes = 10_000, 1_000, 1440

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "series:", err)
		os.Exit(1)
	}
}

// used is the processor time of the process so far.
func used() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // cannot fail
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func run() error {
	dir, err := os.MkdirTemp("", "imds-bench-series")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "usage")
	start := time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)
	now := start
	cfg := history.Config{Path: path, Together: time.Nanosecond, Now: func() time.Time { return now }}
	f, err := history.Open(cfg)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1, 2))
	begin, wall := used(), time.Now()
	var peak uint64
	var worst time.Duration
	for m := range minutes {
		now = start.Add(time.Duration(m) * time.Minute)
		one := time.Now()
		r := series.Report{Boot: "b", Sequence: uint64(m + 1)}
		for range active {
			s := series.Sample{Instance: fmt.Sprintf("i-%017x", random.IntN(instances)), Minute: now.Unix() / 60}
			s.Counts[series.TokenFree], s.Counts[series.Tokened] = uint64(1+random.IntN(50)), uint64(1+random.IntN(50))
			r.Samples = append(r.Samples, s)
		}
		if err := f.Record(context.Background(), r); err != nil {
			return err
		}
		worst = max(worst, time.Since(one))
		if m%60 == 59 {
			var ms runtime.MemStats
			runtime.ReadMemStats(&ms)
			peak = max(peak, ms.HeapInuse)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	fmt.Printf("a minute: %v of processor, at worst %v in all; a day: %v, %d MiB of heap at most, %.1f MiB on disk\n",
		(used()-begin)/minutes, worst, time.Since(wall).Round(time.Millisecond), peak>>20, float64(info.Size())/(1<<20))
	one := time.Now()
	points, err := f.Range(fmt.Sprintf("i-%017x", 77), start, start.Add(24*time.Hour), series.Resolutions()[0])
	if err != nil {
		return err
	}
	fmt.Printf("one instance, every minute of the day: %d points in %v\n", len(points), time.Since(one))
	one = time.Now()
	n := 0
	if err := f.Totals(start, start.Add(24*time.Hour), func(string, history.Total) { n++ }); err != nil {
		return err
	}
	fmt.Printf("all instances, the day: %d in %v\n", n, time.Since(one))
	if err := f.Close(); err != nil {
		return err
	}
	one = time.Now()
	if f, err = history.Open(cfg); err != nil {
		return err
	}
	fmt.Printf("open: %v\n", time.Since(one))
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // cannot fail
	fmt.Printf("resident at most: %d MiB\n", r.Maxrss>>10)
	return f.Close()
}
