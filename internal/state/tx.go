package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"openimds/internal/fault"
	"openimds/internal/store"
)

// Tx is one change of the state: what it read is still so when it is
// committed, or it is tried again. It is for one goroutine.
type Tx struct {
	db   *DB
	read map[string]uint64 // keys looked at, and the revision that put them
	put  map[string][]byte
	drop map[string]struct{}
}

// Load returns the record with the given key as this change sees it: a copy
// that the caller may change and Save.
func Load[T any](tx *Tx, t *Table[T], key string) (*T, bool, error) {
	full := t.prefix + key
	if _, gone := tx.drop[full]; gone {
		return nil, false, nil
	}
	if data, changed := tx.put[full]; changed {
		record, err := t.read(data)
		return record, err == nil, err
	}
	t.db.mu.RLock()
	r, ok := t.rows[key]
	t.db.mu.RUnlock()
	tx.read[full] = r.modified // 0: absent
	if !ok {
		return nil, false, nil
	}
	record, err := clone(r.record)
	return record, err == nil, err
}

func clone[T any](record *T) (*T, error) {
	data, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("copy record: %w", err)
	}
	next := new(T)
	if err := json.Unmarshal(data, next); err != nil {
		return nil, fmt.Errorf("copy record: %w", err)
	}
	return next, nil
}

// Save puts a record.
func Save[T any](tx *Tx, t *Table[T], key string, record *T) error {
	data, err := t.encode(record)
	if err != nil {
		return fmt.Errorf("encode record %s%s: %w", t.prefix, key, err)
	}
	delete(tx.drop, t.prefix+key)
	tx.put[t.prefix+key] = data
	return nil
}

// Remove deletes a record. One that does not exist stays so.
func Remove[T any](tx *Tx, t *Table[T], key string) {
	delete(tx.put, t.prefix+key)
	tx.drop[t.prefix+key] = struct{}{}
}

// mostTries bounds how often a change is tried again because another one came
// between.
const mostTries = 64

// Update runs change and commits what it did. When something that it read has
// changed meanwhile, it is run again from the new state, so it must have no
// effects but on its Tx. When Update returns, the mirror, and whoever was told
// by OnChange, have seen the commit.
func (db *DB) Update(ctx context.Context, change func(*Tx) error) error {
	for range mostTries {
		tx := &Tx{db: db, read: map[string]uint64{}, put: map[string][]byte{}, drop: map[string]struct{}{}}
		if err := change(tx); err != nil {
			return err
		}
		var s store.Tx
		for key, modified := range tx.read {
			s.If = append(s.If, store.Unchanged(key, modified))
		}
		for key, data := range tx.put {
			s.Put = append(s.Put, store.Pair{Key: key, Value: data})
		}
		for key := range tx.drop {
			s.Delete = append(s.Delete, key)
		}
		if len(s.Put)+len(s.Delete) == 0 {
			return nil
		}
		revision, err := db.store.Commit(ctx, s)
		if _, stale := errors.AsType[*store.ConditionError](err); stale {
			if revision, err = db.store.Revision(ctx); err != nil {
				return err
			}
			if err := db.wait(ctx, revision); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fault.Wrap(fault.KindOf(err), err, "the change was not stored")
		}
		return db.wait(ctx, revision)
	}
	return fault.New(fault.Conflict, "the state changed %d times while one change was made: try again", mostTries)
}
