package history_test

import (
	"path/filepath"
	"testing"
	"time"

	"openimds/internal/usage/history"
	"openimds/internal/usage/series"
)

// Whose an instance is stays known when it is gone, over restarts, as long as
// anything of it is kept.
func TestOwners(t *testing.T) {
	c := &clock{t: start}
	path := filepath.Join(t.TempDir(), "usage")
	f := open(t, path, c)
	known := map[string]history.Owner{"i-1": {Dialect: "ec2", Account: "1", Region: "r"}, "i-2": {Dialect: "ecs", Account: "2"}}
	ask := func(id string) (history.Owner, bool) { o, ok := known[id]; return o, ok }
	f.SetOwner(ask)
	n := uint64(0)
	say := func(r series.Report) {
		t.Helper()
		n++
		r.Node, r.Boot, r.Sequence = "n", "b", n
		record(t, f, r)
	}
	sample := func(id string) []series.Sample {
		return []series.Sample{{Instance: id, Minute: minute(c.now()), Counts: counts(1, 0)}}
	}
	want := func(when, id, account string) {
		t.Helper()
		if o, ok, err := f.Owner(id); err != nil || ok != (account != "") || o.Account != account {
			t.Errorf("%s: %s is of %+v, %v", when, id, o, err)
		}
	}
	say(series.Report{Samples: sample("i-1"), Began: []string{"i-2"}})
	say(series.Report{Samples: sample("i-3")})
	want("at first", "i-1", "1")
	want("at first", "i-2", "2")
	want("at first", "i-3", "")
	delete(known, "i-1")
	known["i-2"] = history.Owner{Dialect: "ecs", Account: "22"}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = open(t, path, c)
	defer func() { _ = f.Close() }()
	f.SetOwner(ask)
	c.add(300 * 24 * time.Hour)
	say(series.Report{Samples: sample("i-1")}) // the last that is heard of it
	say(series.Report{Samples: sample("i-2")})
	want("when it is gone", "i-1", "1")
	want("when it is another's", "i-2", "22")
	c.add(400 * 24 * time.Hour)
	if err := f.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("while anything is kept", "i-1", "1")
	c.add(60 * 24 * time.Hour)
	if err := f.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("after that", "i-1", "")
}
