// Command tsdb does with the Prometheus time-series library what its parent
// does with internal/usage/history, to compare them. It is a module of its own,
// since nothing else needs that library.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

const instances, active, minutes = 10_000, 1_000, 1440

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "tsdb:", err)
		os.Exit(1)
	}
}

// used is the processor time of the process so far.
func used() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // cannot fail
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// size is how many bytes the files of a directory have.
func size(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

func run() error {
	dir, err := os.MkdirTemp("", "imds-bench-tsdb")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	options := tsdb.DefaultOptions()
	options.RetentionDuration = int64(455 * 24 * time.Hour / time.Millisecond)
	open := func() (*tsdb.DB, error) {
		return tsdb.Open(dir, slog.New(slog.DiscardHandler), nil, options, nil)
	}
	db, err := open()
	if err != nil {
		return err
	}
	start := time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)
	random := rand.New(rand.NewPCG(1, 2))
	begin, wall := used(), time.Now()
	var peak uint64
	var worst time.Duration
	for m := range minutes {
		at := start.Add(time.Duration(m) * time.Minute).UnixMilli()
		one := time.Now()
		app := db.Appender(context.Background())
		for range active {
			id := fmt.Sprintf("i-%017x", random.IntN(instances))
			for _, kind := range []string{"tokenFree", "tokened"} {
				_, err := app.Append(0, labels.FromStrings("__name__", kind, "instance", id), at, float64(1+random.IntN(50)))
				if err != nil && !errors.Is(err, storage.ErrDuplicateSampleForTimestamp) {
					return err
				}
			}
		}
		if err := app.Commit(); err != nil {
			return err
		}
		worst = max(worst, time.Since(one))
		if m%60 == 59 {
			var ms runtime.MemStats
			runtime.ReadMemStats(&ms)
			peak = max(peak, ms.HeapInuse)
		}
	}
	bytes, err := size(dir)
	if err != nil {
		return err
	}
	fmt.Printf("a minute: %v of processor, at worst %v in all; a day: %v, %d MiB of heap at most, %.1f MiB on disk\n",
		(used()-begin)/minutes, worst, time.Since(wall).Round(time.Millisecond), peak>>20, float64(bytes)/(1<<20))
	for _, what := range []struct {
		name string
		m    *labels.Matcher
	}{
		{"one instance, every minute of the day", labels.MustNewMatcher(labels.MatchEqual, "instance", fmt.Sprintf("i-%017x", 77))},
		{"all instances, the day", labels.MustNewMatcher(labels.MatchRegexp, "instance", ".+")},
	} {
		one := time.Now()
		q, err := db.Querier(start.UnixMilli(), start.Add(24*time.Hour).UnixMilli())
		if err != nil {
			return err
		}
		n := 0
		for set := q.Select(context.Background(), false, nil, what.m); set.Next(); {
			for it := set.At().Iterator(nil); it.Next() != chunkenc.ValNone; n++ {
				it.At()
			}
		}
		if err := q.Close(); err != nil {
			return err
		}
		fmt.Printf("%s: %d samples in %v\n", what.name, n, time.Since(one))
	}
	if err := db.Close(); err != nil {
		return err
	}
	one := time.Now()
	if db, err = open(); err != nil {
		return err
	}
	fmt.Printf("open: %v\n", time.Since(one))
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // cannot fail
	fmt.Printf("resident at most: %d MiB\n", r.Maxrss>>10)
	return db.Close()
}
