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
	if err := os.WriteFile(filepath.Join(dir, "report-00000000000000ff.new"), []byte(`{"no`), 0o600); err != nil {
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
		served()
		time.Sleep(61 * time.Second)
		served()
		time.Sleep(60 * time.Second)
		served()
		cancel()
		<-done
		if len(w.got) != 3 {
			t.Fatalf("%d reports, want 3", len(w.got))
		}
		for i, r := range w.got {
			if got := r.Samples[0].Minute - begin; got != int64(i) {
				t.Errorf("report %d is of minute %d", i, got)
			}
		}
	})
}
