package state_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/state"
	"openimds/internal/store"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
)

func open(t *testing.T, s store.Store) *state.DB {
	t.Helper()
	db, err := state.Open(t.Context(), s, testnet.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func newStore(t *testing.T) store.Store {
	t.Helper()
	s := memstore.New(memstore.Config{})
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func put(t *testing.T, db *state.DB, id, name string) {
	t.Helper()
	err := db.Update(t.Context(), func(tx *state.Tx) error {
		return state.Save(tx, db.Instances, id, &state.Instance{Spec: instance.Instance{ID: id, Name: name}})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestReadsItsOwnWrites(t *testing.T) {
	s := newStore(t)
	db := open(t, s)
	other := open(t, s) // another replica
	for i := range 200 {
		id := fmt.Sprintf("i-%03d", i)
		put(t, db, id, "a")
		if in, ok := db.Instances.Get(id); !ok || in.Spec.Name != "a" {
			t.Fatalf("%s is not there after Update returned", id)
		}
	}
	put(t, other, "i-000", "b")
	put(t, db, "i-200", "c") // later than the change of the other
	if in, _ := db.Instances.Get("i-000"); in.Spec.Name != "b" {
		t.Error("a change of another replica is missing")
	}
	if err := db.Update(t.Context(), func(tx *state.Tx) error {
		state.Remove(tx, db.Instances, "i-001")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, ok := db.Instances.Get("i-001"); ok || len(db.Instances.All(nil)) != 200 {
		t.Error("a removed record is still there")
	}
}

// Changes that read and write the same record never lose one another.
func TestNoLostUpdate(t *testing.T) {
	s := newStore(t)
	replicas := []*state.DB{open(t, s), open(t, s)}
	put(t, replicas[0], "i-1", "")
	put(t, replicas[1], "i-2", "") // after which the second has seen the first
	var wg sync.WaitGroup
	const writers, rounds = 4, 25
	for w := range writers {
		db := replicas[w%2]
		wg.Go(func() {
			for range rounds {
				err := db.Update(t.Context(), func(tx *state.Tx) error {
					in, _, err := state.Load(tx, db.Instances, "i-1")
					if err != nil {
						return err
					}
					in.Spec.LaunchIndex++
					return state.Save(tx, db.Instances, "i-1", in)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	put(t, replicas[0], "i-3", "")
	if in, _ := replicas[0].Instances.Get("i-1"); in.Spec.LaunchIndex != writers*rounds {
		t.Errorf("%d updates are left of %d", in.Spec.LaunchIndex, writers*rounds)
	}
}

// What OnChange does is done before Update returns.
func TestOnChange(t *testing.T) {
	db := open(t, newStore(t))
	var served atomic.Value
	all := 0
	db.OnChange(func(c state.Change) {
		if c.All {
			all++
		}
		for _, in := range c.Put {
			served.Store(in.Spec.Name)
		}
		for _, id := range c.Removed {
			served.Store("no " + id)
		}
	})
	if all != 1 {
		t.Errorf("told of everything %d times at the start", all)
	}
	for i := range 500 {
		name := fmt.Sprint("n", i)
		put(t, db, "i-1", name)
		if served.Load() != name {
			t.Fatalf("after Update returned %v is served, want %s", served.Load(), name)
		}
	}
	if err := db.Update(t.Context(), func(tx *state.Tx) error {
		state.Remove(tx, db.Instances, "i-1")
		return nil
	}); err != nil || served.Load() != "no i-1" {
		t.Errorf("after a removal: %v, %v", served.Load(), err)
	}
}

// A change that reads what it wrote sees it, and one that fails does nothing.
func TestTx(t *testing.T) {
	db := open(t, newStore(t))
	before := db.Revision()
	err := db.Update(t.Context(), func(tx *state.Tx) error {
		if err := state.Save(tx, db.Images, "x", &state.Image{ID: "x"}); err != nil {
			return err
		}
		if i, ok, err := state.Load(tx, db.Images, "x"); err != nil || !ok || i.ID != "x" {
			t.Error("a change does not see what it saved")
		}
		state.Remove(tx, db.Images, "x")
		if _, ok, _ := state.Load(tx, db.Images, "x"); ok {
			t.Error("a change sees what it removed")
		}
		return fault.New(fault.Denied, "no")
	})
	if fault.KindOf(err) != fault.Denied || db.Revision() != before {
		t.Errorf("%v, revision %d after %d", err, db.Revision(), before)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Update(ctx, func(tx *state.Tx) error { return state.Save(tx, db.Images, "x", &state.Image{}) }); err == nil {
		t.Error("a change was made in a context that had ended")
	}
}

func TestSchema(t *testing.T) {
	s := newStore(t)
	db := open(t, s)
	put(t, db, "i-1", "kept")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if in, ok := open(t, s).Instances.Get("i-1"); !ok || in.Spec.Name != "kept" {
		t.Error("the state did not outlive its DB")
	}
	// A newer version is told before its records are read.
	version := func(n string) store.Pair {
		return store.Pair{Key: "schema/version", Value: []byte(`{"version":` + n + `}`)}
	}
	broken := store.Pair{Key: "instances/i-1", Value: []byte(`{`)}
	if _, err := s.Commit(t.Context(), store.Tx{Put: []store.Pair{version("99"), broken}}); err != nil {
		t.Fatal(err)
	}
	if _, err := state.Open(t.Context(), s, testnet.Quiet()); fault.KindOf(err) != fault.Unsupported || !strings.Contains(err.Error(), "99") {
		t.Errorf("a newer schema: %v", err)
	}
	if _, err := s.Commit(t.Context(), store.Tx{Put: []store.Pair{version("1")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := state.Open(t.Context(), s, testnet.Quiet()); err == nil || !strings.Contains(err.Error(), "instances/i-1") {
		t.Errorf("a damaged record: %v", err)
	}
}
