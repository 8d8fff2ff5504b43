package usage_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"openimds/internal/dialect"
	"openimds/internal/item"
	"openimds/internal/usage"
)

var (
	here = netip.MustParseAddr("10.0.0.5")
	tree = &dialect.Dialect{Name: "x", Tree: item.Must(item.Spec{Versions: []string{"1"}, Rows: []item.Row{
		{Path: "a/b", Get: func(dst []byte, _ *item.Query) ([]byte, bool) { return dst, true }},
	}})}
)

func show(callers []usage.Caller) string {
	var all []string
	for _, c := range callers {
		all = append(all, fmt.Sprintf("%s %s %s %d/%d %d-%d", c.Agent, c.Item, c.Access, c.Count, c.Over, c.First.Unix(), c.Last.Unix()))
	}
	return strings.Join(all, "; ")
}

func TestCallers(t *testing.T) {
	var c usage.Callers
	leaf := len(tree.Tree.Nodes()) - 1
	c.Note([]byte("curl/8"), leaf, dialect.TokenFree, dialect.Served, here, 100)
	c.Note([]byte("curl/8"), leaf, dialect.TokenFree, dialect.Served, here, 200)
	c.Note([]byte("curl/8"), leaf, dialect.Tokened, dialect.Served, here, 300)
	c.Note([]byte("curl/8"), leaf, dialect.TokenFree, dialect.NoToken, here, 400)
	c.Note([]byte("curl/8"), item.Nowhere, dialect.TokenFree, dialect.Absent, here, 500)
	c.Note(nil, leaf, dialect.TokenFree, dialect.Served, here, 600)
	for _, o := range []dialect.Outcome{dialect.Minted, dialect.BadToken, dialect.Throttled, dialect.Malformed} {
		c.Note([]byte("not counted"), leaf, dialect.NoAccess, o, here, 700)
	}
	want := "curl/8 a/b tokenFree 2/0 100-200; curl/8 a/b rejected 1/0 400-400; curl/8 (none) tokenFree 1/0 500-500; " +
		" a/b tokenFree 1/0 600-600; curl/8 a/b tokened 1/0 300-300"
	if got := show(c.Drain(tree)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := c.Drain(tree); len(got) != 0 {
		t.Errorf("drained twice: %s", show(got))
	}
}

// However many agents there are, the frequent one is kept, memory is bounded,
// and nothing that was counted is lost.
func TestCallersBounded(t *testing.T) {
	var c usage.Callers
	leaf := len(tree.Tree.Nodes()) - 1
	for i := range 1000 {
		c.Note(fmt.Appendf(nil, "rare/%d", i), leaf, dialect.TokenFree, dialect.Served, here, int64(i))
		c.Note([]byte("frequent"), leaf, dialect.TokenFree, dialect.Served, here, int64(i))
	}
	got := c.Drain(tree)
	if len(got) != 8 {
		t.Fatalf("%d callers are kept", len(got))
	}
	var sum uint64
	found := false
	for _, g := range got {
		sum += g.Count
		if g.Agent == "frequent" {
			found = true
			if g.Count-g.Over > 1000 || g.Count < 1000 {
				t.Errorf("1000 requests are counted as %d, of which %d may be others'", g.Count, g.Over)
			}
		}
	}
	if !found || sum != 2000 {
		t.Errorf("2000 requests are counted as %d; frequent one kept: %v", sum, found)
	}
}

// What a tenant sends cannot break a line of a log or a table, nor fill memory.
func TestAgentIsTame(t *testing.T) {
	var c usage.Callers
	c.Note([]byte("a\x1b[31m\n"+strings.Repeat("é", 500)), item.Nowhere, dialect.TokenFree, dialect.Served, here, 1)
	got := c.Drain(tree)[0].Agent
	if len(got) > 160 || strings.ContainsFunc(got, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
		t.Errorf("%q", got)
	}
}

// A caller that is known costs no memory.
func TestCallersAllocs(t *testing.T) {
	var c usage.Callers
	agent := []byte("curl/8")
	c.Note(agent, item.Nowhere, dialect.TokenFree, dialect.Served, here, 1)
	if n := testing.AllocsPerRun(100, func() { c.Note(agent, item.Nowhere, dialect.TokenFree, dialect.Served, here, 2) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
