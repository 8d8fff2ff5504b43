package usage_test

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"openimds/internal/dialect"
	"openimds/internal/item"
	"openimds/internal/usage"
)

// Every key of a report is documented.
func TestReportIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/admin.md")
	if err != nil {
		t.Fatal(err)
	}
	for f := range reflect.TypeFor[usage.Report]().Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !strings.Contains(string(page), "| `"+key+"` |") {
			t.Errorf("docs/reference/admin.md has no row for %s", key)
		}
	}
}

func TestCounters(t *testing.T) {
	var c usage.Counters
	if r := c.Report("i-1", "ec2"); r != (usage.Report{Instance: "i-1", Dialect: "ec2"}) {
		t.Errorf("fresh: %+v", r)
	}
	for o := range dialect.Outcomes {
		c.Count(dialect.TokenFree, o, 100)
	}
	c.Count(dialect.Tokened, dialect.Served, 200)
	c.Count(dialect.Tokened, dialect.Absent, 300)
	want := usage.Report{
		Instance: "i-1", Dialect: "ec2", TokenFreeServed: 1, TokenFreeAbsent: 1, TokenFreeRejected: 1,
		TokenedServed: 1, TokenedAbsent: 1, BadToken: 1, TokensMinted: 1, Throttled: 1,
		Refused: uint64(dialect.Outcomes) - 6, LastRequest: time.Unix(300, 0).UTC(), LastTokenFree: time.Unix(100, 0).UTC(),
	}
	if got := c.Report("i-1", "ec2"); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	text, err := json.Marshal(usage.Report{})
	if err != nil || strings.Contains(string(text), "last") {
		t.Errorf("an instance that never called has a time: %s, %v", text, err)
	}
}

func TestTotals(t *testing.T) {
	d := &dialect.Dialect{Name: "x", Tree: item.Must(item.Spec{Versions: []string{"1"}, Rows: []item.Row{
		{Path: "a/b", Get: func(dst []byte, _ *item.Query) ([]byte, bool) { return dst, true }},
	}})}
	totals := usage.NewTotals(d)
	leaf := len(d.Tree.Nodes()) - 1
	totals.Count(leaf, dialect.Tokened, dialect.Failed)
	totals.Count(leaf, dialect.Tokened, dialect.Failed)
	totals.Count(item.Nowhere, dialect.NoAccess, dialect.Served)
	var got []usage.Total
	totals.Each(func(c usage.Total) { got = append(got, c) })
	want := []usage.Total{
		{Dialect: "x", Item: "(none)", Access: dialect.NoAccess, Outcome: dialect.Served, Count: 1},
		{Dialect: "x", Item: "a/b", Access: dialect.Tokened, Outcome: dialect.Failed, Count: 2},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
