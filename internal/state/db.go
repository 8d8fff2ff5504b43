package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"openimds/internal/fault"
	"openimds/internal/store"
)

// Schema is the version of the records. A store with a newer one is not
// opened.
const Schema = 1

// DB is the state of a control plane.
type DB struct {
	Instances *Table[Instance]
	Images    *Table[Image]
	Defaults  *Table[Defaults]
	Keys      *Table[AccessKey]
	Policies  *Table[Policy]
	KeyPairs  *Table[KeyPair]
	Roles     *Table[Role]
	Templates *Table[Template]
	Tokens    *Table[Idempotent]

	schema *Table[schemaRecord]
	store  store.Store
	log    *slog.Logger
	tables []mirror

	mu       sync.RWMutex // guards revision, moved, failed, listeners and the rows of all tables
	revision uint64
	moved    chan struct{} // closed when revision moves
	failed   error
	told     []func(Change)

	stop context.CancelFunc
	done chan struct{}
}

type schemaRecord struct {
	Version int `json:"version"`
}

// Change is what a commit did to the instances.
type Change struct {
	// All: everything may have changed; Put and Removed are empty.
	All bool
	// Put are instances that are new or changed, Removed the ids of those gone.
	Put     []*Instance
	Removed []string
}

// Open reads the state of a store and follows it until Close.
func Open(ctx context.Context, s store.Store, log *slog.Logger) (*DB, error) {
	db := &DB{store: s, log: log, moved: make(chan struct{}), done: make(chan struct{})}
	db.Instances = newTable[Instance](db, "instances/")
	db.Images = newTable[Image](db, "images/")
	db.Defaults = newTable[Defaults](db, "defaults/")
	db.Keys = newTable[AccessKey](db, "keys/")
	db.Policies = newTable[Policy](db, "policies/")
	db.KeyPairs = newTable[KeyPair](db, "keypairs/")
	db.Roles = newTable[Role](db, "roles/")
	db.Templates = newTable[Template](db, "templates/")
	db.Tokens = newTable[Idempotent](db, "tokens/")
	db.schema = newTable[schemaRecord](db, "schema/")
	if err := db.reload(ctx); err != nil {
		return nil, err
	}
	watch, err := s.Watch(ctx, "", db.revision)
	if err != nil {
		return nil, fmt.Errorf("watch the store: %w", err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	db.stop = stop
	go db.follow(run, watch)
	if err := db.migrate(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func newTable[T any](db *DB, prefix string) *Table[T] {
	t := &Table[T]{prefix: prefix, db: db, rows: map[string]row[T]{}}
	db.tables = append(db.tables, t)
	return t
}

// migrate writes the schema's version into an empty store, and refuses one it
// does not know.
func (db *DB) migrate(ctx context.Context) error {
	return db.Update(ctx, func(tx *Tx) error {
		s, ok, err := Load(tx, db.schema, "version")
		switch {
		case err != nil:
			return err
		case !ok:
			return Save(tx, db.schema, "version", &schemaRecord{Schema})
		case s.Version > Schema:
			return fault.New(fault.Unsupported, "the store has records of version %d, this program knows up to %d: use a newer one", s.Version, Schema)
		}
		return nil
	})
}

// OnChange makes the mirror tell every commit that touches instances, in
// order, before whoever made it goes on. The first call is at once, with All.
// It must not call Update.
func (db *DB) OnChange(tell func(Change)) {
	db.mu.Lock()
	db.told = append(db.told, tell)
	db.mu.Unlock()
	tell(Change{All: true})
}

// Revision returns the revision that the mirror shows.
func (db *DB) Revision() uint64 {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return db.revision
}

// Close stops following the store; it does not close it.
func (db *DB) Close() error {
	db.stop()
	<-db.done
	return nil
}

// wait waits until the mirror shows a revision.
func (db *DB) wait(ctx context.Context, revision uint64) error {
	for {
		db.mu.RLock()
		at, moved, failed := db.revision, db.moved, db.failed
		db.mu.RUnlock()
		if at >= revision {
			return nil
		}
		if failed != nil {
			return failed
		}
		select {
		case <-moved:
		case <-db.done:
			return store.ErrClosed
		case <-ctx.Done():
			// It is committed all the same; only nobody waits for the mirror.
			return ctx.Err()
		}
	}
}

// reload reads everything anew.
func (db *DB) reload(ctx context.Context) error {
	l, err := db.store.List(ctx, "", store.ListOptions{})
	if err != nil {
		return fmt.Errorf("read the store: %w", err)
	}
	b := store.Batch{Revision: l.Revision}
	for _, e := range l.Entries {
		b.Events = append(b.Events, store.Event{Entry: e})
	}
	return db.apply(b, true)
}

// follow applies what is committed until ctx is done.
func (db *DB) follow(ctx context.Context, watch store.Watcher) {
	defer close(db.done)
	defer func() { watch.Close() }()
	for {
		b, err := watch.Next(ctx)
		if err == nil {
			err = db.apply(b, false)
		}
		if err == nil {
			continue
		}
		if ctx.Err() != nil || errors.Is(err, store.ErrClosed) {
			return
		}
		db.log.Warn("the mirror of the state is read anew", "err", err)
		next, err := db.resume(ctx)
		if err != nil {
			db.log.Error("the state cannot be followed; trying again", "err", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return
			}
			continue
		}
		watch.Close()
		watch = next
	}
}

func (db *DB) resume(ctx context.Context) (store.Watcher, error) {
	if err := db.reload(ctx); err != nil {
		return nil, err
	}
	return db.store.Watch(ctx, "", db.Revision())
}

// applied is one event, decoded before the lock is taken.
type applied struct {
	t        mirror
	key      string
	record   any
	modified uint64
}

// apply puts a batch into the mirror, tells the listeners, and only then moves
// the revision, so that who waits for it finds the change in force.
func (db *DB) apply(b store.Batch, whole bool) error {
	var all []applied
	change := Change{All: whole}
	for _, e := range b.Events {
		for _, t := range db.tables {
			key, ok := strings.CutPrefix(e.Key, t.folder())
			if !ok {
				continue
			}
			record, err := t.decode(e)
			if err != nil {
				return err
			}
			all = append(all, applied{t, key, record, e.Modified})
			if in, ok := record.(*Instance); ok && !whole {
				if in == nil {
					change.Removed = append(change.Removed, key)
				} else {
					change.Put = append(change.Put, in)
				}
			}
		}
	}
	db.mu.Lock()
	if whole {
		for _, t := range db.tables {
			t.clear()
		}
	}
	for _, a := range all {
		a.t.set(a.key, a.record, a.modified)
	}
	told := db.told
	db.mu.Unlock()
	if change.All || len(change.Put)+len(change.Removed) > 0 {
		for _, tell := range told {
			tell(change)
		}
	}
	db.mu.Lock()
	db.revision = b.Revision
	close(db.moved)
	db.moved = make(chan struct{})
	db.mu.Unlock()
	return nil
}
