package boltstore

import (
	"runtime"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"
)

// Failure is how the next commits of the file fail.
type Failure struct {
	// Cause of the error; nil: they succeed.
	Cause error
	// Late failures come after everything is written, in the last sync.
	Late bool
	// Times is how many fail; 0: all.
	Times int
	// Meanwhile is called in the middle of a failure: everything is written, or
	// nothing will be.
	Meanwhile func()
}

// Fail makes commits of the file fail, until it is called again. It returns
// the number of attempts to commit, as it grows.
func (s *Store) Fail(f Failure) *atomic.Int64 {
	s.writing.Lock()
	defer s.writing.Unlock()
	attempts := &atomic.Int64{}
	s.commit = func(tx *bolt.Tx) error {
		n := attempts.Add(1)
		if f.Cause == nil || f.Times > 0 && n > int64(f.Times) {
			return tx.Commit()
		}
		if f.Late {
			if err := tx.Commit(); err != nil {
				return err
			}
		} else if err := tx.Rollback(); err != nil {
			return err
		}
		if f.Meanwhile != nil {
			f.Meanwhile()
		}
		return f.Cause
	}
	return attempts
}

// Waiting returns when n commits wait for their turn.
func (s *Store) Waiting(n int) {
	for waiting := -1; waiting != n; runtime.Gosched() {
		s.queue.mu.Lock()
		waiting = len(s.queue.waiting)
		s.queue.mu.Unlock()
	}
}

// Syncs reports whether the file is synced by each commit.
func (s *Store) Syncs() bool { return !s.db.NoSync && !s.db.NoGrowSync && !s.db.NoFreelistSync }

// Raw runs fn in a write transaction of the file.
func (s *Store) Raw(fn func(entries, history, meta *bolt.Bucket) error) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		return fn(tx.Bucket(bucketEntries), tx.Bucket(bucketHistory), tx.Bucket(bucketMeta))
	})
}
