package history_test

import (
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"openimds/internal/usage/history"
	"openimds/internal/usage/series"
)

// at makes a report of a run of a node, from and to so many minutes after the
// start.
func at(node, boot string, n uint64, from, to float64) series.Report {
	when := func(m float64) time.Time { return start.Add(time.Duration(m * float64(time.Minute))) }
	return series.Report{Node: node, Boot: boot, Sequence: n, From: when(from), To: when(to)}
}

// A run that was not ended in order says of which time counts may be missing,
// and so does one that has fallen silent.
func TestGaps(t *testing.T) {
	final := func(r series.Report) series.Report { r.Final = true; return r }
	gap := func(node string, from, to float64) history.Gap {
		r := at(node, "", 0, from, to)
		return history.Gap{Node: node, From: r.From, To: r.To}
	}
	for _, tt := range []struct {
		name    string
		now     float64
		reports []series.Report
		want    []history.Gap
	}{
		{"it runs", 12, []series.Report{at("a", "1", 1, 0, 1), at("a", "1", 2, 1, 10)}, nil},
		{"stopped in order", 90, []series.Report{at("a", "1", 1, 0, 1), final(at("a", "1", 2, 1, 2)), at("a", "2", 1, 80, 81), at("a", "2", 2, 81, 90)}, nil},
		{"killed", 12, []series.Report{at("a", "1", 1, 0, 1), at("a", "2", 1, 10, 11)}, []history.Gap{gap("a", 1, 10)}},
		{"killed, its last report late", 12, []series.Report{at("a", "1", 1, 0, 1), at("a", "2", 1, 10, 11), at("a", "1", 2, 1, 2)}, []history.Gap{gap("a", 2, 10)}},
		{"silent", 12, []series.Report{at("a", "1", 1, 0, 1)}, []history.Gap{gap("a", 1, 12)}},
		{"another node is not concerned", 12, []series.Report{at("a", "1", 1, 0, 11), at("b", "1", 1, 2, 11)}, nil},
		{"no times", 90, []series.Report{report(1)}, nil},
		{"reports were lost", 12, []series.Report{
			at("a", "1", 1, 0, 1), {Node: "a", Boot: "1", Sequence: 4, Skipped: 2, Lost: start.Add(time.Minute), From: start.Add(3 * time.Minute), To: start.Add(11 * time.Minute)},
		}, []history.Gap{gap("a", 1, 3)}},
		{"so many that they are forgotten", 12, []series.Report{
			at("a", "1", 1, 0, 1), {Node: "a", Boot: "1", Sequence: 5000, Skipped: 4998, Lost: start.Add(time.Minute), From: start.Add(3 * time.Minute), To: start.Add(4 * time.Minute)},
			at("a", "1", 5001, 4, 11),
		}, []history.Gap{gap("a", 1, 3)}},
		{"the clock went back in the run", 12, []series.Report{at("a", "1", 1, 0, 70), at("a", "1", 2, 5, 6), at("a", "2", 1, 10, 11)}, []history.Gap{gap("a", 6, 10)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &clock{t: start.Add(24 * time.Hour)}
			f := open(t, filepath.Join(t.TempDir(), "usage"), c)
			defer f.Close()
			for _, r := range tt.reports {
				record(t, f, r)
				record(t, f, r)
			}
			c.add(time.Duration(tt.now*float64(time.Minute)) - 24*time.Hour)
			got, err := f.Gaps(start, start.Add(100*time.Minute))
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%v, %v, want %v", got, err, tt.want)
			}
			if got, _ := f.Gaps(start.Add(-time.Hour), start); len(got) != 0 {
				t.Errorf("earlier there is %v", got)
			}
		})
	}
}

func TestServed(t *testing.T) {
	c := &clock{t: start.Add(24 * time.Hour)}
	f := open(t, filepath.Join(t.TempDir(), "usage"), c)
	defer f.Close()
	with := func(r series.Report, began, ended []string) series.Report { r.Began, r.Ended = began, ended; return r }
	step := func(r series.Report, id, want string) {
		t.Helper()
		record(t, f, r)
		s, err := f.Served(id)
		got := fmt.Sprint(s.Since.Sub(start).Minutes(), s.Nodes, !s.Ended.IsZero())
		if s.Since.IsZero() {
			got = "never"
		}
		if err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", id, got, err, want)
		}
	}
	one := []string{"i-1"}
	step(with(at("a", "1", 1, 0, 1), one, nil), "i-1", "0 [a] false")
	step(at("a", "1", 2, 1, 2), "i-2", "never")
	step(with(at("a", "2", 1, 10, 11), one, nil), "i-1", "0 [a] false") // another run goes on
	step(with(at("b", "1", 1, 20, 21), one, nil), "i-1", "0 [a b] false")
	step(with(at("a", "2", 2, 20, 22), nil, one), "i-1", "0 [a b] false") // it left a for b
	step(with(at("b", "1", 2, 22, 23), nil, one), "i-1", "0 [a b] true")
	step(with(at("a", "2", 3, 23, 24), one, nil), "i-1", "0 [b a] false")
	s, err := f.Served("i-1")
	if err != nil {
		t.Fatal(err)
	}
	gaps := []history.Gap{{Node: "a", From: start, To: start.Add(time.Minute)}, {Node: "c", From: start, To: start.Add(time.Minute)}, {Node: "b", From: start.Add(-time.Hour), To: start.Add(-time.Minute)}}
	if got := s.Of(gaps); !reflect.DeepEqual(got, gaps[:1]) {
		t.Errorf("%v", got)
	}
}
