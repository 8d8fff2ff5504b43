package history_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openimds/internal/fault"
	"openimds/internal/usage/history"
	"openimds/internal/usage/series"
)

// start is when tests begin: within a step of every resolution.
var start = time.Date(2026, 3, 10, 7, 23, 0, 0, time.UTC)

// clock is a time that tests set.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

type tb interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
	Errorf(string, ...any)
}

func open(t tb, path string, c *clock) *history.File {
	t.Helper()
	f, err := history.Open(history.Config{Path: path, Now: c.now, Together: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func record(t tb, f *history.File, r series.Report) {
	t.Helper()
	if err := f.Record(context.Background(), r); err != nil {
		t.Fatal(err)
	}
}

func counts(tokenFree, tokened uint64) series.Counts {
	return series.Counts{series.TokenFree: tokenFree, series.Tokened: tokened}
}

func minute(at time.Time) int64 { return at.Unix() / 60 }

func report(n uint64, samples ...series.Sample) series.Report {
	return series.Report{Node: "host-1", Boot: "b1", Sequence: n, Samples: samples}
}

// What goes in comes out, at every resolution, of this instance alone.
func TestRange(t *testing.T) {
	c := &clock{t: start.Add(3 * time.Hour)}
	f := open(t, filepath.Join(t.TempDir(), "usage"), c)
	defer f.Close()
	m := minute(start) // 07:23
	record(t, f, report(1,
		series.Sample{Instance: "i-1", Minute: m, Counts: counts(3, 0)},
		series.Sample{Instance: "i-1", Minute: m + 1, Counts: counts(0, 2)},
		series.Sample{Instance: "i-1", Minute: m + 60, Counts: counts(1, 1)},
		series.Sample{Instance: "i-11", Minute: m, Counts: counts(50, 0)},
		series.Sample{Instance: "i-1", Minute: m + 1000, Counts: counts(9, 9)}, // from the future
		series.Sample{Instance: "i-1", Minute: m + 2, Counts: series.Counts{}},
	))
	record(t, f, report(2, series.Sample{Instance: "i-1", Minute: m, Counts: counts(1, 0)})) // the rest of a minute
	point := func(at string, tokenFree, tokened uint64) series.Point {
		when, err := time.Parse("15:04", at)
		if err != nil {
			t.Fatal(err)
		}
		return series.Point{Start: time.Date(2026, 3, 10, when.Hour(), when.Minute(), 0, 0, time.UTC), Counts: counts(tokenFree, tokened)}
	}
	r := series.Resolutions()
	for _, tt := range []struct {
		name     string
		from, to time.Duration
		r        series.Resolution
		want     []series.Point
	}{
		{"minutes", 0, 2 * time.Hour, r[0], []series.Point{point("07:23", 4, 0), point("07:24", 0, 2), point("08:23", 1, 1)}},
		{"the end is not included", 0, time.Minute, r[0], []series.Point{point("07:23", 4, 0)}},
		{"one minute on", time.Minute, time.Hour, r[0], []series.Point{point("07:24", 0, 2)}},
		{"five minutes", 0, 2 * time.Hour, r[1], []series.Point{point("07:20", 4, 2), point("08:20", 1, 1)}},
		{"hours", 0, 2 * time.Hour, r[2], []series.Point{point("07:00", 4, 2), point("08:00", 1, 1)}},
		{"nothing", 2 * time.Hour, 3 * time.Hour, r[0], nil},
	} {
		got, err := f.Range("i-1", start.Add(tt.from), start.Add(tt.to), tt.r)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Each resolution is kept as long as it says, and no longer.
func TestSweep(t *testing.T) {
	c := &clock{t: start}
	f := open(t, filepath.Join(t.TempDir(), "usage"), c)
	defer f.Close()
	record(t, f, report(1, series.Sample{Instance: "i-1", Minute: minute(start), Counts: counts(1, 0)}))
	have := func() (n int) {
		for _, r := range series.Resolutions() {
			points, err := f.Range("i-1", start.Add(-time.Hour), start.Add(time.Hour), r)
			if err != nil {
				t.Fatal(err)
			}
			n += len(points)
		}
		return n
	}
	const day = 24 * time.Hour
	for _, step := range []struct {
		forward time.Duration
		want    int
	}{{0, 3}, {14 * day, 3}, {3 * day, 2}, {45 * day, 2}, {5 * day, 1}, {387 * day, 1}, {30 * day, 0}} {
		c.add(step.forward)
		if err := f.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := have(); n != step.want {
			t.Errorf("after %v: %d resolutions have it, want %d", c.now().Sub(start), n, step.want)
		}
	}
	// A report from before what is kept leaves nothing.
	record(t, f, report(2, series.Sample{Instance: "i-1", Minute: minute(start), Counts: counts(1, 0)}))
	if have() != 0 {
		t.Error("what is too old was taken")
	}
}

// Whatever the way of reports, with repetitions, in any order, over restarts of
// the file: what was counted is kept exactly once.
func TestExact(t *testing.T) {
	folders := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		dir := filepath.Join(folders, fmt.Sprint(n))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		c := &clock{t: start.Add(time.Hour)}
		f := open(t, filepath.Join(dir, "usage"), c)
		defer func() { _ = f.Close() }()
		want := map[string]series.Counts{}
		var reports []series.Report
		sequences := map[string]uint64{}
		for range rapid.IntRange(1, 12).Draw(t, "reports") {
			node := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "node")
			boot := rapid.SampledFrom([]string{"1", "2"}).Draw(t, "boot")
			sequences[node+boot]++
			r := series.Report{Node: node, Boot: boot, Sequence: sequences[node+boot]}
			for range rapid.IntRange(0, 4).Draw(t, "samples") {
				s := series.Sample{
					Instance: fmt.Sprint("i-", rapid.IntRange(1, 3).Draw(t, "instance")),
					Minute:   minute(start) + rapid.Int64Range(0, 59).Draw(t, "minute"),
				}
				for k := range s.Counts {
					s.Counts[k] = rapid.Uint64Range(0, 1000).Draw(t, "count")
				}
				r.Samples = append(r.Samples, s)
				total := want[s.Instance]
				total.Add(s.Counts)
				want[s.Instance] = total
			}
			reports = append(reports, r)
		}
		sent := rapid.Permutation(append(reports, reports...)).Draw(t, "order")
		for _, r := range sent {
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				f = open(t, filepath.Join(dir, "usage"), c)
			}
			record(t, f, r)
		}
		for id, counts := range want {
			for _, r := range series.Resolutions() {
				points, err := f.Range(id, start.Add(-2*time.Hour), start.Add(3*time.Hour), r)
				if err != nil {
					t.Fatal(err)
				}
				var got series.Counts
				for _, p := range points {
					got.Add(p.Counts)
				}
				if got != counts {
					t.Fatalf("%s at %v: %v, want %v", id, r.Step, got, counts)
				}
			}
		}
		got := map[string]series.Counts{}
		if err := f.Totals(start.Add(-2*time.Hour), start.Add(3*time.Hour), func(id string, total history.Total) { got[id] = total.Counts }); err != nil {
			t.Fatal(err)
		}
		for id, counts := range want {
			if counts.Zero() {
				delete(want, id)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("totals %v, want %v", got, want)
		}
	})
}

// A report that is far ahead of one that has not come is sent back: it could
// not be told apart from a repetition later.
func TestTooFarAhead(t *testing.T) {
	c := &clock{t: start}
	f := open(t, filepath.Join(t.TempDir(), "usage"), c)
	defer f.Close()
	s := series.Sample{Instance: "i-1", Minute: minute(start), Counts: counts(1, 0)}
	record(t, f, report(1024, s))
	if err := f.Record(t.Context(), report(1025, s)); fault.KindOf(err) != fault.Conflict {
		t.Errorf("too far ahead: %v", err)
	}
	record(t, f, report(1, s))
	record(t, f, report(1025, s))
	record(t, f, report(1024, s))
	points, err := f.Range("i-1", start, start.Add(time.Minute), series.Resolutions()[0])
	if err != nil || len(points) != 1 || points[0].Counts[series.TokenFree] != 3 {
		t.Errorf("%v, %v", points, err)
	}
	for _, bad := range []series.Report{{Boot: "b"}, {Sequence: 1}} {
		if err := f.Record(t.Context(), bad); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// Reports of many nodes at once are written, and after Close none is taken.
func TestTogether(t *testing.T) {
	c := &clock{t: start}
	path := filepath.Join(t.TempDir(), "usage")
	f := open(t, path, c)
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			for sequence := range uint64(5) {
				r := series.Report{Node: fmt.Sprint(n), Boot: "b", Sequence: sequence + 1, Samples: []series.Sample{{Instance: "i-1", Minute: minute(start), Counts: counts(1, 0)}}}
				if err := f.Record(context.Background(), r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	points, err := f.Range("i-1", start, start.Add(time.Minute), series.Resolutions()[0])
	if err != nil || len(points) != 1 || points[0].Counts[series.TokenFree] != 250 {
		t.Errorf("%v, %v", points, err)
	}
	if _, err := history.Open(history.Config{Path: path, Timeout: time.Millisecond}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a file that is open: %v", err)
	}
	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Error(err)
	}
	if err := f.Record(t.Context(), report(1)); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("after Close: %v", err)
	}
}
