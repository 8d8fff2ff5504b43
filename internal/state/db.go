package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"openimds/internal/seal"
	"openimds/internal/store"
)

// Schema is the version of the records. A store with a newer one is not
// opened.
const Schema = 2

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
	// Revocations by Revocation.Key.
	Revocations *Table[Revocation]
	// Interfaces by their id; Serials by what they put in order.
	Interfaces *Table[Interface]
	Serials    *Table[Serial]
	// Alarms by Alarm.Key; AlarmStates by AlarmState.Key; Notices by their id.
	Alarms      *Table[Alarm]
	AlarmStates *Table[AlarmState]
	Notices     *Table[Notice]
	// Hardenings by their id; Hardened by Hardened.Key.
	Hardenings *Table[Hardening]
	Hardened   *Table[Hardened]

	held holdings // addresses of instances

	schema *Table[schemaRecord]
	store  store.Store
	log    *slog.Logger
	tables []mirror
	keys   *seal.Ring // nil: secrets are stored as they are

	mu           sync.RWMutex // guards revision, moved, failed, listeners and the rows of all tables
	revision     uint64
	moved        chan struct{} // closed when revision moves
	failed       error
	told         []func(Change)
	toldSessions []func(SessionChange)

	stop context.CancelFunc
	done chan struct{}
}

type schemaRecord struct {
	Version int `json:"version"`
	// ID tells one store from another.
	ID string `json:"id,omitempty"`
}

// Change is what a commit did to the instances.
type Change struct {
	// Revision that the change led to.
	Revision uint64
	// All: everything may have changed; Put and Removed are empty.
	All bool
	// Put are instances that are new or changed, Removed the ids of those gone, which were Gone, where they are known.
	Put     []*Instance
	Removed []string
	Gone    []*Instance
}

// Open reads the state of a store and follows it until Close. Secrets that
// records hold are stored as they are: it is for a store that ends with the
// process; others are for OpenSealed.
func Open(ctx context.Context, s store.Store, log *slog.Logger) (*DB, error) {
	return open(ctx, s, nil, log)
}

func open(ctx context.Context, s store.Store, keys *seal.Ring, log *slog.Logger) (*DB, error) {
	db := &DB{store: s, keys: keys, log: log, moved: make(chan struct{}), done: make(chan struct{})}
	db.Instances = newTable[Instance](db, "instances/")
	db.Instances.guard = guardInstance
	db.Images = newTable[Image](db, "images/")
	db.Defaults = newTable[Defaults](db, "defaults/")
	db.Keys = newTable[AccessKey](db, "keys/")
	db.Policies = newTable[Policy](db, "policies/")
	db.KeyPairs = newTable[KeyPair](db, "keypairs/")
	db.Roles = newTable[Role](db, "roles/")
	db.Templates = newTable[Template](db, "templates/")
	db.Tokens = newTable[Idempotent](db, "tokens/")
	db.Interfaces = newTable[Interface](db, "interfaces/")
	db.Serials = newTable[Serial](db, "serials/")
	db.Revocations = newTable[Revocation](db, "revocations/")
	db.Hardenings = newTable[Hardening](db, "hardenings/")
	db.Hardened = newTable[Hardened](db, "hardened/")
	db.Alarms = newTable[Alarm](db, "alarms/")
	db.Alarms.guard = guardAlarm
	db.AlarmStates = newTable[AlarmState](db, "alarmstates/")
	db.Notices = newTable[Notice](db, "notices/")
	db.Notices.guard = guardNotice
	db.schema = newTable[schemaRecord](db, "schema/")
	if err := knownSchema(ctx, s); err != nil {
		return nil, err
	}
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

// OnChange makes the mirror tell every commit that touches instances, in
// order, before whoever made it goes on. The first call is at once, with All.
// It must not call Update.
func (db *DB) OnChange(tell func(Change)) {
	db.mu.Lock()
	db.told = append(db.told, tell)
	db.mu.Unlock()
	tell(Change{Revision: db.Revision(), All: true})
}

// ID identifies the store, and with it the history that revisions belong to.
func (db *DB) ID() string {
	if s, ok := db.schema.Get("version"); ok {
		return s.ID
	}
	return ""
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
	all, revision, err := db.readAll(ctx)
	if err != nil {
		return err
	}
	db.put(all, revision, true)
	return nil
}

// follow applies what is committed until ctx is done.
func (db *DB) follow(ctx context.Context, watch store.Watcher) {
	defer close(db.done)
	defer func() { watch.Close() }()
	for {
		b, err := watch.Next(ctx)
		if err == nil {
			err = db.apply(b)
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

// apply puts a batch into the mirror.
func (db *DB) apply(b store.Batch) error {
	all, err := db.decode(b.Events)
	if err != nil {
		return err
	}
	db.put(all, b.Revision, false)
	return nil
}

// put puts what a commit did, or the whole state, into the mirror, tells the
// listeners, and only then moves the revision, so that who waits for it finds
// the change in force.
func (db *DB) put(all []applied, revision uint64, whole bool) {
	change := Change{Revision: revision, All: whole}
	sessions := SessionChange{All: whole}
	for _, a := range all {
		if a.t == nil {
			continue
		}
		sessions.note(a.key, a.record)
		if in, ok := a.record.(*Instance); ok && !whole {
			if in == nil {
				change.Removed = append(change.Removed, a.key)
			} else {
				change.Put = append(change.Put, in)
			}
		}
	}
	db.mu.Lock()
	db.held.mu.Lock()
	if whole {
		for _, t := range db.tables {
			t.clear()
		}
		db.held.clear()
	}
	for _, a := range all {
		if a.t == nil {
			continue
		}
		if in, ok := a.record.(*Instance); ok {
			old := db.Instances.rows[a.key].record
			if in == nil && old != nil && !whole {
				change.Gone = append(change.Gone, old)
			}
			db.held.replace(old, in)
		}
		a.t.set(a.key, a.record, a.modified)
	}
	db.held.mu.Unlock()
	told, toldSessions := db.told, db.toldSessions
	db.mu.Unlock()
	if change.All || len(change.Put)+len(change.Removed) > 0 {
		for _, tell := range told {
			tell(change)
		}
	}
	if !sessions.empty() {
		for _, tell := range toldSessions {
			tell(sessions)
		}
	}
	db.mu.Lock()
	db.revision = revision
	close(db.moved)
	db.moved = make(chan struct{})
	db.mu.Unlock()
}
