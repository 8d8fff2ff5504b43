package boltstore_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"openimds/internal/store"
	"openimds/internal/store/boltstore"
)

// BenchmarkCommit changes one of 1,000 records of 2 KiB, as many writers at
// once, each commit under a condition and synced. One operation is one commit.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := filled(b, 1000)
			value := strings.Repeat("x", 2048)
			measure(b, writers, func(n int64) error {
				tx := put(fmt.Sprintf("record/%06d", n%1000), value)
				tx.If = []store.Condition{store.Present(tx.Put[0].Key)}
				_, err := s.Commit(b.Context(), tx)
				return err
			})
		})
	}
}

// BenchmarkBatch does about the same with the batches of bbolt itself, to
// compare: a record, and the same again as its history.
func BenchmarkBatch(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			db, err := bolt.Open(filepath.Join(b.TempDir(), "db"), 0o600, nil)
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			value := []byte(strings.Repeat("x", 2048))
			measure(b, writers, func(n int64) error {
				return db.Batch(func(tx *bolt.Tx) error {
					for bucket, key := range map[string]string{"records": fmt.Sprintf("record/%06d", n%1000), "history": fmt.Sprintf("%012d", n)} {
						bucket, err := tx.CreateBucketIfNotExists([]byte(bucket))
						if err != nil {
							return err
						}
						if err := bucket.Put([]byte(key), value); err != nil {
							return err
						}
					}
					return nil
				})
			})
		})
	}
}

// measure shares b.N operations among writers and reports how long they take.
func measure(b *testing.B, writers int, do func(n int64) error) {
	b.Helper()
	took := make([][]time.Duration, writers)
	var next atomic.Int64
	var group sync.WaitGroup
	b.ResetTimer()
	for w := range writers {
		group.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				began := time.Now()
				if err := do(n); err != nil {
					b.Error(err)
					return
				}
				took[w] = append(took[w], time.Since(began))
			}
		})
	}
	group.Wait()
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
}

// filled returns a store with records of 2 KiB.
func filled(tb testing.TB, records int) *boltstore.Store {
	tb.Helper()
	s := open(tb, config(tb))
	value := strings.Repeat("x", 2048)
	for i := 0; i < records; {
		var tx store.Tx
		for ; i < records && len(tx.Put) < 1000; i++ {
			tx.Put = append(tx.Put, put(fmt.Sprintf("record/%06d", i), value).Put...)
		}
		commit(tb, s, tx)
	}
	return s
}

func BenchmarkGet(b *testing.B) {
	s := filled(b, 10_000)
	for n := 0; b.Loop(); n++ {
		if _, err := s.Get(b.Context(), fmt.Sprintf("record/%06d", n%10_000)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStart opens a store with 100,000 records and reads them all.
func BenchmarkStart(b *testing.B) {
	s := filled(b, 100_000)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	c := boltstore.Config{Path: s.Path()}
	for b.Loop() {
		s, err := boltstore.Open(c)
		if err != nil {
			b.Fatal(err)
		}
		l, err := s.List(b.Context(), "", store.ListOptions{})
		if err != nil || len(l.Entries) != 100_000 {
			b.Fatalf("%d records, %v", len(l.Entries), err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWatch is one commit with as many watches, until all have it.
func BenchmarkWatch(b *testing.B) {
	for _, watches := range []int{1, 100} {
		b.Run(fmt.Sprintf("watches=%d", watches), func(b *testing.B) {
			s := filled(b, 1)
			at := uint64(1)
			var all []store.Watcher
			for range watches {
				w, err := s.Watch(b.Context(), "", at)
				if err != nil {
					b.Fatal(err)
				}
				defer w.Close()
				all = append(all, w)
			}
			for b.Loop() {
				at = commit(b, s, put("record", "x"))
				for _, w := range all {
					if got, err := w.Next(b.Context()); err != nil || got.Revision != at {
						b.Fatal(got, err)
					}
				}
			}
		})
	}
}
