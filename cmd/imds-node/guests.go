package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"openimds/internal/feed"
	"openimds/internal/identify"
	"openimds/internal/instance"
	"openimds/internal/node"
	"openimds/internal/token"
)

// guests puts what the feed brings in force on the data plane. Its methods are
// safe for concurrent use, but for apply, which one goroutine calls.
type guests struct {
	node *node.Node
	log  *slog.Logger

	mu   sync.Mutex                    // guards what follows
	keys map[string]*token.Keys        // by instance
	now  map[string]*instance.Instance // what the feed says
	held map[string]bool               // instances of now that are not served
}

func newGuests(log *slog.Logger) *guests {
	return &guests{log: log, keys: map[string]*token.Keys{}, now: map[string]*instance.Instance{}, held: map[string]bool{}}
}

// keysOf returns the token keys of an instance. Before the feed brings some,
// there are none in it.
func (g *guests) keysOf(id string) *token.Keys {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.keysLocked(id)
}

func (g *guests) keysLocked(id string) *token.Keys {
	k := g.keys[id]
	if k == nil {
		k = token.NewLeasedKeys(id)
		g.keys[id] = k
	}
	return k
}

// find returns an instance as the feed last sent it.
func (g *guests) find(id string) (*instance.Instance, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	in, ok := g.now[id]
	return in, ok
}

// heldBack returns how many instances are not served although they should be.
func (g *guests) heldBack() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.held)
}

// apply puts a batch in force.
func (g *guests) apply(b *feed.Batch) error {
	put, all := g.take(b)
	if !b.All && g.heldBack() == 0 {
		err := g.node.Update(put, b.Removed)
		if _, clash := errors.AsType[*identify.Clash](err); !clash {
			g.forget()
			return err
		}
	}
	err := g.serve(all)
	g.forget()
	return err
}

// take notes what a batch says. Keys are there before the instance can be
// found.
func (g *guests) take(b *feed.Batch) (put []*instance.Instance, all map[string]*instance.Instance) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b.All {
		g.now = map[string]*instance.Instance{}
	}
	for _, id := range b.Removed {
		delete(g.now, id)
	}
	for i := range b.Put {
		in := b.Put[i].Instance
		put = append(put, in)
		g.now[in.ID] = in
		g.keysLocked(in.ID).Set(b.Put[i].Keys)
	}
	for _, k := range b.Keys {
		if g.now[k.ID] != nil {
			g.keysLocked(k.ID).Set(k.Keys)
		}
	}
	return put, maps.Clone(g.now)
}

// serve makes the data plane serve all instances but those that contradict each
// other: of two that claim one address nobody can tell whose it is, so neither
// is served.
func (g *guests) serve(all map[string]*instance.Instance) error {
	held := map[string]bool{}
	defer func() {
		g.mu.Lock()
		g.held = held
		g.mu.Unlock()
	}()
	for {
		err := g.node.Set(slices.Collect(maps.Values(all)))
		clash, ok := errors.AsType[*identify.Clash](err)
		if !ok {
			if err != nil {
				return fmt.Errorf("serve what the control plane sent: %w", err)
			}
			return nil
		}
		g.log.Error("two instances contradict each other; neither is served until one of them is changed", "instances", clash.IDs, "err", err)
		for _, id := range clash.IDs {
			delete(all, id)
			held[id] = true
		}
	}
}

// forget drops the keys of instances that are gone.
func (g *guests) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.keys, func(id string, _ *token.Keys) bool { return g.now[id] == nil })
}
