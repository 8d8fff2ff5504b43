package metric_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"openimds/internal/metric"
	"openimds/internal/usage/history"
	"openimds/internal/usage/series"
)

const day = 24 * time.Hour

// now is when tests read: nothing is a multiple of anything.
var now = time.Date(2026, 6, 20, 7, 23, 11, 0, time.UTC)

// record returns a reader of what instance i did: one count of n at each age.
func record(t *testing.T, counts map[time.Duration]uint64) metric.Read {
	t.Helper()
	at := now
	f, err := history.Open(history.Config{Path: filepath.Join(t.TempDir(), "usage"), Now: func() time.Time { return at }, Together: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	sequence := uint64(0)
	for age, n := range counts {
		// Each is recorded when it happens, and kept as long as it is kept.
		at, sequence = now.Add(-age), sequence+1
		s := series.Sample{Instance: "i", Minute: at.Unix() / 60, Counts: series.Counts{series.TokenFree: n}}
		if err := f.Record(t.Context(), series.Report{Node: "n", Boot: "b", Sequence: sequence, Samples: []series.Sample{s}}); err != nil {
			t.Fatal(err)
		}
	}
	at = now
	for range 3 {
		if err := f.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return f.Range
}

// What is older is read from longer steps, and not at all with a period that is
// shorter (EC2-CW-09).
func TestAges(t *testing.T) {
	read := record(t, map[time.Duration]uint64{time.Minute: 1, 5 * time.Minute: 2, day: 4, 14 * day: 8, 16 * day: 16, 60 * day: 32, 64 * day: 64, 400 * day: 128})
	for _, tt := range []struct {
		back, period time.Duration
		want         float64
	}{
		{10 * time.Minute, time.Minute, 3},
		{2 * day, time.Minute, 7},
		{15 * day, time.Minute, 15},
		{62 * day, 5 * time.Minute, 63},
		{62 * day, time.Minute, 15},
		{62 * day, 7 * time.Minute, 15},
		{450 * day, time.Hour, 255},
		{450 * day, day, 255},
		{450 * day, 5 * time.Minute, 63},
		{450 * day, 90 * time.Minute, 63},
	} {
		q := metric.Query{Instance: "i", Measure: metric.Count(series.TokenFree), From: now.Add(-tt.back).Truncate(time.Hour), To: now, Period: tt.period}
		all, err := q.Run(read, now)
		if err != nil {
			t.Fatal(err)
		}
		var sum float64
		var last time.Time
		for _, d := range all {
			sum += d.Sum
			if !d.Start.After(last) || d.Start.Sub(q.From)%tt.period != 0 {
				t.Errorf("%v back by %v: a datapoint at %v after %v", tt.back, tt.period, d.Start, last)
			}
			last = d.Start
		}
		if sum != tt.want {
			t.Errorf("%v back by %v: %v, want %v", tt.back, tt.period, sum, tt.want)
		}
	}
}

// A datapoint has the samples of its period, which begins where the query does.
func TestPeriods(t *testing.T) {
	read := record(t, map[time.Duration]uint64{1 * time.Minute: 5, 2 * time.Minute: 1, 3 * time.Minute: 3, 8 * time.Minute: 7})
	q := metric.Query{Instance: "i", Measure: metric.Count(series.TokenFree), From: now.Truncate(time.Minute).Add(-8 * time.Minute), To: now, Period: 5 * time.Minute}
	var got []string
	all, err := q.Run(read, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		line := d.Start.Format("15:04")
		for _, name := range append(metric.Statistics(), "p0", "p50", "p66.67", "p100") {
			s, ok := metric.ParseStatistic(name)
			if !ok {
				t.Fatal(name)
			}
			line += fmt.Sprint(" ", s(d))
		}
		got = append(got, line)
	}
	const want = "07:15 1 7 7 7 7 7 7 7 7; 07:20 3 3 9 1 5 1 3 5 5"
	if s := strings.Join(got, "; "); s != want {
		t.Errorf("%s\nwant %s", s, want)
	}
	q.To = q.From
	if all, err := q.Run(read, now); err != nil || len(all) != 0 {
		t.Errorf("nothing: %v, %v", all, err)
	}
}

func TestParseStatistic(t *testing.T) {
	for _, bad := range []string{"", "sum", "p", "p101", "p-1", "p1e1", "pNaN", "tm99", "p99.999", "p1.2.3"} {
		if _, ok := metric.ParseStatistic(bad); ok {
			t.Errorf("%q is a statistic", bad)
		}
	}
}
