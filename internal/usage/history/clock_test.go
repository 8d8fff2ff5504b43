package history_test

import (
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openimds/internal/usage/history"
	"openimds/internal/usage/series"
)

// A node's clock may be anything: what was counted is kept, and near to when it
// was.
func TestWrongClock(t *testing.T) {
	for _, tt := range []struct {
		name string
		skew time.Duration
	}{{"right", 0}, {"a minute off", time.Minute}, {"an hour ahead", time.Hour}, {"a day ahead", 24 * time.Hour}, {"an hour behind", -time.Hour}, {"of 1970", -56 * 365 * 24 * time.Hour}} {
		t.Run(tt.name, func(t *testing.T) {
			c := &clock{t: start}
			f := open(t, filepath.Join(t.TempDir(), "usage"), c)
			defer f.Close()
			here := start.Add(-5 * time.Minute) // when it was counted
			there := here.Add(tt.skew)
			r := series.Report{
				Node: "a", Boot: "1", Sequence: 1, From: there.Add(-time.Minute), To: there, Age: 5 * time.Minute,
				Samples: []series.Sample{{Instance: "i-1", Minute: there.Add(-time.Second).Unix() / 60, Counts: counts(7, 0)}},
			}
			record(t, f, r)
			points, err := f.Range("i-1", here.Add(-3*time.Minute), start.Add(time.Minute), series.Resolutions()[0])
			if err != nil || len(points) != 1 || points[0].Counts != counts(7, 0) {
				t.Errorf("%v, %v", points, err)
			}
		})
	}
}

// However the clock of this machine jumps while a data plane reports to it,
// nothing is lost and nothing counted twice.
func TestClockJumps(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := &clock{t: start}
		f := open(rt, filepath.Join(t.TempDir(), "usage"), c)
		defer f.Close()
		var want series.Counts
		until := c.now()
		for n := range rapid.Uint64Range(1, 20).Draw(rt, "reports") {
			c.add(rapid.SampledFrom([]time.Duration{time.Minute, time.Minute, 50 * time.Millisecond, -time.Hour, time.Hour, 24 * time.Hour, -24 * time.Hour}).Draw(rt, "jump"))
			sample := series.Sample{Instance: "i-1", Minute: c.now().Add(-time.Second).Unix() / 60, Counts: counts(rapid.Uint64Range(0, 9).Draw(rt, "n"), 1)}
			want.Add(sample.Counts)
			r := series.Report{Boot: "1", Sequence: n + 1, From: until, To: c.now(), Age: 1, Samples: []series.Sample{sample}}
			until = c.now()
			for range rapid.IntRange(1, 2).Draw(rt, "sent") {
				record(rt, f, r)
			}
		}
		var got series.Counts
		far := 60 * 24 * time.Hour
		if err := f.Totals(start.Add(-far), start.Add(far), func(_ string, total history.Total) { got = total.Counts }); err != nil {
			rt.Fatal(err)
		}
		if got != want {
			rt.Fatalf("%v, want %v", got, want)
		}
	})
}
