package history_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"openimds/internal/usage"
	"openimds/internal/usage/series"
)

func caller(instance, agent, access string, count uint64, first, last time.Time) series.Caller {
	return series.Caller{Instance: instance, Caller: usage.Caller{
		Agent: agent, Item: "meta-data/instance-id", Access: access, Source: netip.MustParseAddr("10.0.0.5"), Count: count, First: first, Last: last,
	}}
}

// Callers add up over reports, count once, and stay within bounds without those
// with a token driving out those without.
func TestCallers(t *testing.T) {
	c := &clock{t: start.Add(time.Hour)}
	f := open(t, filepath.Join(t.TempDir(), "usage"), c)
	defer f.Close()
	first := series.Report{Node: "n", Boot: "b", Sequence: 1, Callers: []series.Caller{
		caller("i-1", "curl", usage.AskedTokenFree, 3, start, start.Add(time.Minute)),
		caller("i-2", "wget", usage.AskedTokenFree, 1, start, start),
	}}
	record(t, f, first)
	record(t, f, first)
	record(t, f, series.Report{Node: "n", Boot: "b", Sequence: 2, Callers: []series.Caller{
		caller("i-1", "curl", usage.AskedTokenFree, 2, start.Add(time.Minute), start.Add(5*time.Minute)),
	}})
	many := series.Report{Node: "n", Boot: "b", Sequence: 3}
	for i := range 100 {
		many.Callers = append(many.Callers, caller("i-1", fmt.Sprint("agent/", i), usage.AskedTokened, 1, start.Add(time.Hour), start.Add(time.Hour+time.Duration(i)*time.Second)))
	}
	record(t, f, many)
	got, err := f.Callers("i-1", start)
	if err != nil || len(got) != 32 {
		t.Fatalf("%d callers, %v", len(got), err)
	}
	if g := got[0]; g.Agent != "curl" || g.Count != 5 || !g.First.Equal(start) || !g.Last.Equal(start.Add(5*time.Minute)) {
		t.Errorf("%+v", g)
	}
	if got[1].Agent != "agent/99" {
		t.Errorf("the newest with a token is %s", got[1].Agent)
	}
	if got, _ := f.Callers("i-1", start.Add(10*time.Minute)); len(got) != 31 || got[0].Access != usage.AskedTokened {
		t.Errorf("since later: %d callers, first %+v", len(got), got[0])
	}
	if got, err := f.Callers("i-3", start); err != nil || len(got) != 0 {
		t.Errorf("an instance that nobody knows: %v, %v", got, err)
	}
}
