package state

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"openimds/internal/seal"
	"openimds/internal/store"
)

// Table holds the records of one kind, each under a key of its own. What it
// returns is shared and must not be changed.
type Table[T any] struct {
	prefix string
	db     *DB
	guard  guard[T]
	rows   map[string]row[T] // guarded by db.mu
}

// row is a record and the revision that put it last.
type row[T any] struct {
	record   *T
	modified uint64
}

// Key joins the parts of a record's key.
func Key(parts ...string) string { return strings.Join(parts, "/") }

// Get returns the record with the given key.
func (t *Table[T]) Get(key string) (*T, bool) {
	t.db.mu.RLock()
	defer t.db.mu.RUnlock()
	r, ok := t.rows[key]
	return r.record, ok
}

// All returns the records for which keep is true, in the order of their keys.
// Nil keeps all. Keep must not ask the state anything: it is held while keep
// runs.
func (t *Table[T]) All(keep func(*T) bool) []*T {
	type keyed struct {
		key string
		r   *T
	}
	t.db.mu.RLock()
	found := make([]keyed, 0, len(t.rows))
	for key, r := range t.rows {
		if keep == nil || keep(r.record) {
			found = append(found, keyed{key, r.record})
		}
	}
	t.db.mu.RUnlock()
	slices.SortFunc(found, func(a, b keyed) int { return cmp.Compare(a.key, b.key) })
	all := make([]*T, len(found))
	for i, f := range found {
		all[i] = f.r
	}
	return all
}

// mirror is a Table without its type.
type mirror interface {
	folder() string
	// decode reads an event of the table; the result is for set.
	decode(store.Event) (any, error)
	set(key string, decoded any, modified uint64)
	clear()
	again() func(tx *Tx, key string) error
}

func (t *Table[T]) folder() string { return t.prefix }

func (t *Table[T]) decode(e store.Event) (any, error) {
	if e.Deleted {
		return (*T)(nil), nil
	}
	record, err := t.read(e.Value)
	switch {
	case errors.Is(err, seal.ErrKey):
		return nil, fmt.Errorf("record %s: %w", e.Key, err)
	case err != nil:
		return nil, fmt.Errorf("record %s of revision %d is damaged: %w", e.Key, e.Modified, err)
	}
	return record, nil
}

func (t *Table[T]) set(key string, decoded any, modified uint64) {
	record := decoded.(*T)
	if record == nil {
		delete(t.rows, key)
		return
	}
	t.rows[key] = row[T]{record, modified}
}

func (t *Table[T]) clear() { t.rows = map[string]row[T]{} }

// After returns the records that were put after a revision, by key.
func (t *Table[T]) After(revision uint64) map[string]*T {
	t.db.mu.RLock()
	defer t.db.mu.RUnlock()
	found := map[string]*T{}
	for key, r := range t.rows {
		if r.modified > revision {
			found[key] = r.record
		}
	}
	return found
}
