package state

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"openimds/internal/fault"
	"openimds/internal/store"
)

// knownSchema refuses a store with records of a version that this program does
// not know, before it reads one.
func knownSchema(ctx context.Context, s store.Store) error {
	e, err := s.Get(ctx, "schema/version")
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return nil
	case err != nil:
		return fmt.Errorf("read the store: %w", err)
	}
	var found schemaRecord
	if err := json.Unmarshal(e.Value, &found); err != nil {
		return fault.Wrap(fault.Internal, err, "the version of the store's records is damaged: restore a backup")
	}
	if found.Version > Schema {
		return fault.New(fault.Unsupported, "the store has records of version %d, this program knows up to %d: use a newer one", found.Version, Schema)
	}
	return nil
}

// migrate writes the schema's version into an empty store, and an id into a
// store that has none; and brings records of an earlier version to this one. If
// a disk does not take that, they are read as they are, and it is tried again
// at the next start.
func (db *DB) migrate(ctx context.Context) error {
	before := Schema
	err := db.Update(ctx, func(tx *Tx) error {
		s, ok, err := Load(tx, db.schema, "version")
		switch {
		case err != nil:
			return err
		case !ok:
			s = &schemaRecord{Version: Schema}
		case s.ID != "":
			before = s.Version
			return nil
		}
		s.ID, before = rand.Text(), s.Version
		return Save(tx, db.schema, "version", s)
	})
	if err != nil || before == Schema {
		return err
	}
	if err := db.second(ctx); err != nil {
		db.log.Error("records of an earlier version stay as they are until the next start", "err", err)
	}
	return nil
}

// together is how many records one commit brings to another version.
const together = 100

// second makes the second schema of the first: the addresses that alarms send to
// are sealed, and the states of alarms are records of their own. It may be broken
// off at any place, and begun again.
func (db *DB) second(ctx context.Context) error {
	for _, a := range db.Alarms.All(nil) {
		for ids := range slices.Chunk(slices.Sorted(maps.Keys(a.Before)), together) {
			err := db.Update(ctx, func(tx *Tx) error {
				for _, id := range ids {
					s := &AlarmState{Alarm: a.Key(), Created: a.Created, Instance: id, AlarmStatus: a.Before[id]}
					if err := Save(tx, db.AlarmStates, s.Key(), s); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		if err := again(ctx, db.Alarms, a.Key(), func(a *Alarm) { a.Before = nil }); err != nil {
			return err
		}
	}
	for _, n := range db.Notices.All(nil) {
		if err := again(ctx, db.Notices, n.ID, func(*Notice) {}); err != nil {
			return err
		}
	}
	if err := again(ctx, db.schema, "version", func(s *schemaRecord) { s.Version = Schema }); err != nil {
		return err
	}
	return db.store.Compact(ctx, db.Revision()) // the history has the addresses as they were
}

// again saves a record anew, changed.
func again[T any](ctx context.Context, t *Table[T], key string, change func(*T)) error {
	return t.db.Update(ctx, func(tx *Tx) error {
		r, ok, err := Load(tx, t, key)
		if err != nil || !ok {
			return err
		}
		change(r)
		return Save(tx, t, key, r)
	})
}
