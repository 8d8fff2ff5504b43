package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"

	"openimds/internal/alarm"
	"openimds/internal/control"
	"openimds/internal/instance"
	"openimds/internal/seal"
	"openimds/internal/state"
	"openimds/internal/store"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
)

// stopping is a store whose power fails after some commits.
type stopping struct {
	store.Store
	left    int
	largest int // changes of a commit
}

var errPower = errors.New("no power")

func (s *stopping) Commit(ctx context.Context, tx store.Tx) (uint64, error) {
	if s.left == 0 {
		return 0, errPower
	}
	s.left--
	s.largest = max(s.largest, len(tx.Put))
	return s.Store.Commit(ctx, tx)
}

// TestSealAnew: whenever it ends, every secret can be read with both keys, and
// once it has come to its end, with the newest alone.
func TestSealAnew(t *testing.T) {
	key := func(fill byte) seal.Key {
		k, err := seal.NewKey(bytes.Repeat([]byte{fill}, seal.KeySize))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	older, newer := key(1), key(2)
	s := &stopping{Store: memstore.New(memstore.Config{}), left: -1}
	t.Cleanup(func() { _ = s.Close() })
	// use opens the state as a start does.
	use := func(ring *seal.Ring, f func(*state.DB, *control.Control)) {
		t.Helper()
		db, err := state.OpenSealed(t.Context(), s, ring, testnet.Quiet())
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		f(db, control.New(control.Config{DB: db, Secrets: ring, Logger: testnet.Quiet()}))
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	counts := func() map[string]int {
		t.Helper()
		all, err := state.Sealed(t.Context(), s)
		must(err)
		return all
	}
	const keys, roles, instances = 450, 3, 210
	admin := control.Caller{Admin: true, Dialect: "ec2", Account: "1", Action: "Test"}
	secret := testnet.Secret(t, "sealed-anew-and-never-said")
	given := &instance.Credentials{AccessKeyID: "ASIAGIVEN", AccessKeySecret: secret}
	use(seal.NewRing(older), func(db *state.DB, c *control.Control) {
		for i := range keys {
			must(c.PutKey(t.Context(), admin, state.AccessKey{ID: fmt.Sprintf("AK%03d", i), Dialect: "ec2", Account: "1", User: "ann"}, secret))
		}
		for i := range roles {
			name := fmt.Sprintf("role-%d", i)
			must(c.PutRole(t.Context(), admin, state.Role{Name: name, Dialect: "ec2", Account: "1"}))
			if i > 0 {
				must(c.SetStatic(t.Context(), admin, name, given))
			}
		}
		must(db.Update(t.Context(), func(tx *state.Tx) error {
			for i := range instances {
				in := &state.Instance{Spec: instance.Instance{ID: fmt.Sprintf("i-%03d", i), Identity: given}}
				must(state.Save(tx, db.Instances, in.Spec.ID, in))
			}
			must(state.Save(tx, db.Instances, "i-none", &state.Instance{Spec: instance.Instance{ID: "i-none"}}))
			a := &state.Alarm{Actions: map[alarm.State][]string{alarm.Alarm: {"https://a.test/" + secret}}}
			return state.Save(tx, db.Alarms, a.Key(), a)
		}))
	})
	all := keys + roles - 1 + instances + 1
	if got := counts(); !maps.Equal(got, map[string]int{older.ID(): all}) {
		t.Fatalf("sealed: %v, want %d under %s", got, all, older.ID())
	}
	both := seal.NewRing(newer, older)
	s.largest = 0
	for starts := 1; ; starts++ {
		var n int
		var err error
		use(both, func(_ *state.DB, c *control.Control) {
			before := counts()[older.ID()]
			s.left = 2
			n, err = c.SealAnew(t.Context())
			s.left = -1
			if got := counts(); got[older.ID()]+got[newer.ID()] != all || before-got[older.ID()] != n {
				t.Errorf("start %d: %v of %d records, and %d are said to be sealed anew", starts, got, all, n)
			}
			for _, id := range []string{"AK000", "AK449"} {
				if plain, _, err := c.Principal("ec2", id, ""); err != nil || plain != secret {
					t.Errorf("start %d: key %s: %v", starts, id, err)
				}
			}
		})
		if err == nil {
			if starts < 3 {
				t.Errorf("it came to its end at start %d, so that it was never interrupted twice", starts)
			}
			break
		}
		if !errors.Is(err, errPower) || starts > 10 {
			t.Fatalf("start %d: %v", starts, err)
		}
	}
	if s.largest > 200 {
		t.Errorf("a commit had %d changes", s.largest)
	}
	if got := counts(); !maps.Equal(got, map[string]int{newer.ID(): all}) {
		t.Errorf("at the end: %v", got)
	}
	use(seal.NewRing(newer), func(db *state.DB, c *control.Control) {
		for i := range keys {
			if plain, _, err := c.Principal("ec2", fmt.Sprintf("AK%03d", i), ""); err != nil || plain != secret {
				t.Fatalf("key %d: %v", i, err)
			}
		}
		if in, ok := db.Instances.Get("i-209"); !ok || in.Spec.Identity == nil || in.Spec.Identity.AccessKeySecret != secret {
			t.Error("the credentials of an instance are lost")
		}
		s.left = 0
		if n, err := c.SealAnew(t.Context()); n != 0 || err != nil {
			t.Errorf("with nothing to do: %d, %v", n, err)
		}
		s.left = -1
	})
}
