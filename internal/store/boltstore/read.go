package boltstore

import (
	"bytes"
	"context"
	"sync"

	bolt "go.etcd.io/bbolt"

	"openimds/internal/fault"
	"openimds/internal/store"
)

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (e store.Entry, err error) {
	if err := store.ValidateKey(key); err != nil {
		return store.Entry{}, err
	}
	err = s.view(ctx, func(tx *bolt.Tx) error {
		v := tx.Bucket(bucketEntries).Get([]byte(key))
		if v == nil {
			return fault.New(fault.NotFound, "there is no key %q", key)
		}
		e, err = s.entry(key, v)
		return err
	})
	return e, err
}

// entry decodes an entry of the file.
func (s *Store) entry(key string, v []byte) (store.Entry, error) {
	e, err := decodeEntry(key, v)
	if err != nil {
		return e, s.damaged(err, "the entry of key %q", key)
	}
	return e, nil
}

func (s *Store) damaged(err error, what string, args ...any) error {
	return fault.Wrap(fault.Internal, err, "state file %s is damaged, in "+what+": restore a backup", append([]any{s.config.Path}, args...)...)
}

// List implements store.Store. It keeps no old states.
func (s *Store) List(ctx context.Context, prefix string, o store.ListOptions) (l store.Listing, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		l.Revision = number(tx, keyRevision)
		if err := o.Check(l.Revision); err != nil {
			return err
		}
		c := tx.Bucket(bucketEntries).Cursor()
		k, v := c.Seek([]byte(max(prefix, o.After)))
		if k != nil && o.After >= prefix && string(k) == o.After {
			k, v = c.Next()
		}
		for ; k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
			if o.Limit > 0 && len(l.Entries) == o.Limit {
				l.More = true
				return nil
			}
			if len(l.Entries)%1024 == 1023 && ctx.Err() != nil {
				return ctx.Err()
			}
			e, err := s.entry(string(k), v)
			if err != nil {
				return err
			}
			l.Entries = append(l.Entries, e)
		}
		return nil
	})
	if err != nil {
		return store.Listing{}, err
	}
	return l, nil
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix string, after uint64) (store.Watcher, error) {
	if err := s.view(ctx, func(tx *bolt.Tx) error {
		if after < number(tx, keyCompacted) {
			return store.ErrCompacted
		}
		return nil
	}); err != nil {
		return nil, err
	}
	return s.hub.Watch(prefix, after)
}

// Bounds of what is read from the history at once.
const (
	pastCount = 256
	pastBytes = 1 << 20
)

// past reads some of the history after a revision.
func (s *Store) past(ctx context.Context, after uint64) (batches []store.Batch, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		if after < number(tx, keyCompacted) {
			return store.ErrCompacted
		}
		size := 0
		c := tx.Bucket(bucketHistory).Cursor()
		next := after + 1
		for k, v := c.Seek(revisionKey(next)); k != nil && len(batches) < pastCount && size < pastBytes; k, v = c.Next() {
			b, err := decodeBatch(next, v)
			if err != nil { // it may be that of another revision
				return s.damaged(err, "the history at revision %d", next)
			}
			batches = append(batches, b)
			size += len(v)
			next++
		}
		if len(batches) == 0 {
			return s.damaged(errShort, "the history after revision %d", after)
		}
		return nil
	})
	return batches, err
}

// view runs fn in a read transaction. It sees what is durable: in the short
// time in which a commit can be read from the file, but the disk has not
// confirmed it, view waits.
func (s *Store) view(ctx context.Context, fn func(*bolt.Tx) error) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		ahead, err := s.viewOnce(fn)
		if ahead == 0 {
			return err
		}
		if err := s.hub.Wait(ctx, ahead); err != nil {
			return err
		}
	}
}

// viewOnce returns the revision of the file without running fn if that is
// ahead of what is durable.
func (s *Store) viewOnce(fn func(*bolt.Tx) error) (ahead uint64, err error) {
	defer s.enter().Done()
	tx, err := s.db.Begin(false)
	if err != nil {
		return 0, s.readTrouble(err)
	}
	defer func() { _ = tx.Rollback() }()
	err = guarded(func() error {
		if revision := number(tx, keyRevision); revision > s.hub.Head() {
			ahead = revision
			return nil
		}
		return fn(tx)
	})
	return ahead, err
}

// enter counts a reader. Its Done is called when the reader is through.
func (s *Store) enter() *sync.WaitGroup {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers.Add(1)
	return s.readers
}
