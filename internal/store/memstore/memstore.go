// Package memstore keeps state in memory: for tests, and for a service that
// starts from a file or from samples each time. Of the guarantees of a store it
// gives all but that anything outlives the process.
package memstore

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"

	"openimds/internal/fault"
	"openimds/internal/store"
	"openimds/internal/store/fanout"
)

// Bounds of the history, when a Config names none.
const (
	DefaultKeep      = 10_000
	DefaultKeepBytes = 64 << 20
)

// Config of a Store. The zero value is good.
type Config struct {
	// Keep and KeepBytes bound the history that a watch can resume over:
	// revisions, and about how many bytes; 0: the defaults.
	Keep, KeepBytes int
	// Lag and LagBytes bound how far a watch may be behind before it is cut
	// off; 0: the defaults of package fanout.
	Lag, LagBytes int
}

// Store is a store.Store in memory.
type Store struct {
	hub *fanout.Hub

	mu        sync.RWMutex // guards what follows
	keys      []string     // of entries, in order
	entries   map[string]store.Entry
	revision  uint64
	compacted uint64 // history up to here was forgotten by Compact
	history   fanout.Window
	closed    bool
}

// New returns an empty store.
func New(c Config) *Store {
	if c.Keep <= 0 {
		c.Keep = DefaultKeep
	}
	if c.KeepBytes <= 0 {
		c.KeepBytes = DefaultKeepBytes
	}
	s := &Store{entries: map[string]store.Entry{}, history: fanout.Window{Count: c.Keep, Bytes: c.KeepBytes}}
	s.hub = fanout.New(fanout.Config{Count: c.Lag, Bytes: c.LagBytes, Past: s.past})
	return s
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Entry, error) {
	if err := ctx.Err(); err != nil {
		return store.Entry{}, err
	}
	if err := store.ValidateKey(key); err != nil {
		return store.Entry{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return store.Entry{}, store.ErrClosed
	}
	e, ok := s.entries[key]
	if !ok {
		return store.Entry{}, fault.New(fault.NotFound, "there is no key %q", key)
	}
	return clone(e), nil
}

func clone(e store.Entry) store.Entry {
	e.Value = bytes.Clone(e.Value)
	return e
}

// List implements store.Store. It keeps no old states.
func (s *Store) List(ctx context.Context, prefix string, o store.ListOptions) (store.Listing, error) {
	if err := ctx.Err(); err != nil {
		return store.Listing{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return store.Listing{}, store.ErrClosed
	}
	if err := o.Check(s.revision); err != nil {
		return store.Listing{}, err
	}
	l := store.Listing{Revision: s.revision}
	from, found := slices.BinarySearch(s.keys, max(prefix, o.After))
	if found && o.After >= prefix {
		from++
	}
	for _, key := range s.keys[from:] {
		if !strings.HasPrefix(key, prefix) {
			break
		}
		if o.Limit > 0 && len(l.Entries) == o.Limit {
			l.More = true
			break
		}
		l.Entries = append(l.Entries, clone(s.entries[key]))
	}
	return l, nil
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, tx store.Tx) (uint64, error) {
	if err := tx.Validate(); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, store.ErrClosed
	}
	if err := tx.Check(func(key string) (uint64, error) { return s.entries[key].Modified, nil }); err != nil {
		return 0, err
	}
	next := s.revision + 1
	b := store.Batch{Revision: next}
	for _, p := range tx.Put {
		e := store.Entry{Key: p.Key, Value: append([]byte{}, p.Value...), Created: next, Modified: next}
		if old, ok := s.entries[p.Key]; ok {
			e.Created = old.Created
		} else {
			at, _ := slices.BinarySearch(s.keys, p.Key)
			s.keys = slices.Insert(s.keys, at, p.Key)
		}
		s.entries[p.Key] = e
		b.Events = append(b.Events, store.Event{Entry: e})
	}
	for _, key := range tx.Delete {
		if at, ok := slices.BinarySearch(s.keys, key); ok {
			s.keys = slices.Delete(s.keys, at, at+1)
			delete(s.entries, key)
			b.Events = append(b.Events, store.Event{Entry: store.Entry{Key: key, Modified: next}, Deleted: true})
		}
	}
	if len(b.Events) == 0 {
		return s.revision, nil
	}
	b.Sort()
	s.revision = next
	s.history.Push(b)
	s.hub.Publish(b)
	return next, nil
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix string, after uint64) (store.Watcher, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if after < s.compacted {
		return nil, store.ErrCompacted
	}
	return s.hub.Watch(prefix, after)
}

// past returns the history after a revision.
func (s *Store) past(_ context.Context, after uint64) ([]store.Batch, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	batches, ok := s.history.After(after, s.revision)
	if !ok {
		return nil, store.ErrCompacted
	}
	return slices.Clone(batches), nil
}

// Compact implements store.Store.
func (s *Store) Compact(ctx context.Context, revision uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return store.ErrClosed
	case revision > s.revision:
		return fault.New(fault.Invalid, "compact up to revision %d: the newest is %d", revision, s.revision)
	case revision > s.compacted:
		s.history.Forget(revision)
		s.compacted = revision
	}
	return nil
}

// Revision implements store.Store.
func (s *Store) Revision(ctx context.Context) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, store.ErrClosed
	}
	return s.revision, nil
}

// Close implements store.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.hub.Close()
		s.keys, s.entries, s.history = nil, nil, fanout.Window{}
	}
	return nil
}
