package survey_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"openimds/internal/instance"
	"openimds/internal/readiness"
	"openimds/internal/readiness/survey"
	"openimds/internal/state"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
	"openimds/internal/trace/finding"
	"openimds/internal/usage"
	"openimds/internal/usage/history"
	"openimds/internal/usage/ledger"
	"openimds/internal/usage/series"
)

const day = 24 * time.Hour

// begin is when the nodes of the simulated fleet begin to report; weeks later it
// is judged.
var (
	begin = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	judge = begin.Add(35 * day)
)

// habit is what the software of a simulated instance does, and what is to be
// said of it. Does is called for each tick of the instance's life: since its
// last start, and in all.
type habit struct {
	name string
	want readiness.Verdict
	// safe: nothing in it needs normal mode.
	safe bool
	// born is when it was launched, restarts when it was started again.
	born, restarts time.Duration
	does           func(sinceStart, at time.Duration, phase int) series.Counts
	change         func(*instance.Instance)
}

// every is true once in each period.
func every(at, period time.Duration, phase int) bool {
	return int(at/tick)%int(period/tick) == phase%int(period/tick)
}

// tick is how often an instance may do something: so seldom for the sake of the
// test's time.
const tick = 5 * time.Minute

var (
	free     = series.Counts{series.TokenFree: 1}
	tokened  = series.Counts{series.Tokened: 3, series.Minted: 1}
	suspects = series.Counts{series.Suspects: 1, series.Minted: 1}
)

func plus(all ...series.Counts) (sum series.Counts) {
	for _, c := range all {
		sum.Add(c)
	}
	return sum
}

// when gives counts where something is so.
func when(is bool, c series.Counts) series.Counts {
	if is {
		return c
	}
	return series.Counts{}
}

// habits are all that the fleet has. What is launched at 2 days is seen from
// its first minute on; at -10 days it was started before anybody looked.
func habits() []habit {
	good := func(start, _ time.Duration, phase int) series.Counts {
		return when(start < tick || every(start, 6*time.Hour, phase), tokened)
	}
	also := func(f func(start, at time.Duration, phase int) series.Counts) func(time.Duration, time.Duration, int) series.Counts {
		return func(start, at time.Duration, phase int) series.Counts {
			return plus(good(start, at, phase), f(start, at, phase))
		}
	}
	periodic := func(period time.Duration, c series.Counts) func(time.Duration, time.Duration, int) series.Counts {
		return func(start, _ time.Duration, phase int) series.Counts { return when(every(start, period, phase), c) }
	}
	boot := func(start, _ time.Duration, phase int) series.Counts {
		return when(start == time.Duration(phase%5)*tick, free)
	}
	return []habit{
		{name: "tokens alone", want: readiness.Ready, safe: true, born: 2 * day, does: good},
		{name: "tokens alone, restarted last week", want: readiness.Ready, safe: true, born: -10 * day, restarts: 29 * day, does: good},
		{name: "tokens at its start alone, long ago", want: readiness.Ready, safe: true, born: 2 * day, does: func(start, _ time.Duration, _ int) series.Counts { return when(start < tick, tokened) }},
		{name: "mended and restarted", want: readiness.Ready, safe: true, born: 2 * day, restarts: 15 * day, does: func(start, at time.Duration, phase int) series.Counts {
			return plus(good(start, at, phase), when(at < 15*day && every(at, time.Hour, phase), free))
		}},
		{name: "hourly without", want: readiness.NotReady, born: 2 * day, does: periodic(time.Hour, free)},
		{name: "daily without, else with", want: readiness.NotReady, born: 2 * day, does: also(periodic(day, free))},
		{name: "weekly without, else with", want: readiness.NotReady, born: 2 * day, does: also(periodic(7*day, free))},
		{name: "at its start without, three weeks ago, else with", want: readiness.NotReady, born: 2 * day, does: also(boot)},
		{name: "at its start without, in the window", want: readiness.NotReady, born: 2 * day, restarts: 30 * day, does: also(boot)},
		{name: "at its start without, before anybody looked", want: readiness.Unknown, born: -10 * day, does: also(boot)},
		{name: "tokens alone, started before anybody looked", want: readiness.Unknown, safe: true, born: -10 * day, does: good},
		{name: "mixed", want: readiness.NotReady, born: 2 * day, does: also(periodic(6*time.Hour, free))},
		{name: "silent", want: readiness.Unknown, born: 2 * day, does: func(time.Duration, time.Duration, int) series.Counts { return series.Counts{} }},
		{name: "launched a week ago", want: readiness.Unknown, safe: true, born: 28 * day, does: good},
		{name: "container that falls back", want: readiness.NotReady, born: 2 * day, does: also(periodic(12*time.Hour, plus(suspects, free)))},
		{name: "container that gives up", want: readiness.NotReady, born: 2 * day, does: also(periodic(day, suspects))},
		{name: "mended, and not restarted", want: readiness.NotReady, safe: true, born: 2 * day, does: func(start, at time.Duration, phase int) series.Counts {
			return plus(good(start, at, phase), when(at < 12*day && every(start, 10*time.Minute, phase), free))
		}},
		{name: "on a node that was killed", want: readiness.Unknown, safe: true, born: 2 * day, does: good, change: func(in *instance.Instance) { in.Node = "killed" }},
		{name: "Windows of ECS", want: readiness.NotReady, born: 2 * day, does: good, change: func(in *instance.Instance) { in.Dialect, in.Platform = "ecs", "windows" }},
		{name: "named by a tracer", want: readiness.NotReady, born: 2 * day, does: good, change: func(in *instance.Instance) { in.Tags = map[string]string{"traced": "yes"} }},
	}
}

const fleetSize = 1000

// member is an instance of the fleet.
type member struct {
	habit
	id, node string
	phase    int
}

// fleet is simulated on a ledger and a state.
type fleet struct {
	t       *testing.T
	now     time.Time
	ledger  *ledger.Ledger
	db      *state.DB
	members []member
	// hourly is called after the reports of each hour; nil: it is not.
	hourly func(at time.Duration)
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, now: begin}
	var err error
	f.ledger, err = ledger.Open(ledger.Config{File: history.Config{
		Path: filepath.Join(t.TempDir(), "usage"), Passing: true, Together: time.Nanosecond, Now: func() time.Time { return f.now },
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.ledger.Close() })
	s := memstore.New(memstore.Config{})
	if f.db, err = state.Open(t.Context(), s, testnet.Quiet()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = f.db.Close(), s.Close() })
	all := habits()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same fleet each time
	for i := range fleetSize {
		m := member{habit: all[i%len(all)], id: fmt.Sprintf("i-%04d", i), phase: random.IntN(10_000)}
		in := &instance.Instance{ID: m.id, Dialect: "ec2", Platform: "linux", State: "running", Node: fmt.Sprintf("node-%d", i%4), Started: begin.Add(m.born), Image: instance.Image{ID: "ami-1"}}
		if m.restarts != 0 {
			in.Started = begin.Add(m.restarts)
		}
		if m.change != nil {
			m.change(in)
		}
		m.node = in.Node
		f.members = append(f.members, m)
		if in.Tags["traced"] != "" {
			line := finding.Finding{V: 1, Time: judge.Add(-time.Hour), Mode: finding.TokenFree, Count: 1, Process: finding.Process{Comm: "backup", PID: 7}}
			if _, err := f.ledger.Findings(history.Found{Findings: map[string][]finding.Finding{m.id: {line}}}); err != nil {
				t.Fatal(err)
			}
		}
		err := f.db.Update(t.Context(), func(tx *state.Tx) error { return state.Save(tx, f.db.Instances, m.id, &state.Instance{Spec: *in}) })
		if err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// samples returns what a member did from a time on and before another.
func (m *member) samples(from, to time.Duration) (all []series.Sample) {
	for at := from; at < to; at += tick {
		if at < m.born {
			continue
		}
		start := m.born
		if m.restarts != 0 && at >= m.restarts {
			start = m.restarts
		}
		if c := m.does(at-start, at, m.phase); !c.Zero() {
			all = append(all, series.Sample{Instance: m.id, Minute: begin.Add(at).Unix() / 60, Counts: c})
		}
	}
	return all
}

// run lets the nodes report, an hour at a time.
func (f *fleet) run() {
	f.t.Helper()
	nodes := map[string][]*member{}
	for i := range f.members {
		m := &f.members[i]
		nodes[m.node] = append(nodes[m.node], m)
	}
	known := map[string]bool{}
	sequence := map[string]uint64{}
	for at := time.Duration(0); at < judge.Sub(begin); at += time.Hour {
		f.now = begin.Add(at + time.Hour)
		for node, members := range nodes {
			boot := "1"
			from := begin.Add(at)
			if node == "killed" && at >= 30*day {
				boot = "2"
				if at == 30*day {
					from = from.Add(time.Minute) // a minute is lost
				}
			}
			sequence[node+boot]++
			r := series.Report{Node: node, Boot: boot, Sequence: sequence[node+boot], From: from, To: f.now, Age: 1}
			for _, m := range members {
				if m.born < at+time.Hour && !known[m.id] {
					known[m.id] = true
					r.Began = append(r.Began, m.id)
				}
				r.Samples = append(r.Samples, m.samples(at, at+time.Hour)...)
			}
			for _, s := range r.Samples {
				if s.Counts[series.TokenFree] > 0 {
					r.Callers = append(r.Callers, series.Caller{Instance: s.Instance, Caller: usage.Caller{
						Agent: "old-agent", Item: "meta-data/", Access: usage.AskedTokenFree, Source: netip.MustParseAddr("10.0.0.5"), Count: 1,
						First: time.Unix(s.Minute*60, 0), Last: time.Unix(s.Minute*60, 0),
					}})
				}
			}
			if err := f.ledger.Kept().Record(context.Background(), r); err != nil {
				f.t.Fatal(err)
			}
		}
		if f.hourly != nil {
			f.hourly(at)
		}
	}
}

// A fleet whose habits are known is judged after five weeks: every verdict is
// right, and none is ready that needs normal mode.
func TestFleet(t *testing.T) {
	f := newFleet(t)
	f.run()
	f.now = judge
	ids := make([]string, len(f.members))
	for i, m := range f.members {
		ids[i] = m.id
	}
	s := survey.New(survey.Config{DB: f.db, Ledger: f.ledger, Now: func() time.Time { return f.now }})
	results, err := s.Judge(t.Context(), survey.Ask{Instances: ids, Window: 14 * day})
	if err != nil || len(results) != fleetSize {
		t.Fatalf("%d results, %v", len(results), err)
	}
	verdicts := map[readiness.Verdict]int{}
	falseReady, wrong := 0, map[string]int{}
	for i, r := range results {
		m := &f.members[i]
		verdicts[r.Verdict]++
		if r.Verdict == readiness.Ready && !m.safe {
			falseReady++
		}
		if r.Verdict != m.want {
			if wrong[m.name]++; wrong[m.name] == 1 {
				t.Errorf("%s, %s: %s, want %s: %+v", m.id, m.name, r.Verdict, m.want, r.Reasons)
			}
		}
		named := slices.ContainsFunc(r.Evidence.Free, func(c readiness.Caller) bool { return c.Agent == "old-agent" })
		if r.Evidence.Recent.TokenFree > 0 && !named {
			t.Errorf("%s, %s: nobody is named", m.id, m.name)
		}
	}
	t.Logf("%d instances, %d habits: %v; false ready: %d; wrong: %v", fleetSize, len(habits()), verdicts, falseReady, wrong)
	if falseReady != 0 {
		t.Errorf("%d instances are called ready and are not", falseReady)
	}
}
