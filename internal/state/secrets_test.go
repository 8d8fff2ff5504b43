package state_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"openimds/internal/instance"
	"openimds/internal/seal"
	"openimds/internal/state"
	"openimds/internal/store"
	"openimds/internal/testnet"
)

func ring(t *testing.T, fill byte) *seal.Ring {
	t.Helper()
	key, err := seal.NewKey([]byte(strings.Repeat(string(rune(fill)), seal.KeySize)))
	if err != nil {
		t.Fatal(err)
	}
	return seal.NewRing(key)
}

// Credentials that an instance was given are known in the mirror, in changes
// and after a restart; in the store nobody can read them.
func TestCredentialsAreSealed(t *testing.T) {
	s, keys := newStore(t), ring(t, 'a')
	reopen := func(keys *seal.Ring) (*state.DB, error) {
		return state.OpenSealed(t.Context(), s, keys, testnet.Quiet())
	}
	db, err := reopen(keys)
	if err != nil {
		t.Fatal(err)
	}
	const secret = "of-no-use-to-anybody"
	creds := func(name string) *instance.Credentials {
		return &instance.Credentials{AccessKeyID: "AK" + name, AccessKeySecret: secret + name, SessionToken: secret + "-token-" + name}
	}
	in := &state.Instance{Spec: instance.Instance{
		ID: "i-1", Identity: creds("identity"), Role: &instance.Role{Name: "web", Credentials: creds("role")}, UserData: []byte("#!/bin/sh"),
	}}
	want := *in
	err = db.Update(t.Context(), func(tx *state.Tx) error {
		if err := state.Save(tx, db.Instances, "i-1", in); err != nil {
			return err
		}
		again, ok, err := state.Load(tx, db.Instances, "i-1")
		if !ok || err != nil || !reflect.DeepEqual(again, &want) {
			t.Errorf("within the change: %+v, %v", again, err)
		}
		return state.Save(tx, db.Instances, "i-2", &state.Instance{Spec: instance.Instance{ID: "i-2"}})
	})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(in, &want) {
		t.Errorf("the record of the caller was changed: %+v", in)
	}
	all, err := s.List(t.Context(), "", store.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all.Entries {
		if strings.Contains(string(e.Value), secret) {
			t.Errorf("%s holds a secret: %s", e.Key, e.Value)
		}
	}
	known := func(db *state.DB, when string) {
		t.Helper()
		if got, _ := db.Instances.Get("i-1"); !reflect.DeepEqual(got, &want) {
			t.Errorf("%s: %+v", when, got)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	known(db, "after the change")
	if db, err = reopen(keys); err != nil {
		t.Fatal(err)
	}
	known(db, "after a restart")
	if _, err := reopen(ring(t, 'b')); !errors.Is(err, seal.ErrKey) || strings.Contains(err.Error(), "damaged") {
		t.Errorf("with another key: %v", err)
	}
	if _, err := reopen(nil); err == nil || !strings.Contains(err.Error(), "sealed") {
		t.Errorf("without a key: %v", err)
	}
}
