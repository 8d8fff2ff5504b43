//go:build linux

package main

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"openimds/internal/config"
	"openimds/internal/instance"
)

func TestSpread(t *testing.T) {
	id := func(v float64) float64 { return v }
	for _, c := range []struct {
		in   []float64
		want spread
	}{
		{nil, spread{}},
		{[]float64{3}, spread{3, 3, 3}},
		{[]float64{4, 1, 2}, spread{2, 1, 4}},
		{[]float64{4, 1, 2, 3}, spread{2.5, 1, 4}},
	} {
		if got := spreadOf(c.in, id); got != c.want {
			t.Errorf("%v: %v, want %v", c.in, got, c.want)
		}
	}
}

// Ratios are those of rounds: what slows a whole round down does not show.
func TestRatiosAreTakenWithinRounds(t *testing.T) {
	f := figures{}
	ours, base := key{"t", "ours"}, key{"t", "base"}
	for _, slow := range []float64{1, 5, 2} {
		f.add(base, figure{cpu: 10 * slow})
		f.add(ours, figure{cpu: 11 * slow})
	}
	got := f.against(ours, base)
	if math.Abs(got.min-1.1) > 1e-9 || math.Abs(got.max-1.1) > 1e-9 {
		t.Errorf("%v, want 1.1 throughout", got)
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		ratio, most float64
		want        string
	}{
		{1.10, 1.10, "1.10 | met"},
		{1.104, 1.10, "1.10 | met"},
		{1.106, 1.10, "1.10 | **missed**"},
		{9, 0, " | "},
	} {
		if got := verdict(c.ratio, c.most); got != c.want {
			t.Errorf("%v of %v: %q, want %q", c.ratio, c.most, got, c.want)
		}
	}
}

func TestWrkIsBelievedOnlyWhenItFits(t *testing.T) {
	w, err := parseWrk([]byte("Running 2s test\nRequests/sec: 1\nfigures 5000 2000000 0 0\n"))
	if err != nil || w.answers != 5000 || w.took.Seconds() != 2 {
		t.Fatalf("%+v, %v", w, err)
	}
	if _, err := parseWrk([]byte("Running 2s test\n")); err == nil {
		t.Error("no figures: no error")
	}
	for _, c := range []struct {
		name   string
		w      wrk
		status int
		ok     bool
	}{
		{"all served", wrk{answers: 5000}, 200, true},
		{"one was not", wrk{answers: 5000, refused: 1}, 200, false},
		{"all refused", wrk{answers: 5000, refused: 5000}, 401, true},
		{"refused but for what a throttle lets through", wrk{answers: 5000, refused: 4997}, 503, true},
		{"half refused", wrk{answers: 5000, refused: 2500}, 503, false},
		{"hardly an answer", wrk{answers: 10}, 200, false},
		{"connections fail", wrk{answers: 5000, broken: 100}, 200, false},
	} {
		if err := c.w.check(c.status, 2); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestGoalsNameWhatIsMeasured(t *testing.T) {
	all := tests()
	measured := map[key]bool{}
	for _, x := range all {
		for _, s := range x.servers {
			measured[key{x.name, s}] = true
		}
	}
	if len(measured) != 23 {
		t.Errorf("%d measurements a round", len(measured))
	}
	for _, x := range all {
		for _, g := range x.goals {
			if k := (key{x.name, g.server}); !measured[k] || !measured[g.base] {
				t.Errorf("%s against %s: one is not measured", k, g.base)
			}
		}
	}
}

func TestPickBringsWhatATestIsComparedWith(t *testing.T) {
	var names []string
	for _, x := range pick(tests(), "ECS throttled, new") {
		names = append(names, x.name)
	}
	if want := []string{"ECS GET, new connection", "ECS throttled, new connection"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}

// The program reads the instances file, and finds in it as many as were asked
// for.
func TestInstancesFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), instancesFile)
	const n = 400
	if err := writeInstances(path, n); err != nil {
		t.Fatal(err)
	}
	all, err := config.LoadInstances(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != n {
		t.Errorf("%d instances, want %d", len(all), n)
	}
	for _, d := range dialects {
		if all[slices.IndexFunc(all, func(in *instance.Instance) bool { return in.Dialect == d.name })].ID != d.id {
			t.Errorf("%s: the first instance is not %s", d.name, d.id)
		}
	}
}

func TestReportShowsEveryTest(t *testing.T) {
	b := &bench{
		options: options{rounds: 1, seconds: 1}, tests: tests(), figures: figures{}, sizes: map[key]int{},
		latencies: map[key][]latency{}, instructions: map[key]float64{},
	}
	for _, x := range b.tests {
		for _, s := range x.servers {
			b.figures.add(key{x.name, s}, figure{cpu: 10, rate: 1000})
		}
		for _, s := range latencyServers {
			b.latencies[key{x.name, s}] = []latency{{Rate: 500, P50: 1, P99: 2, P999: 3}}
			b.instructions[key{x.name, s}] = 1234
		}
	}
	text := b.report(machine{processor: "P"})
	for _, x := range b.tests {
		if n := strings.Count(text, "| "+x.name+" |"); n < 4 {
			t.Errorf("%s: in %d lines", x.name, n)
		}
	}
	if strings.Contains(text, "NaN") || strings.Contains(text, "%!") {
		t.Error(text)
	}
}

func TestBusy(t *testing.T) {
	const stat = "cpu  1 1 1 1 1 1 1 1 1 1\ncpu0 100 10 20 5000 7 1 2 3 0 0\ncpu1 200 0 0 9000 0 0 0 0 0 0\ncpu10 9 9 9 9 9 9 9 9 9 9\nintr 1\n"
	if got, err := busy(stat, 0, 1); err != nil || got != 3360*time.Millisecond {
		t.Errorf("%v, %v, want 3.36s", got, err)
	}
	if _, err := busy(stat, 2); err == nil {
		t.Error("a core that is not there: no error")
	}
}
