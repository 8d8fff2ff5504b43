package meter_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"openimds/internal/fault"
	"openimds/internal/node"
	"openimds/internal/usage"
	"openimds/internal/usage/meter"
	"openimds/internal/usage/series"
)

// world is a node's counters and a place where usage is kept.
type world struct {
	mu       sync.Mutex // guards what follows
	counters map[string]*usage.Report
	departed []node.Activity
	callers  map[string][]usage.Caller
	refuse   error
	got      []series.Report
}

func newWorld() *world {
	return &world{counters: map[string]*usage.Report{}, callers: map[string][]usage.Caller{}}
}

func (w *world) of(id string) *usage.Report {
	if w.counters[id] == nil {
		w.counters[id] = &usage.Report{Instance: id}
	}
	return w.counters[id]
}

func (w *world) depart(id string) {
	w.departed = append(w.departed, node.Activity{Report: *w.counters[id], Departed: true})
	delete(w.counters, id)
}

func (w *world) harvest() []node.Activity {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.departed
	w.departed = nil
	for id, r := range w.counters {
		all = append(all, node.Activity{Report: *r, Callers: w.callers[id]})
		delete(w.callers, id)
	}
	return all
}

func (w *world) record(_ context.Context, r series.Report) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return w.refuse
	}
	w.got = append(w.got, r)
	return nil
}

// total adds up what was reported of an instance, each report once.
func (w *world) total(id string) (c series.Counts) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := map[string]map[uint64]bool{}
	for _, r := range w.got {
		if seen[r.Boot] == nil {
			seen[r.Boot] = map[uint64]bool{}
		}
		if seen[r.Boot][r.Sequence] {
			continue
		}
		seen[r.Boot][r.Sequence] = true
		for _, s := range r.Samples {
			if s.Instance == id {
				c.Add(s.Counts)
			}
		}
	}
	return c
}

func newMeter(t *testing.T, w *world, spool string) *meter.Meter {
	t.Helper()
	m, err := meter.New(meter.Config{Harvest: w.harvest, Record: w.record, Node: "n", Spool: spool})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func flush(t *testing.T, m *meter.Meter) {
	t.Helper()
	if err := m.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Every kind is reported as what was added to its counters, over departures and
// returns, and nothing is reported when nothing happened.
func TestFlush(t *testing.T) {
	w := newWorld()
	m := newMeter(t, w, "")
	*w.of("i-1") = usage.Report{Instance: "i-1", TokenFreeServed: 1, TokenFreeAbsent: 2, TokenFreeRejected: 4, TokenedServed: 8, TokenedAbsent: 16, BadToken: 32, TokensMinted: 64, Throttled: 128, Refused: 256, HopLimitSuspects: 512}
	w.callers["i-1"] = []usage.Caller{{Agent: "curl", Count: 3}}
	flush(t, m)
	want := series.Counts{series.TokenFree: 3, series.Rejected: 4, series.Tokened: 24, series.BadToken: 32, series.Minted: 64, series.Throttled: 128, series.Suspects: 512}
	if got := w.total("i-1"); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	if c := w.got[0].Callers; len(c) != 1 || c[0].Instance != "i-1" || c[0].Agent != "curl" {
		t.Errorf("callers %+v", c)
	}
	flush(t, m)
	if len(w.got) != 1 {
		t.Errorf("%d reports, though nothing happened", len(w.got))
	}
	w.of("i-1").TokenFreeServed++
	w.depart("i-1")
	w.of("i-1").TokenFreeServed += 5 // it is back, and counts from 0
	flush(t, m)
	want[series.TokenFree] += 6
	if got := w.total("i-1"); got != want {
		t.Errorf("after it was away: %v, want %v", got, want)
	}
}

// While nobody takes reports they wait, on disk where there is a folder, and
// arrive in order with the numbers they had.
func TestSpool(t *testing.T) {
	w := newWorld()
	dir := filepath.Join(t.TempDir(), "spool")
	m := newMeter(t, w, dir)
	w.refuse = errors.New("away")
	for range 3 {
		w.of("i-1").TokenFreeServed++
		if err := m.Flush(t.Context()); err == nil {
			t.Fatal("taken by nobody")
		}
	}
	// A crash: half a report is left, and one that was whole.
	half := filepath.Join(dir, "report-00000000000000ff-B.new")
	if err := os.WriteFile(half, []byte(`{"no`), 0o600); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(half, long, long); err != nil {
		t.Fatal(err)
	}
	fresh := newWorld()
	again := newMeter(t, fresh, dir)
	fresh.of("i-1").TokenFreeServed = 10
	flush(t, again)
	if got := fresh.total("i-1")[series.TokenFree]; got != 13 {
		t.Errorf("%d requests arrived, want 13", got)
	}
	for i, r := range fresh.got[:3] {
		if r.Sequence != uint64(i+1) || r.Boot != fresh.got[0].Boot {
			t.Errorf("report %d has number %d of %s", i, r.Sequence, r.Boot)
		}
	}
	if fresh.got[3].Boot == fresh.got[0].Boot {
		t.Error("another run has the same name")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}

// A process that hands over reports its last when the next one has begun: what it
// cannot send is sent by that, once, and what it is just writing is left alone.
func TestHandsOver(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	away := newWorld()
	away.refuse = errors.New("away")
	old := newMeter(t, away, dir)
	w := newWorld()
	next, err := meter.New(meter.Config{Harvest: w.harvest, Record: w.record, Node: "n", Spool: dir, Overlaps: true})
	if err != nil {
		t.Fatal(err)
	}
	away.of("i-1").TokenFreeServed = 5
	over, cancel := context.WithCancel(t.Context())
	cancel()
	old.Run(over)
	writing := filepath.Join(dir, "report-00000000000000ff-B.new")
	if err := os.WriteFile(writing, []byte(`{"no`), 0o600); err != nil {
		t.Fatal(err)
	}
	w.of("i-1").TokenFreeServed = 7
	next.Run(over)
	if got := w.total("i-1")[series.TokenFree]; got != 12 {
		t.Errorf("%d requests arrived, want 12", got)
	}
	overlaps := 0
	for _, r := range w.got {
		if r.Overlaps {
			overlaps++
		}
	}
	if last := w.got[len(w.got)-1]; overlaps != 1 || !last.Final {
		t.Errorf("%d reports overlap, the last is %+v", overlaps, last)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != filepath.Base(writing) {
		t.Errorf("left are %v, %v", left, err)
	}
}

// A report that is refused for good does not block those behind it.
func TestRefusedForGood(t *testing.T) {
	w := newWorld()
	m := newMeter(t, w, "")
	w.refuse = fault.New(fault.Invalid, "no")
	w.of("i-1").TokenFreeServed++
	flush(t, m)
	w.refuse = nil
	w.of("i-1").TokenFreeServed++
	flush(t, m)
	if len(w.got) != 1 {
		t.Errorf("%d reports", len(w.got))
	}
}

// A report is made at the end of each minute, and at the end.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := newMeter(t, w, "")
		served := func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.of("i-1").TokenFreeServed++
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		begin := time.Now().Unix() / 60
		go func() { defer close(done); m.Run(ctx) }()
		synctest.Wait()
		served()
		time.Sleep(61 * time.Second)
		served()
		time.Sleep(60 * time.Second)
		served()
		cancel()
		<-done
		if len(w.got) != 4 {
			t.Fatalf("%d reports, want 4: at the start, two minutes, the end", len(w.got))
		}
		if !w.got[3].Final || w.got[2].Final {
			t.Error("the last report does not say that it is")
		}
		for i, r := range w.got[1:] {
			if !r.From.Equal(w.got[i].To) {
				t.Errorf("report %d is from %s, the one before it up to %s", i+1, r.From, w.got[i].To)
			}
			if got := r.Samples[0].Minute - begin; got != int64(i) {
				t.Errorf("report %d is of minute %d", i, got)
			}
		}
	})
}

// A request that was refused for want of a token is reported at once, and an
// instance cannot cause reports without end.
func TestNudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := newMeter(t, w, "")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.Run(ctx) }()
		synctest.Wait()
		refuse := func(id string) {
			w.mu.Lock()
			w.of(id).TokenFreeRejected++
			w.mu.Unlock()
			m.Nudge(id)
		}
		refuse("i-1")
		time.Sleep(200 * time.Millisecond)
		if got := w.total("i-1")[series.Rejected]; got != 1 {
			t.Errorf("200 ms later %d requests are reported, want 1", got)
		}
		for range 100 {
			refuse("i-1")
			time.Sleep(100 * time.Millisecond)
		}
		w.mu.Lock()
		n := len(w.got)
		w.mu.Unlock()
		if n > 12 {
			t.Errorf("%d reports", n)
		}
		refuse("i-2")
		time.Sleep(200 * time.Millisecond)
		if got := w.total("i-2")[series.Rejected]; got != 1 {
			t.Errorf("of another instance %d requests are reported, want 1", got)
		}
		cancel()
		<-done
		if got := w.total("i-1")[series.Rejected]; got != 101 {
			t.Errorf("%d requests are reported in the end, want 101", got)
		}
	})
}

// Instances that come and go are told of, and counters that begin anew are
// not taken for less than nothing.
func TestBeganEnded(t *testing.T) {
	w := newWorld()
	m := newMeter(t, w, "")
	w.of("i-1").TokenFreeServed = 5
	w.of("i-2")
	flush(t, m)
	w.depart("i-2")
	w.depart("i-1")
	w.of("i-1").TokenFreeServed = 2 // it is back
	flush(t, m)
	w.counters["i-1"] = &usage.Report{Instance: "i-1", TokenFreeServed: 1} // back again, and nobody said that it was away
	flush(t, m)
	if len(w.got) != 3 || len(w.got[0].Began) != 2 || len(w.got[1].Ended) != 1 || w.got[1].Ended[0] != "i-2" {
		t.Fatalf("%+v", w.got)
	}
	if got := w.total("i-1")[series.TokenFree]; got != 8 {
		t.Errorf("%d requests, want 8", got)
	}
}

// A control plane that is away for days: the oldest reports are given up, and
// the rest say so.
func TestGivenUp(t *testing.T) {
	w := newWorld()
	now := time.Date(2026, 3, 10, 7, 0, 0, 0, time.UTC)
	m, err := meter.New(meter.Config{Harvest: w.harvest, Record: w.record, Node: "a", Spool: t.TempDir(), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	w.refuse = fault.New(fault.Unavailable, "away")
	for range 1443 {
		now = now.Add(time.Minute)
		w.of("i-1").TokenFreeServed++
		_ = m.Flush(t.Context())
	}
	w.refuse = nil
	if err := m.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := w.got[0]
	if len(w.got) != 1440 || first.Skipped != 3 || first.Sequence != 4 || first.From.Sub(first.Lost) != 3*time.Minute || len(first.Began) != 1 {
		t.Errorf("%d reports, the first: %+v", len(w.got), first)
	}
	if first.Age != 1439*time.Minute {
		t.Errorf("it is %v old", first.Age)
	}
}
