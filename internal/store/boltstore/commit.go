package boltstore

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"openimds/internal/store"
)

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, tx store.Tx) (uint64, error) {
	if err := tx.Validate(); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if s.config.ReadOnly && !s.queue.isClosed() {
		return 0, s.writeTrouble(berrors.ErrDatabaseReadOnly)
	}
	r := &request{tx: tx, size: tx.Size(), done: make(chan struct{})}
	if !s.queue.add(r) {
		return 0, store.ErrClosed
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if s.queue.withdraw(r) {
			return 0, ctx.Err()
		}
		<-r.done
	}
	return r.revision, r.err
}

// write is the goroutine that carries out commits, from Open to Close.
func (s *Store) write() {
	defer close(s.idle)
	for {
		// Who has just been answered often has the next commit ready. To let
		// them go first makes groups larger: eight writers that go on and on
		// get about half as much again.
		runtime.Gosched()
		group := s.queue.take()
		if len(group) == 0 {
			return
		}
		s.carryOut(group)
		for _, r := range group {
			close(r.done)
		}
	}
}

// errNothing ends a transaction that has nothing to write.
var errNothing = errors.New("nothing to write")

// carryOut commits a group of requests in one transaction of the file, each
// with a revision of its own, and sets their outcomes.
func (s *Store) carryOut(group []*request) {
	var batches []store.Batch
	err := s.update(func(tx *bolt.Tx) error {
		revision := number(tx, keyRevision)
		for _, r := range group {
			b, err := s.apply(tx, revision+1, r.tx)
			r.revision, r.err = 0, err
			var failed *store.ConditionError
			switch {
			case errors.As(err, &failed):
				continue
			case err != nil:
				return err
			case len(b.Events) > 0:
				revision++
				batches = append(batches, b)
			}
			r.revision = revision
		}
		if len(batches) == 0 {
			return errNothing
		}
		return s.remember(tx, batches)
	})
	switch {
	case errors.Is(err, errNothing):
	case err == nil:
		s.hub.Publish(batches...)
	case errors.Is(err, store.ErrUncertain):
		s.hub.Publish(batches...)
		for _, r := range group {
			if r.err == nil {
				r.err = err
			}
		}
	case len(group) == 1:
		group[0].revision, group[0].err = 0, err
	default:
		// One of them may be too large for what is left of the disk, or have
		// met a damaged entry. A failed condition is found anew too: it may
		// have failed because of a request that has come to nothing.
		for _, r := range group {
			s.carryOut([]*request{r})
		}
	}
}

// apply makes the changes of one commit in the bucket of entries, and returns
// them.
func (s *Store) apply(tx *bolt.Tx, revision uint64, change store.Tx) (store.Batch, error) {
	entries := tx.Bucket(bucketEntries)
	if err := change.Check(func(key string) (uint64, error) {
		_, modified, err := s.revisions(entries, key)
		return modified, err
	}); err != nil {
		return store.Batch{}, err
	}
	b := store.Batch{Revision: revision}
	for _, p := range change.Put {
		e := store.Entry{Key: p.Key, Value: append([]byte{}, p.Value...), Created: revision, Modified: revision}
		created, _, err := s.revisions(entries, p.Key)
		if err != nil {
			return store.Batch{}, err
		}
		if created > 0 {
			e.Created = created
		}
		if err := entries.Put([]byte(p.Key), encodeEntry(e)); err != nil {
			return store.Batch{}, s.writeTrouble(err)
		}
		b.Events = append(b.Events, store.Event{Entry: e})
	}
	for _, key := range change.Delete {
		if entries.Get([]byte(key)) == nil {
			continue
		}
		if err := entries.Delete([]byte(key)); err != nil {
			return store.Batch{}, s.writeTrouble(err)
		}
		b.Events = append(b.Events, store.Event{Entry: store.Entry{Key: key, Modified: revision}, Deleted: true})
	}
	b.Sort()
	return b, nil
}

// revisions returns Created and Modified of a key, zeros if it is absent.
func (s *Store) revisions(entries *bolt.Bucket, key string) (created, modified uint64, err error) {
	v := entries.Get([]byte(key))
	switch {
	case v == nil:
		return 0, 0, nil
	case len(v) < entryHead:
		return 0, 0, s.damaged(errShort, "the entry of key %q", key)
	}
	return binary.BigEndian.Uint64(v[4:]), binary.BigEndian.Uint64(v[12:]), nil
}
