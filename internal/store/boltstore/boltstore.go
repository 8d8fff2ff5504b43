// Package boltstore keeps state in one file, with bbolt. Commits that come at
// the same time share their syncs of the disk; the history is kept beside the
// entries, so that watches resume over a restart.
package boltstore

import (
	"context"
	"errors"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"openimds/internal/fault"
	"openimds/internal/store"
	"openimds/internal/store/fanout"
)

// What a Config means that names nothing else.
const (
	DefaultTimeout   = 2 * time.Second
	DefaultKeep      = 10_000
	DefaultKeepBytes = 64 << 20
)

// Config of a Store.
type Config struct {
	// Path of the file. It is made, readable by its owner alone, if there is
	// none; its folder must exist.
	Path string
	// Timeout is how long to wait for another process to release the file; 0:
	// DefaultTimeout.
	Timeout time.Duration
	// ReadOnly opens the file for reading, together with other readers:
	// commits are fault.Unavailable. The file must exist.
	ReadOnly bool
	// Keep is how many revisions of history are kept at least, for watches to
	// resume over, and KeepBytes how many bytes of it at most, which goes
	// before; 0: DefaultKeep, DefaultKeepBytes. Up to an eighth more revisions
	// may be there.
	Keep, KeepBytes int
	// Lag and LagBytes bound how far a watch may be behind before it is cut
	// off; 0: the defaults of package fanout.
	Lag, LagBytes int
}

// Store is a store.Store in a file.
type Store struct {
	config Config
	db     *bolt.DB
	hub    *fanout.Hub // its head is the revision that is durable, and may be seen
	queue  queue
	idle   chan struct{} // closed when the writer has ended

	writing sync.Mutex           // held by who has a write transaction
	commit  func(*bolt.Tx) error // guarded by writing; another one in tests

	mu      sync.Mutex
	readers *sync.WaitGroup // of the present; guarded by mu, see settle
}

// Open opens a store, and makes it if there is none. The error is of kind
// Unavailable when the file cannot be used now, because of its disk, its
// permissions or another process, Unsupported when it is no file of ours or
// from a newer version, Internal when it is damaged.
func Open(c Config) (*Store, error) {
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Keep <= 0 {
		c.Keep = DefaultKeep
	}
	if c.KeepBytes <= 0 {
		c.KeepBytes = DefaultKeepBytes
	}
	db, err := open(c.Path, c.Timeout, c.ReadOnly)
	if err != nil {
		return nil, err
	}
	s := &Store{config: c, db: db, idle: make(chan struct{}), commit: (*bolt.Tx).Commit, readers: &sync.WaitGroup{}}
	s.queue.ready = make(chan struct{}, 1)
	var head uint64
	if err := guarded(func() error {
		return db.View(func(tx *bolt.Tx) error {
			head = number(tx, keyRevision)
			return nil
		})
	}); err != nil {
		_ = db.Close()
		return nil, openTrouble(c.Path, err)
	}
	s.hub = fanout.New(fanout.Config{Head: head, Count: c.Lag, Bytes: c.LagBytes, Past: s.past})
	if c.ReadOnly {
		close(s.idle)
	} else {
		go s.write()
	}
	return s, nil
}

// Path returns the path of the file.
func (s *Store) Path() string { return s.config.Path }

// Revision implements store.Store.
func (s *Store) Revision(ctx context.Context) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if s.queue.isClosed() {
		return 0, store.ErrClosed
	}
	return s.hub.Head(), nil
}

// Close implements store.Store. It waits for reads that are under way, a
// Backup too.
func (s *Store) Close() error {
	s.queue.close()
	<-s.idle
	s.hub.Close()
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.db.Close(); err != nil {
		return fault.Wrap(fault.Unavailable, err, "close state file %s", s.config.Path)
	}
	return nil
}

// readTrouble gives an error of bbolt its kind.
func (s *Store) readTrouble(err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return store.ErrClosed
	}
	return fault.Wrap(fault.Unavailable, err, "the state cannot be read")
}
