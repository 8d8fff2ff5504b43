package remote_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"openimds/internal/metric"
	"openimds/internal/usage/history"
	"openimds/internal/usage/remote"
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

// bed is a history that is handed on.
type bed struct {
	t        *testing.T
	clock    *clock
	path     string
	url      string
	labels   map[string]string
	file     *history.File
	shipper  *remote.Shipper
	past     *remote.Past
	sequence map[string]uint64
}

// newBed opens a history whose usage goes to a URL.
func newBed(t *testing.T, url string, c *clock, cluster string) *bed {
	b := &bed{t: t, clock: c, path: filepath.Join(t.TempDir(), "usage.db"), url: url, labels: map[string]string{"cluster": cluster, "zone": "z"}, sequence: map[string]uint64{}}
	b.open()
	t.Cleanup(func() { b.file.Close() })
	return b
}

func (b *bed) open() {
	b.t.Helper()
	var err error
	b.file, err = history.Open(history.Config{Path: b.path, Now: b.clock.now, Together: time.Nanosecond})
	if err != nil {
		b.t.Fatal(err)
	}
	b.shipper, err = remote.NewShipper(remote.ShipperConfig{File: b.file, Write: remote.Access{URL: b.url + "/api/v1/write"}, Labels: b.labels, Now: b.clock.now, Together: 7})
	if err != nil {
		b.t.Fatal(err)
	}
	b.past, err = remote.NewPast(remote.PastConfig{File: b.file, Query: remote.Access{URL: b.url}, Labels: b.labels, Delivered: b.shipper.Delivered, Now: b.clock.now})
	if err != nil {
		b.t.Fatal(err)
	}
}

// restart closes the history, and opens it again.
func (b *bed) restart() {
	b.t.Helper()
	if err := b.file.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.open()
}

// reports takes a report of a node.
func (b *bed) reports(node string, samples ...series.Sample) series.Report {
	b.t.Helper()
	b.sequence[node]++
	r := series.Report{Node: node, Boot: "b", Sequence: b.sequence[node], Samples: samples}
	b.take(r)
	return r
}

func (b *bed) take(r series.Report) {
	b.t.Helper()
	if err := b.file.Record(context.Background(), r); err != nil {
		b.t.Fatal(err)
	}
}

// catch hands on what is due.
func (b *bed) catch() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := b.shipper.Catch(ctx); err != nil {
		b.t.Fatal(err)
	}
}

func minute(at time.Time) int64 { return at.Unix() / 60 }

func sampleOf(id string, at time.Time, free, tokened uint64) series.Sample {
	return series.Sample{Instance: id, Minute: minute(at), Counts: series.Counts{series.TokenFree: free, series.Tokened: tokened}}
}

// same compares what the place has with what the file has: of each instance in
// steps of every resolution, and of all in windows.
func (b *bed) same(ids ...string) {
	b.t.Helper()
	ctx := b.t.Context()
	now := b.clock.now()
	for _, r := range series.Resolutions() {
		for _, id := range ids {
			from := now.Add(-26 * time.Hour)
			want, err := b.file.Range(id, from, now.Add(time.Hour), r)
			if err != nil {
				b.t.Fatal(err)
			}
			got, err := b.past.Range(ctx, id, from, now.Add(time.Hour), r)
			if err != nil {
				b.t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				b.t.Errorf("%s by %v:\n%v, want\n%v", id, r.Step, short(got), short(want))
			}
			b.sameMetrics(id, from, r.Step)
		}
	}
	for _, window := range []time.Duration{time.Minute, 17 * time.Minute, 3 * time.Hour, 47 * time.Hour, 14 * 24 * time.Hour} {
		for _, to := range []time.Time{now.Add(455 * 24 * time.Hour), now.Add(-7 * time.Minute), now.Add(-90 * time.Second)} {
			from := now.Add(-window)
			if !from.Before(to) {
				continue
			}
			got, want := map[string]history.Total{}, map[string]history.Total{}
			if err := b.file.Totals(from, to, func(id string, t history.Total) { want[id] = t }); err != nil {
				b.t.Fatal(err)
			}
			if err := b.past.Totals(ctx, from, to, func(id string, t history.Total) { got[id] = t }); err != nil {
				b.t.Fatal(err)
			}
			if !maps.Equal(got, want) {
				b.t.Errorf("the last %v until %v:\n%v, want\n%v", window, to, got, want)
			}
		}
	}
}

// sameMetrics compares what the monitoring APIs and alarms make of it.
func (b *bed) sameMetrics(id string, from time.Time, period time.Duration) {
	b.t.Helper()
	now := b.clock.now()
	for _, kind := range []series.Kind{series.TokenFree, series.Tokened} {
		q := metric.Query{Instance: id, Measure: metric.Count(kind), From: from.Truncate(period), To: now, Period: period}
		want, err := q.Run(b.file.Range, now)
		if err != nil {
			b.t.Fatal(err)
		}
		got, err := q.Run(func(instance string, from, to time.Time, r series.Resolution) ([]series.Point, error) {
			return b.past.Range(b.t.Context(), instance, from, to, r)
		}, now)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			b.t.Errorf("%s of %s by %v: %v, %v, want %v", kind, id, period, got, err, want)
		}
	}
}

func short(points []series.Point) (out []string) {
	for _, p := range points {
		out = append(out, fmt.Sprintf("%s %v", p.Start.Format("15:04"), p.Counts))
	}
	return out
}
