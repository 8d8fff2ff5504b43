package history_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"openimds/internal/usage/history"
	"openimds/internal/usage/series"
)

func freeze(t *testing.T, f *history.File, minute int64) history.FrozenMinute {
	t.Helper()
	b, err := f.Freeze(minute, 5)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A minute is frozen once, with what came late of others, and is the same when
// it is read again, whatever comes.
func TestFreeze(t *testing.T) {
	c := &clock{t: start.Add(30 * time.Minute)}
	path := filepath.Join(t.TempDir(), "usage")
	f := open(t, path, c)
	m := minute(start)
	s, err := f.ShipTo("there", "w1", m)
	if err != nil || s.Writer() != "w1" || s.Begin != m || s.Frozen != m-1 {
		t.Fatalf("%+v, %v", s, err)
	}
	record(t, f, report(1, series.Sample{Instance: "i-1", Minute: m, Counts: counts(1, 2)}, series.Sample{Instance: "i-2", Minute: m + 1, Counts: counts(5, 0)}))
	b := freeze(t, f, m)
	want := []history.Counter{{Instance: "i-1", Total: counts(1, 2), Delta: counts(1, 2), First: m, Last: m}}
	if !slices.Equal(b.Changed, want) || len(b.Idle) != 0 {
		t.Errorf("%+v", b)
	}
	// Late, twice, and of an instance that was not there.
	late := report(2, series.Sample{Instance: "i-1", Minute: m, Counts: counts(10, 0)}, series.Sample{Instance: "i-3", Minute: m - 7, Counts: counts(0, 1)})
	record(t, f, late)
	record(t, f, late)
	again, err := f.Refrozen(5)
	if err != nil || !slices.Equal(again.Changed, want) || again.Frozen != m {
		t.Errorf("%+v, %v", again, err)
	}
	if _, err := f.Freeze(m, 5); err == nil {
		t.Error("a minute is frozen twice")
	}
	b = freeze(t, f, m+1)
	want = []history.Counter{
		{Instance: "i-1", Total: counts(11, 2), Delta: counts(10, 0), First: m, Last: m + 1},
		{Instance: "i-2", Total: counts(5, 0), Delta: counts(5, 0), First: m + 1, Last: m + 1},
		{Instance: "i-3", Total: counts(0, 1), Delta: counts(0, 1), First: m + 1, Last: m + 1},
	}
	if !slices.Equal(b.Changed, want) {
		t.Errorf("%+v", b)
	}
	corrections := map[string]history.Moved{}
	err = f.Corrections("", history.Minutes{First: m - 10, Last: m + 10}, func(id string, at int64, d history.Moved) {
		corrections[fmt.Sprintf("%s %d", id, at-m)] = d
	})
	if err != nil || len(corrections) != 4 || corrections["i-1 0"][series.TokenFree] != 10 || corrections["i-1 1"][series.TokenFree] != -10 || corrections["i-3 -7"][series.Tokened] != 1 || corrections["i-3 1"][series.Tokened] != -1 {
		t.Errorf("%v, %v", corrections, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = open(t, path, c)
	defer f.Close()
	if again, err := f.Refrozen(5); err != nil || !slices.Equal(again.Changed, want) {
		t.Errorf("%+v, %v", again, err)
	}
	// Idle for five minutes, and no longer; then at the end of the hour.
	for at := m + 2; at <= m+6; at++ {
		if b := freeze(t, f, at); len(b.Changed) != 0 || len(b.Idle) != 3 {
			t.Errorf("minute %d: %+v", at-m, b)
		}
	}
	for at := m + 7; (at+1)%60 != 0; at++ {
		if b := freeze(t, f, at); len(b.Changed)+len(b.Idle) != 0 {
			t.Errorf("minute %d: %+v", at-m, b)
		}
	}
	if b := freeze(t, f, (m/60+1)*60-1); len(b.Idle) != 3 {
		t.Errorf("at the end of the hour: %+v", b)
	}
}

// What is skipped or refused is remembered, and stays bounded: whatever is taken
// together is thought to be refused, never the other way round.
func TestDropped(t *testing.T) {
	c := &clock{t: start}
	f := open(t, filepath.Join(t.TempDir(), "usage"), c)
	defer f.Close()
	m := minute(start)
	if _, err := f.ShipTo("there", "w", m); err != nil {
		t.Fatal(err)
	}
	refused := map[int64]bool{}
	at := m
	for i := range int64(600) {
		freeze(t, f, at)
		refused[at] = true
		if err := f.Dropped(); err != nil {
			t.Fatal(err)
		}
		at += 2 + i%3 // the minutes between are skipped
		for n := at - 1 - i%3; n < at; n++ {
			refused[n] = true
		}
		freeze(t, f, at)
		at++
	}
	s, known, err := f.Shipping()
	if err != nil || !known || len(s.Dropped) == 0 || len(s.Dropped) > 256 {
		t.Fatalf("%d stretches, %v, %v", len(s.Dropped), known, err)
	}
	for n := range refused {
		if !slices.ContainsFunc(s.Dropped, func(d history.Minutes) bool { return d.First <= n && n <= d.Last }) {
			t.Errorf("minute %d is thought to be there", n-m)
		}
	}
}

// Another place, and a clock that has gone back, begin anew; nothing else does.
func TestShipTo(t *testing.T) {
	c := &clock{t: start}
	f := open(t, filepath.Join(t.TempDir(), "usage"), c)
	defer f.Close()
	m := minute(start)
	for i, tc := range []struct {
		to      string
		at      int64
		writers int
	}{
		{"a", m, 1}, {"a", m + 100, 1}, {"b", m + 100, 2}, {"a", m + 200, 3}, {"a", m + 139, 3}, {"a", m + 138, 4},
	} {
		s, err := f.ShipTo(tc.to, fmt.Sprintf("w%d", i), tc.at)
		if err != nil || len(s.Writers) != tc.writers {
			t.Errorf("%d: %+v, %v", i, s, err)
		}
	}
}
