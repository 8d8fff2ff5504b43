package main

import (
	"sync"
	"time"

	"openimds/internal/control"
	"openimds/internal/state"
	"openimds/internal/usage/history"
)

// Bounds of what is remembered of instances that have just gone: their last
// reports come soon, and note whose they were.
const (
	goneFor  = time.Hour
	mostGone = 100_000
)

// owners tells whose instances are, for the history: those of the state, and
// those that have just left it.
type owners struct {
	db *state.DB

	mu   sync.Mutex // guards gone and order
	gone map[string]departed
	// order has their ids, the oldest first.
	order []string
}

type departed struct {
	history.Owner
	at time.Time
}

// watch remembers instances that leave the state.
func (o *owners) watch(c state.Change) {
	if len(c.Gone) == 0 {
		return
	}
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, in := range c.Gone {
		o.gone[in.Spec.ID] = departed{ownerOf(in), now}
		o.order = append(o.order, in.Spec.ID)
	}
	for len(o.order) > mostGone || len(o.order) > 0 && now.Sub(o.gone[o.order[0]].at) > goneFor {
		delete(o.gone, o.order[0])
		o.order = o.order[1:]
	}
}

func ownerOf(in *state.Instance) history.Owner {
	return history.Owner{Dialect: in.Spec.Dialect, Account: in.Spec.Account, Region: in.Spec.Region}
}

// of tells whose an instance is, or was until now.
func (o *owners) of(id string) (history.Owner, bool) {
	if in, ok := o.db.Instances.Get(id); ok {
		return ownerOf(in), true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	d, ok := o.gone[id]
	return d.Owner, ok
}

// noteOwners makes the history know whose the instances are that it is told of.
func (b *usageBook) noteOwners(db *state.DB) {
	o := &owners{db: db, gone: map[string]departed{}}
	b.owners.Store(o)
	db.OnChange(o.watch)
	b.Kept().SetOwner(o.of)
}

// departed tells whose an instance was that is gone.
func (b *usageBook) departed(id string) (control.Owner, bool) {
	if b.Ledger == nil {
		return control.Owner{}, false
	}
	// Of one that has just gone, the last report may not have come.
	if recent := b.owners.Load(); recent != nil {
		if o, known := recent.of(id); known {
			return control.Owner(o), true
		}
	}
	o, known, err := b.Kept().Owner(id)
	if err != nil {
		b.log.Error("it is not known whose an instance was", "instance", id, "err", err)
	}
	return control.Owner(o), known
}
