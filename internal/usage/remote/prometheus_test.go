package remote_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"openimds/internal/testnet"
	"openimds/internal/usage/series"
)

// A load of known size goes out by remote write and comes back by PromQL,
// exactly: over restarts and crashes of both sides, with reports that come late,
// twice and in another order.
func TestPrometheus(t *testing.T) {
	s := testnet.StartPrometheus(t)
	b := newBed(t, s.URL, &clock{t: start}, "a")
	ids := []string{"i-gone", "i-steady", "i-hourly", "i-once", "i-late", `i-"odd\`}
	total := map[string]series.Counts{}
	put := func(node string, samples ...series.Sample) series.Report {
		for _, x := range samples {
			c := total[x.Instance]
			c.Add(x.Counts)
			total[x.Instance] = c
		}
		return b.reports(node, samples...)
	}
	var again series.Report
	for m := range 150 {
		at := b.clock.now()
		put("n1", sampleOf("i-steady", at, 0, uint64(m%5+1)))
		switch {
		case m%60 == 7:
			put("n1", sampleOf("i-hourly", at, 3, 0))
		case m == 33:
			again = put("n1", sampleOf("i-once", at, 1, 0), sampleOf(`i-"odd\`, at, 2, 2))
		case m == 60:
			b.take(again)
		}
		if m%40 == 39 {
			// A node that was away: of this minute, and of long before.
			put("n2", sampleOf("i-late", at, 1, 0), sampleOf("i-late", at.Add(-37*time.Minute), 5, 0), sampleOf("i-steady", at.Add(-11*time.Minute), 9, 0))
		}
		if m == 20 || m == 23 || m == 132 {
			// One that goes, and comes back: at the ends of hours between it is not there.
			n3 := series.Report{Node: "n3", Boot: "b", Sequence: uint64(m), From: at, To: at.Add(time.Minute), Began: []string{"i-gone"}, Samples: []series.Sample{sampleOf("i-gone", at, 2, 0)}}
			if m == 23 {
				n3.Ended, n3.Began = n3.Began, nil
			}
			b.take(n3)
		}
		b.clock.add(time.Minute)
		b.catch()
		switch m {
		case 45:
			b.restart()
		case 70:
			s.Stop()
			s.Start()
		case 90:
			s.Kill()
			s.Start()
			b.restart()
		case 100, 128:
			b.same(ids...)
		}
	}
	// Who still waits is here.
	put("n2", sampleOf("i-late", b.clock.now().Add(-50*time.Minute), 7, 1))
	b.same(ids...)
	b.clock.add(3 * time.Hour)
	b.catch()
	b.same(ids...)
	if got := b.shipper.Stats(); got.Dropped != 0 || got.Failed != 0 || got.Lag > time.Minute {
		t.Errorf("%+v", got)
	}
	// Anybody's PromQL finds them, too.
	for id, want := range total {
		for k, label := range map[series.Kind]string{series.TokenFree: "token_free", series.Tokened: "tokened"} {
			expr := fmt.Sprintf("max_over_time(openimds_instance_usage_total{cluster=\"a\",instance_id=%q,kind=%q}[2d])", id, label)
			if want[k] == 0 {
				continue // it never was there
			}
			if got := value(t, s.URL, expr, b.clock.now()); got != fmt.Sprint(want[k]) {
				t.Errorf("%s: %s, want %d", expr, got, want[k])
			}
		}
	}
}

// What a Prometheus without a window for samples out of order refuses, because
// it is too old, is lost there by the minute only: the file has it, and the
// counters have it from the next minute on.
func TestTooOld(t *testing.T) {
	s := testnet.StartPrometheus(t)
	b := newBed(t, s.URL, &clock{t: start}, "a")
	b.reports("n", sampleOf("i-1", b.clock.now(), 2, 0))
	b.clock.add(time.Minute)
	b.catch()
	for range 3 * 60 {
		b.reports("n", sampleOf("i-1", b.clock.now(), 1, 0))
		b.clock.add(time.Minute)
	}
	// Something else is written of now, as a scrape would.
	other := newBed(t, s.URL, &clock{t: b.clock.now()}, "other")
	other.clock.add(2 * time.Minute)
	other.catch()
	b.catch()
	if got := b.shipper.Stats(); got.Dropped == 0 {
		t.Errorf("nothing was refused: %+v", got)
	}
	b.clock.add(2 * time.Hour)
	b.reports("n", sampleOf("i-1", b.clock.now(), 1, 0))
	b.clock.add(5 * time.Minute)
	b.catch()
	b.same("i-1")
	if got := value(t, s.URL, `max_over_time(openimds_instance_usage_total{instance_id="i-1"}[1d])`, b.clock.now()); got != "183" {
		t.Errorf("the counter is %s, want 183", got)
	}
}

// A place that has lost something says so, instead of fewer requests.
func TestLost(t *testing.T) {
	s := testnet.StartPrometheus(t)
	b := newBed(t, s.URL, &clock{t: start}, "a")
	for range 90 {
		b.reports("n", sampleOf("i-1", b.clock.now(), 1, 0))
		b.clock.add(time.Minute)
	}
	b.catch()
	b.clock.add(5 * time.Minute)
	b.same("i-1")
	s.Stop()
	if err := os.RemoveAll(s.Data); err != nil {
		t.Fatal(err)
	}
	s.Start()
	b.catch()
	_, err := b.past.Range(context.Background(), "i-1", start, b.clock.now(), series.Resolutions()[0])
	wantUnavailable(t, err, "of 1 minutes that were written there")
	err = b.past.Totals(context.Background(), start, b.clock.now(), nil)
	wantUnavailable(t, err, "minutes that were written there")
}

// A control plane that has lost its state finds its past under another writer's
// name, and its own is not counted twice.
func TestOthers(t *testing.T) {
	s := testnet.StartPrometheus(t)
	old := newBed(t, s.URL, &clock{t: start}, "a")
	for range 30 {
		old.reports("n", sampleOf("i-1", old.clock.now(), 1, 2))
		old.clock.add(time.Minute)
	}
	old.catch()
	old.clock.add(10 * time.Minute)
	old.catch()
	old.same("i-1")

	b := newBed(t, s.URL, old.clock, "a")
	b.reports("n", sampleOf("i-1", b.clock.now(), 1, 0))
	b.clock.add(10 * time.Minute)
	b.catch()
	points, err := b.past.Range(t.Context(), "i-1", start.Add(-time.Hour), b.clock.now(), series.Resolutions()[0])
	if err != nil || len(points) != 31 {
		t.Errorf("%d points, %v, want 31", len(points), err)
	}
	for _, window := range []time.Duration{2 * time.Hour, 10 * 24 * time.Hour} {
		found := 0
		err := b.past.Totals(t.Context(), b.clock.now().Add(-window), b.clock.now().Add(time.Hour), func(id string, got windowTotal) {
			found++
			step := time.Minute
			if window > 48*time.Hour {
				step = time.Hour
			}
			if id != "i-1" || got.Counts != (series.Counts{series.TokenFree: 31, series.Tokened: 60}) ||
				!got.First.Equal(start.Truncate(step)) || !got.Last.Equal(start.Add(40*time.Minute).Truncate(step)) {
				t.Errorf("%s %+v", id, got)
			}
		})
		if err != nil || found != 1 {
			t.Errorf("%d instances, %v", found, err)
		}
	}
	// The clock goes back for a day: a new begin, and nothing twice.
	b.clock.add(-24 * time.Hour)
	b.catch()
	b.clock.add(24*time.Hour + time.Minute)
	b.catch()
	total := uint64(0)
	err = b.past.Totals(t.Context(), start.Add(-time.Hour), b.clock.now(), func(_ string, got windowTotal) { total += got.Counts[series.TokenFree] })
	if err != nil || total != 31 {
		t.Errorf("after the clock was back: %d requests, %v, want 31", total, err)
	}
}
