package usage

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"openimds/internal/dialect"
)

// Caller is one way in which an instance asked: a program as far as its user
// agent tells, an item, with or without a token.
type Caller struct {
	// Agent is the User-Agent header, shortened, with everything that is not printable ASCII replaced; empty: there was none.
	Agent string `json:"agent"`
	// Item is the template of the item's path, never the path that was asked for.
	Item string `json:"item"`
	// Access is how it asked: `tokenFree`, `rejected` (without a token, which is required) or `tokened`.
	Access string `json:"access"`
	// Source is the address it asked from last.
	Source netip.Addr `json:"source"`
	// Count of its requests, since it is known.
	Count uint64 `json:"count"`
	// Over is how many of them may have been another's: the table is small.
	Over uint64 `json:"over,omitempty"`
	// First is when it asked first.
	First time.Time `json:"first"`
	// Last is when it asked last.
	Last time.Time `json:"last"`
}

// Ways of asking, as Caller.Access has them.
const (
	AskedTokenFree = "tokenFree"
	AskedRejected  = "rejected"
	AskedTokened   = "tokened"
)

// Bounds of what is kept of callers.
const (
	callersKept = 8   // of each of the two tables of an instance
	maxAgent    = 160 // bytes of a user agent
)

// Callers are the callers of one instance since they were last drained: those
// without a token and those with one in tables of their own, so that neither
// drives out the other. The tables are small, and when one is full, the caller
// with the fewest requests makes room and leaves its count as the newcomer's
// possible error (Metwally et al., "Efficient Computation of Frequent and Top-k
// Elements in Data Streams", 2005). The zero value is ready.
type Callers struct {
	mu   sync.Mutex // guards what follows
	free []caller
	with []caller
}

type caller struct {
	agent       []byte
	item        int
	access      string
	source      netip.Addr
	count, over uint64
	first, last int64
}

// Note counts a request at now, in Unix seconds, of the item with a node id. It
// keeps nothing of agent.
func (c *Callers) Note(agent []byte, item int, access dialect.Access, outcome dialect.Outcome, source netip.Addr, now int64) {
	how, table := AskedTokenFree, &c.free
	switch {
	case outcome == dialect.NoToken:
		how = AskedRejected
	case outcome != dialect.Served && outcome != dialect.Absent:
		return
	case access == dialect.Tokened:
		how, table = AskedTokened, &c.with
	case access != dialect.TokenFree:
		return
	}
	if len(agent) > maxAgent {
		agent = agent[:maxAgent]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	least := -1
	for i := range *table {
		e := &(*table)[i]
		if e.item == item && e.access == how && string(e.agent) == string(agent) {
			e.count++
			e.source, e.last = source, now
			return
		}
		if least < 0 || e.count < (*table)[least].count {
			least = i
		}
	}
	if len(*table) < callersKept {
		*table = append(*table, caller{agent: append([]byte(nil), agent...), item: item, access: how, source: source, count: 1, first: now, last: now})
		return
	}
	e := &(*table)[least]
	*e = caller{agent: append(e.agent[:0], agent...), item: item, access: how, source: source, count: e.count + 1, over: e.count, first: now, last: now}
}

// Drain returns the callers and forgets them. The templates of items are those
// of a dialect.
func (c *Callers) Drain(d *dialect.Dialect) []Caller {
	c.mu.Lock()
	all := slices.Concat(c.free, c.with)
	c.free, c.with = nil, nil
	c.mu.Unlock()
	callers := make([]Caller, len(all))
	for i, e := range all {
		callers[i] = Caller{
			Agent: printable(e.agent), Item: d.Tree.Nodes()[e.item].Template, Access: e.access, Source: e.source,
			Count: e.count, Over: e.over, First: unix(e.first), Last: unix(e.last),
		}
	}
	return callers
}

// printable replaces what is not printable ASCII.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, string(b))
}
