package usage

import (
	"sync/atomic"

	"openimds/internal/dialect"
)

// Totals counts the requests of one dialect, by item, access mode and outcome.
type Totals struct {
	dialect *dialect.Dialect
	cells   []atomic.Uint64
}

const perItem = int(dialect.Accesses) * int(dialect.Outcomes)

// NewTotals returns counters for every item of d.
func NewTotals(d *dialect.Dialect) *Totals {
	return &Totals{d, make([]atomic.Uint64, len(d.Tree.Nodes())*perItem)}
}

// Count adds one request for the item with the given node id.
func (t *Totals) Count(node int, access dialect.Access, outcome dialect.Outcome) {
	t.cells[node*perItem+int(access)*int(dialect.Outcomes)+int(outcome)].Add(1)
}

// Total is one non-zero counter.
type Total struct {
	Dialect string
	// Item is the template of the item's path, never the path that was asked for.
	Item    string
	Access  dialect.Access
	Outcome dialect.Outcome
	Count   uint64
}

// Each calls yield for every counter that is not zero.
func (t *Totals) Each(yield func(Total)) {
	for i := range t.cells {
		count := t.cells[i].Load()
		if count == 0 {
			continue
		}
		rest := i % perItem
		yield(Total{
			Dialect: t.dialect.Name,
			Item:    t.dialect.Tree.Nodes()[i/perItem].Template,
			Access:  dialect.Access(rest / int(dialect.Outcomes)),
			Outcome: dialect.Outcome(rest % int(dialect.Outcomes)),
			Count:   count,
		})
	}
}
