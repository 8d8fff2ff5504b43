// Package hub is the control plane's side of feeds: it follows the state, knows
// which node serves which instance, and sends each node what concerns it, and
// nothing of the others.
package hub

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"openimds/internal/feed"
	"openimds/internal/instance"
	"openimds/internal/state"
	"openimds/internal/token"
	"openimds/internal/usage/series"
)

// Config is what a Hub is made of. DB and Lease are required.
type Config struct {
	DB *state.DB
	// Lease derives the token keys of an instance; First is that of Epoch.
	Lease func(instance string) (token.Lease, error)
	// Epoch is the first epoch of the token keys that Lease derives now.
	Epoch func() int64
	// Credentials, where set, returns those of an instance's role that are to be given out now, by delivery.
	Credentials func(in *instance.Instance, delivery string) (*instance.Credentials, error)
	// Signer, where set, signs identity documents, and Document makes that of an instance as it is now, without an audience.
	Signer   Signer
	Document func(in *instance.Instance) []byte
	// Usage, where set, takes what a node has counted; when it returns nil, it is kept.
	Usage func(ctx context.Context, node string, report series.Report) error
	// History is how many changes are remembered for each node, so that it can go on where it was; 4096 by default.
	History int
	// Heartbeat is how often a stream says something in any case; 10 s by default.
	Heartbeat time.Duration
	Logger    *slog.Logger
}

// Hub sends feeds. Its methods are safe for concurrent use.
type Hub struct {
	cfg Config

	mu       sync.Mutex // guards what follows, and all lanes
	revision uint64
	assigned map[string]string // instance to node, of instances that have one
	lanes    map[string]*lane  // by node
	leases   uint64            // grows when token keys change
	drops    []state.SessionChange
	dropped  uint64 // how many were forgotten that came before drops
	closed   bool
}

// lane is what the hub knows of one node.
type lane struct {
	guests  map[string]*state.Instance
	history []change // in order; those after floor, all of them
	floor   uint64   // what was before is forgotten
	moved   chan struct{}
	streams int
	since   time.Time
}

// change is what one commit did to one guest of a node.
type change struct {
	revision uint64
	id       string
	record   *state.Instance // nil: no longer a guest of this node
}

// New returns a hub that follows the state.
func New(cfg Config) *Hub {
	if cfg.History <= 0 {
		cfg.History = 4096
	}
	if cfg.Heartbeat <= 0 {
		cfg.Heartbeat = 10 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Hub{cfg: cfg, assigned: map[string]string{}, lanes: map[string]*lane{}}
	cfg.DB.OnChange(h.follow)
	cfg.DB.OnSessions(h.void)
	return h
}

// follow takes a change of the state.
func (h *Hub) follow(c state.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.revision = c.Revision
	if c.All {
		h.reload(c.Revision)
		return
	}
	touched := map[*lane]bool{}
	for _, in := range c.Put {
		touched[h.assign(in.Spec.ID, in)] = true
	}
	for _, id := range c.Removed {
		touched[h.assign(id, nil)] = true
	}
	delete(touched, nil)
	for l := range touched {
		l.trim(h.cfg.History)
		l.wake()
	}
}

// assign gives an instance to the node that its record names, and takes it from
// another. It returns the lane of the new node, or of the old one if there is
// no new one; nil if there is neither.
func (h *Hub) assign(id string, in *state.Instance) *lane {
	var l *lane
	old, next := h.assigned[id], ""
	if in != nil {
		next = in.Spec.Node
	}
	if old != "" && old != next {
		l = h.lane(old)
		delete(l.guests, id)
		delete(h.assigned, id)
		l.history = append(l.history, change{h.revision, id, nil})
		l.trim(h.cfg.History)
		l.wake()
	}
	if next != "" {
		l = h.lane(next)
		l.guests[id] = in
		h.assigned[id] = next
		l.history = append(l.history, change{h.revision, id, in})
	}
	return l
}

// reload takes the whole state anew. What streams have sent is void.
func (h *Hub) reload(revision uint64) {
	clear(h.assigned)
	for _, l := range h.lanes {
		l.guests, l.history, l.floor = map[string]*state.Instance{}, nil, revision
	}
	for _, in := range h.cfg.DB.Instances.All(func(in *state.Instance) bool { return in.Spec.Node != "" }) {
		h.lane(in.Spec.Node).guests[in.Spec.ID] = in
		h.assigned[in.Spec.ID] = in.Spec.Node
	}
	for _, l := range h.lanes {
		l.wake()
	}
}

// lane returns the lane of a node. A new one has no history.
func (h *Hub) lane(node string) *lane {
	l := h.lanes[node]
	if l == nil {
		l = &lane{guests: map[string]*state.Instance{}, floor: h.revision, moved: make(chan struct{})}
		h.lanes[node] = l
	}
	return l
}

// trim forgets the oldest changes beyond a number, a revision as a whole.
func (l *lane) trim(keep int) {
	if len(l.history) <= keep {
		return
	}
	l.floor = l.history[len(l.history)-keep-1].revision
	first := slices.IndexFunc(l.history, func(c change) bool { return c.revision > l.floor })
	if first < 0 {
		first = len(l.history)
	}
	l.history = slices.Clone(l.history[first:])
}

// wake lets the lane's streams look.
func (l *lane) wake() {
	close(l.moved)
	l.moved = make(chan struct{})
}

// Rotate sends the token keys of every guest again: they have changed.
func (h *Hub) Rotate() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leases++
	for _, l := range h.lanes {
		l.wake()
	}
}

// Close ends all streams; the nodes go on by themselves.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, l := range h.lanes {
		l.wake()
	}
}

// Node is a node that follows, or that instances are assigned to.
type Node struct {
	// Name of the node.
	Name string `json:"name"`
	// Connected is how many streams it has open.
	Connected int `json:"connected"`
	// Since is when the newest was opened.
	Since time.Time `json:"since,omitzero"`
	// Instances is how many instances are assigned to it.
	Instances int `json:"instances"`
}

// Nodes returns all nodes, by name.
func (h *Hub) Nodes() []Node {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]Node, 0, len(h.lanes))
	for name, l := range h.lanes {
		all = append(all, Node{Name: name, Connected: l.streams, Since: l.since, Instances: len(l.guests)})
	}
	slices.SortFunc(all, func(a, b Node) int { return cmpNames(a.Name, b.Name) })
	return all
}

// step is what a stream sends next.
type step struct {
	revision uint64
	snapshot bool
	put      []*state.Instance
	removed  []string
	leases   uint64
	keys     []string // guests whose keys go out again
	drop     *feed.Drop
	drops    uint64 // up to which drop says what is void
	moved    <-chan struct{}
	closed   bool
}

// next returns what a node that shows a revision has to be sent.
func (h *Hub) next(node string, at position) step {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.lane(node)
	s := step{revision: h.revision, snapshot: at.snapshot || at.have < l.floor || at.have > h.revision, leases: h.leases, moved: l.moved, closed: h.closed}
	s.drop, s.drops = h.voided(l, at.drops), h.dropped+uint64(len(h.drops))
	if s.snapshot {
		for _, in := range l.guests {
			s.put = append(s.put, in)
		}
		return s
	}
	last := map[string]*state.Instance{}
	for _, c := range l.history {
		if c.revision > at.have {
			last[c.id] = c.record
		}
	}
	for id, in := range last {
		if in == nil {
			s.removed = append(s.removed, id)
		} else {
			s.put = append(s.put, in)
		}
	}
	if at.leases != h.leases {
		for id := range l.guests {
			if _, put := last[id]; !put {
				s.keys = append(s.keys, id)
			}
		}
	}
	return s
}

// frames calls yield for the frames of a step.
func (h *Hub) frames(s *step, yield func(feed.Frame) error) error {
	if s.drop != nil {
		if err := yield(feed.Frame{Drop: s.drop}); err != nil {
			return err
		}
	}
	for _, in := range s.put {
		lease, err := h.cfg.Lease(in.Spec.ID)
		if err != nil {
			return err
		}
		if err := yield(feed.Frame{Put: &feed.Guest{Instance: &in.Spec, Keys: lease}}); err != nil {
			return err
		}
	}
	for _, id := range s.keys {
		lease, err := h.cfg.Lease(id)
		if err != nil {
			return err
		}
		if err := yield(feed.Frame{Keys: &feed.Keys{ID: id, Keys: lease}}); err != nil {
			return err
		}
	}
	for _, id := range s.removed {
		if err := yield(feed.Frame{Remove: id}); err != nil {
			return err
		}
	}
	return yield(feed.Frame{Commit: s.revision})
}
