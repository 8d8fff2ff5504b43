package boltstore

import (
	"bytes"
	"context"
	"errors"

	bolt "go.etcd.io/bbolt"

	"openimds/internal/fault"
	"openimds/internal/store"
)

// remember adds batches to the history, and forgets what is beyond its bounds.
func (s *Store) remember(tx *bolt.Tx, batches []store.Batch) error {
	history := tx.Bucket(bucketHistory)
	history.FillPercent = 0.95 // keys come in order
	size := number(tx, keyHistoryBytes)
	for _, b := range batches {
		v := encodeBatch(b)
		if err := history.Put(revisionKey(b.Revision), v); err != nil {
			return s.writeTrouble(err)
		}
		size += uint64(len(v))
	}
	revision := batches[len(batches)-1].Revision
	if err := errors.Join(setNumber(tx, keyRevision, revision), setNumber(tx, keyHistoryBytes, size)); err != nil {
		return s.writeTrouble(err)
	}
	return s.trim(tx, revision, size)
}

// trim forgets the oldest history once it is beyond its bounds: a good part of
// it at once, so that most commits need not touch that end of the file.
func (s *Store) trim(tx *bolt.Tx, revision, size uint64) error {
	keep, keepBytes := uint64(s.config.Keep), uint64(s.config.KeepBytes)
	compacted := number(tx, keyCompacted)
	if revision-compacted <= keep+keep/8 && size <= keepBytes {
		return nil
	}
	upTo := compacted
	if revision-compacted > keep {
		upTo = revision - keep
	}
	if size > keepBytes {
		keepBytes -= keepBytes / 8
	}
	return s.forget(tx, func(next, left uint64) bool { return next <= upTo || (left > keepBytes && next < revision) })
}

// forget removes history from its oldest revision on for as long as more says
// so, of the next revision to go and the bytes that are left.
func (s *Store) forget(tx *bolt.Tx, more func(next, left uint64) bool) error {
	history := tx.Bucket(bucketHistory)
	compacted, size := number(tx, keyCompacted), number(tx, keyHistoryBytes)
	c := history.Cursor()
	for k, v := c.First(); k != nil && bytes.Equal(k, revisionKey(compacted+1)) && more(compacted+1, size); k, v = c.First() {
		size -= uint64(len(v))
		if err := c.Delete(); err != nil {
			return s.writeTrouble(err)
		}
		compacted++
	}
	if err := errors.Join(setNumber(tx, keyCompacted, compacted), setNumber(tx, keyHistoryBytes, size)); err != nil {
		return s.writeTrouble(err)
	}
	return nil
}

// Compact implements store.Store.
func (s *Store) Compact(ctx context.Context, revision uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.queue.isClosed() {
		return store.ErrClosed
	}
	err := s.update(func(tx *bolt.Tx) error {
		switch newest := number(tx, keyRevision); {
		case revision > newest:
			return fault.New(fault.Invalid, "compact up to revision %d: the newest is %d", revision, newest)
		case revision <= number(tx, keyCompacted):
			return errNothing
		}
		return s.forget(tx, func(next, _ uint64) bool { return next <= revision })
	})
	if errors.Is(err, errNothing) {
		return nil
	}
	return err
}
