package state

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"openimds/internal/seal"
	"openimds/internal/store"
)

// Bounds of a commit that seals anew, well within those of a store.
const (
	anewRecords = 200
	anewBytes   = 2 << 20
	anewPage    = 1000 // entries read at once
)

// Sealed counts the records of a store that hold a secret, by the id of the
// seal key that it is sealed under. It needs no key.
func Sealed(ctx context.Context, s store.Store) (map[string]int, error) {
	found := map[string]int{}
	err := pages(ctx, s, "", func(e store.Entry) error {
		if id, ok := seal.KeyOf(sealedIn(e.Value)); ok {
			found[id]++
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for sealed records: %w", err)
	}
	return found, nil
}

// sealedIn returns the sealed secret of a stored record: a member of its JSON,
// or all of it, as the keys of identity documents are kept.
func sealedIn(value []byte) []byte {
	if !bytes.HasPrefix(value, []byte("{")) {
		return value
	}
	var record struct {
		Sealed []byte `json:"sealed"`
	}
	if json.Unmarshal(value, &record) != nil {
		return nil // damaged: whoever reads it tells
	}
	return record.Sealed
}

// pages reads the entries below a prefix, a page at a time. What changes
// meanwhile is read as it was or as it is.
func pages(ctx context.Context, s store.Store, prefix string, use func(store.Entry) error) error {
	for after := ""; ; {
		l, err := s.List(ctx, prefix, store.ListOptions{After: after, Limit: anewPage})
		if err != nil {
			return err
		}
		for _, e := range l.Entries {
			if err := use(e); err != nil {
				return err
			}
			after = e.Key
		}
		if len(l.Entries) < anewPage {
			return nil
		}
	}
}

// Anew puts the records again that are sealed under a key that is not the
// newest, a bounded number with each commit, and returns how many it has put.
// Records of the tables whose secrets the state knows seal themselves; others
// are given to reseal, by the folder of their table, which puts them. It may
// end at any time and be begun again: what is sealed under the newest key is
// left alone.
func (db *DB) Anew(ctx context.Context, keys *seal.Ring, reseal map[string]func(tx *Tx, key string) error) (n int, err error) {
	for _, t := range db.tables {
		put := reseal[t.folder()]
		if put == nil && db.keys != nil {
			put = t.again()
		}
		if put == nil {
			continue
		}
		var batch []string
		size := 0
		commit := func() error {
			err := db.Update(ctx, func(tx *Tx) error {
				for _, key := range batch {
					if err := put(tx, key); err != nil {
						return err
					}
				}
				return nil
			})
			if err == nil {
				n += len(batch)
				batch, size = nil, 0
			}
			return err
		}
		err := pages(ctx, db.store, t.folder(), func(e store.Entry) error {
			sealed := sealedIn(e.Value)
			if len(sealed) == 0 || !keys.Stale(sealed) {
				return nil
			}
			if len(batch) == anewRecords || size+len(e.Value) > anewBytes && len(batch) > 0 {
				if err := commit(); err != nil {
					return err
				}
			}
			batch, size = append(batch, e.Key[len(t.folder()):]), size+len(e.Value)
			return nil
		})
		if err == nil {
			err = commit()
		}
		if err != nil {
			return n, fmt.Errorf("seal records of %s anew: %w", t.folder(), err)
		}
	}
	return n, nil
}

// again puts a record of the table as it is, which seals its secrets; nil for
// a table that has none.
func (t *Table[T]) again() func(tx *Tx, key string) error {
	if t.guard.hide == nil {
		return nil
	}
	return func(tx *Tx, key string) error {
		record, ok, err := Load(tx, t, key)
		if err != nil || !ok {
			return err
		}
		return Save(tx, t, key, record)
	}
}
