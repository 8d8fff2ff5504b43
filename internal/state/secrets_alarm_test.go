package state_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"openimds/internal/alarm"
	"openimds/internal/seal"
	"openimds/internal/state"
	"openimds/internal/store"
	"openimds/internal/store/boltstore"
	"openimds/internal/testnet"
)

const (
	hookPath  = "of-no-use-to-anybody-in-the-path"
	hookQuery = "of-no-use-to-anybody-in-the-query"
	hook      = "https://hooks.example.com/T0/" + hookPath + "?token=" + hookQuery
)

var hookTime = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

func hookAlarm() state.Alarm {
	return state.Alarm{
		Name: "a", Dialect: "ecs", Account: "1", Namespace: "n", Metric: "m", Period: time.Minute, Created: hookTime,
		Actions:    map[alarm.State][]string{alarm.Alarm: {hook, "arn:x"}, alarm.OK: {hook}},
		Attributes: map[string]string{state.Webhook: hook, "Resources": "[]"},
	}
}

func hookNotice() state.Notice {
	return state.Notice{ID: "n-1", URL: hook, Alarm: "ecs/1//a", Body: "{}"}
}

// openFile opens the state in a file.
func openFile(t *testing.T, path string, keys *seal.Ring) (*state.DB, store.Store) {
	t.Helper()
	s, err := boltstore.Open(boltstore.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	db, err := state.OpenSealed(t.Context(), s, keys, testnet.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	return db, s
}

// Nobody finds in the file of a store where alarms send to: of an address, it
// holds nothing at all.
func TestAddressesAreSealed(t *testing.T) {
	path, keys := filepath.Join(t.TempDir(), "store"), ring(t, 'a')
	db, s := openFile(t, path, keys)
	a, n := hookAlarm(), hookNotice()
	for range 3 {
		err := db.Update(t.Context(), func(tx *state.Tx) error {
			if err := state.Save(tx, db.Alarms, a.Key(), &a); err != nil {
				return err
			}
			again, _, err := state.Load(tx, db.Alarms, a.Key())
			if want := hookAlarm(); err != nil || !reflect.DeepEqual(again, &want) {
				t.Errorf("within the change: %+v, %v", again, err)
			}
			return state.Save(tx, db.Notices, n.ID, &n)
		})
		if err != nil {
			t.Fatal(err)
		}
		wantHook(t, db)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(data, []byte("ecs/1//a")) {
			t.Fatal("the file is not the one that is meant")
		}
		for _, part := range []string{hookPath, hookQuery, "hooks.example.com"} {
			if bytes.Contains(data, []byte(part)) {
				t.Errorf("the file holds %s", part)
			}
		}
		db, s = openFile(t, path, keys)
		wantHook(t, db)
	}
	_, _ = db.Close(), s.Close()
}

func wantHook(t *testing.T, db *state.DB) {
	t.Helper()
	a, n := hookAlarm(), hookNotice()
	if got, ok := db.Alarms.Get(a.Key()); !ok || !reflect.DeepEqual(got, &a) {
		t.Errorf("the alarm is %+v", got)
	}
	if got, ok := db.Notices.Get(n.ID); !ok || !reflect.DeepEqual(got, &n) {
		t.Errorf("the message is %+v", got)
	}
}

// A store of the first schema opens: its addresses are sealed, its states of
// alarms are records of their own, and what a crash left half is finished.
func TestFirstSchema(t *testing.T) {
	keys := ring(t, 'a')
	a, n := hookAlarm(), hookNotice()
	old := a
	old.Before = map[string]state.AlarmStatus{
		"i-1": {State: alarm.Alarm, Reason: "because", Since: hookTime}, "i/2": {State: alarm.OK, Since: hookTime},
	}
	text := func(v any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	first := []store.Pair{
		{Key: "schema/version", Value: []byte(`{"version":1,"id":"ITSELF"}`)},
		{Key: "alarms/" + a.Key(), Value: text(old)}, {Key: "notices/" + n.ID, Value: text(n)},
	}
	half := &state.AlarmState{Alarm: a.Key(), Created: hookTime, Instance: "i-1", AlarmStatus: old.Before["i-1"]}
	for name, pairs := range map[string][]store.Pair{
		"whole": first, "half": append([]store.Pair{{Key: "alarmstates/" + half.Key(), Value: text(half)}}, first...),
	} {
		s := newStore(t)
		if _, err := s.Commit(t.Context(), store.Tx{Put: pairs}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			db, err := state.OpenSealed(t.Context(), s, keys, testnet.Quiet())
			if err != nil {
				t.Fatal(err)
			}
			wantHook(t, db)
			states := map[string]state.AlarmStatus{}
			for _, st := range db.AlarmStates.All(nil) {
				if !st.Of(&a) {
					t.Errorf("%s: %+v is of another", name, st)
				}
				states[st.Instance] = st.AlarmStatus
			}
			if !reflect.DeepEqual(states, old.Before) || db.ID() != "ITSELF" {
				t.Errorf("%s: the states are %+v of store %s", name, states, db.ID())
			}
			_ = db.Close()
		}
		all, err := s.List(t.Context(), "", store.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all.Entries {
			if bytes.Contains(e.Value, []byte("of-no-use")) || e.Key == "schema/version" && !bytes.Contains(e.Value, []byte(`"version":2`)) {
				t.Errorf("%s: %s is %s", name, e.Key, e.Value)
			}
		}
		if w, err := s.Watch(t.Context(), "", 1); err == nil {
			w.Close()
			t.Errorf("%s: the history still has what was not sealed", name)
		}
	}
}
