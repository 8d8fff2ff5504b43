package boltstore

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"openimds/internal/fault"
	"openimds/internal/store"
)

// update runs fn in a write transaction. An error of fn is returned and
// nothing is written. Other errors are of kind Unavailable, and nothing has
// changed, unless the error is store.ErrUncertain.
func (s *Store) update(fn func(*bolt.Tx) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	tx, err := s.db.Begin(true)
	if err != nil {
		return s.writeTrouble(err)
	}
	if err := guarded(func() error { return fn(tx) }); err != nil {
		_ = tx.Rollback()
		return err
	}
	id := tx.ID()
	if err := s.commit(tx); err != nil {
		return s.settle(id, err)
	}
	return nil
}

// settle finds out what became of a transaction whose commit has failed. As a
// rule it left no trace. But if what failed was the very last step, the sync of
// the page that points to all others, then that page can be read already, and
// there is no way back; so the way is forward.
//
// Reads that began before it now look at pages that bbolt, which thinks that
// the transaction has failed, takes for free. So they must end before anything
// is written. Then a transaction that changes nothing writes and syncs another
// such page, and all is well: the other pages were synced before.
func (s *Store) settle(id int, cause error) error {
	now, err := s.db.Begin(false)
	if err != nil {
		return s.writeTrouble(cause)
	}
	written := now.ID() >= id
	if err := now.Rollback(); err != nil || !written {
		return s.writeTrouble(cause)
	}
	s.mu.Lock()
	before := s.readers
	s.readers = &sync.WaitGroup{}
	s.mu.Unlock()
	before.Wait()
	tx, err := s.db.Begin(true)
	if err == nil {
		err = s.commit(tx)
	}
	if err == nil {
		return nil
	}
	return fault.Wrap(fault.Unavailable, fmt.Errorf("%w: write %s: %w", store.ErrUncertain, s.config.Path, cause),
		"the change was made, but may be lost if the machine stops")
}

// writeTrouble gives an error of a write its kind.
func (s *Store) writeTrouble(err error) error {
	var why string
	switch {
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return store.ErrClosed
	case errors.Is(err, berrors.ErrDatabaseReadOnly):
		why = ": the store is open for reading only"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		why = ": the disk is full"
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		why = ": the disk is read-only"
	}
	return fault.Wrap(fault.Unavailable, fmt.Errorf("write %s: %w", s.config.Path, err), "the change was not saved%s", why)
}
