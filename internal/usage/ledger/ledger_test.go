package ledger_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"openimds/internal/fault"
	"openimds/internal/usage"
	"openimds/internal/usage/history"
	"openimds/internal/usage/ledger"
	"openimds/internal/usage/series"
)

var now = time.Date(2026, 3, 10, 7, 23, 30, 0, time.UTC)

func open(t *testing.T) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(ledger.Config{
		File:     history.Config{Path: filepath.Join(t.TempDir(), "usage"), Passing: true, Together: time.Nanosecond, Now: func() time.Time { return now }},
		Assigned: func(node, instance string) bool { return instance == "i-"+node },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func sample(id string, at time.Time, n uint64) series.Sample {
	return series.Sample{Instance: id, Minute: at.Unix() / 60, Counts: series.Counts{series.TokenFree: n}}
}

func total(t *testing.T, l *ledger.Ledger, id string) (n uint64) {
	t.Helper()
	err := l.Totals(t.Context(), now.Add(-time.Hour), now.Add(time.Hour), func(of string, total history.Total) {
		if of == id {
			n = total.Counts[series.TokenFree]
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A node reports of its own instances, and of those that it had until now; a
// stolen host can say nothing of others, nor speak for another node.
func TestReport(t *testing.T) {
	l := open(t)
	var told []series.Report
	l.OnReport(func(r series.Report) { told = append(told, r) })
	r := series.Report{
		Node: "b", Boot: "1", Sequence: 1, From: now.Add(-time.Minute), To: now,
		Samples: []series.Sample{sample("i-a", now, 3), sample("i-b", now, 5)},
		Callers: []series.Caller{{Instance: "i-a", Caller: usage.Caller{Agent: "x", Last: now}}, {Instance: "i-b", Caller: usage.Caller{Agent: "x", Last: now}}},
		Began:   []string{"i-a", "i-b"},
	}
	for range 2 {
		if err := l.Report(t.Context(), "a", r); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := total(t, l, "i-a"), total(t, l, "i-b"); a != 3 || b != 0 {
		t.Errorf("its own: %d, another's: %d", a, b)
	}
	if len(told) != 1 || told[0].Node != "a" || len(told[0].Samples) != 1 {
		t.Errorf("told: %+v", told)
	}
	for id, want := range map[string]int{"i-a": 1, "i-b": 0} {
		if got, err := l.Callers(t.Context(), id, time.Time{}); err != nil || len(got) != want {
			t.Errorf("%s has callers %v, %v", id, got, err)
		}
		if s, err := l.Kept().Served(id); err != nil || len(s.Nodes) != want {
			t.Errorf("%s is served by %v, %v", id, s.Nodes, err)
		}
	}
	// It has moved to b; what a counted before comes late.
	l.SetAssigned(func(node, _ string) bool { return node == "b" })
	late := series.Report{Boot: "1", Sequence: 2, Samples: []series.Sample{sample("i-a", now, 1)}}
	if err := l.Report(t.Context(), "a", late); err != nil || total(t, l, "i-a") != 4 {
		t.Errorf("%v, %d", err, total(t, l, "i-a"))
	}
	if err := l.Report(t.Context(), "", late); fault.KindOf(err) != fault.Denied {
		t.Errorf("without a name: %v", err)
	}
}

// Whoever reads sees what was counted up to then.
func TestFlushedBeforeRead(t *testing.T) {
	l := open(t)
	n := uint64(0)
	l.FlushWith(func(ctx context.Context) error {
		n++
		return l.Record(ctx, series.Report{Boot: "here", Sequence: n, Samples: []series.Sample{sample("i-1", now, 1)}})
	})
	for want := uint64(1); want < 4; want++ {
		if got := total(t, l, "i-1"); got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
}

func TestSeries(t *testing.T) {
	l := open(t)
	r := series.Report{Boot: "1", Sequence: 1}
	for i := range 30 {
		r.Samples = append(r.Samples, sample("i-1", now.Add(-time.Duration(i)*time.Minute), 1))
	}
	r.Samples = append(r.Samples, sample("i-1", now.Add(-20*24*time.Hour), 7))
	if err := l.Record(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		from, step time.Duration
		points     int
		sum        uint64
	}{{time.Hour, 0, 30, 30}, {time.Hour, 2 * time.Minute, 15, 30}, {time.Hour, 10 * time.Minute, 4, 30}, {time.Hour, 90 * time.Minute, 1, 30}, {21 * 24 * time.Hour, 0, 8, 37}, {21 * 24 * time.Hour, 24 * time.Hour, 2, 37}} {
		points, _, err := l.Series(t.Context(), "i-1", now.Add(-tt.from), now, tt.step, now)
		var sum uint64
		for _, p := range points {
			sum += p.Counts[series.TokenFree]
		}
		if err != nil || len(points) != tt.points || sum != tt.sum {
			t.Errorf("%v by %v: %d points with %d, %v, want %d with %d", tt.from, tt.step, len(points), sum, err, tt.points, tt.sum)
		}
	}
}
