package feed

import (
	"maps"
	"slices"

	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/token"
)

// Mirror is what a node has got from its feed: frames go in, and with each
// commit a batch comes out. It is for one goroutine.
type Mirror struct {
	store    string
	node     string
	forms    map[string][]string
	revision uint64
	guests   map[string]Guest

	greeted bool
	whole   bool             // the frames that follow replace everything
	put     map[string]Guest // not committed yet
	keys    map[string]token.Lease
	removed map[string]struct{}
}

// Batch is what a commit puts in force.
type Batch struct {
	Revision uint64
	// All: Put is everything there is, and nothing else is.
	All     bool
	Put     []Guest
	Removed []string
	// Keys are new token keys of guests that stay as they are.
	Keys []Keys
}

// Empty reports whether the batch changes nothing.
func (b *Batch) Empty() bool {
	return !b.All && len(b.Put)+len(b.Removed)+len(b.Keys) == 0
}

// Begin makes ready for a new stream: what was not committed is forgotten.
func (m *Mirror) Begin() { m.greeted = false }

// forget makes the next stream begin with everything. What is in force stays.
func (m *Mirror) forget() { m.store, m.greeted = "", false }

// Add takes the next frame. With a commit it returns what is in force from now
// on. An error means that the stream is of no use from here on: what was
// committed before stays good.
func (m *Mirror) Add(f Frame) (*Batch, error) {
	if f.Hello == nil && !m.greeted {
		return nil, fault.New(fault.Invalid, "the feed does not begin with a hello")
	}
	switch {
	case f.Hello != nil:
		return nil, m.hello(f.Hello)
	case f.Put != nil:
		if err := m.check(f.Put); err != nil {
			return nil, err
		}
		id := f.Put.Instance.ID
		m.put[id] = *f.Put
		delete(m.keys, id)
		delete(m.removed, id)
	case f.Keys != nil:
		if err := f.Keys.Keys.Check(); err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "token keys of instance %q", f.Keys.ID)
		}
		if g, ok := m.put[f.Keys.ID]; ok {
			g.Keys = f.Keys.Keys
			m.put[f.Keys.ID] = g
		} else if _, ok := m.guests[f.Keys.ID]; ok && !m.whole {
			m.keys[f.Keys.ID] = f.Keys.Keys
		}
	case f.Remove != "":
		delete(m.put, f.Remove)
		delete(m.keys, f.Remove)
		m.removed[f.Remove] = struct{}{}
	case f.Commit != 0:
		return m.commit(f.Commit), nil
	}
	return nil, nil
}

func (m *Mirror) hello(h *Hello) error {
	if h.Version != Version {
		return fault.New(fault.Unsupported, "the feed is of version %d, this node reads version %d: use programs of one release", h.Version, Version)
	}
	if !h.Snapshot && h.Store != m.store {
		return fault.New(fault.Invalid, "the feed goes on from a store that this node has nothing of")
	}
	if !h.Snapshot && h.Node != m.node {
		return fault.New(fault.Invalid, "the feed goes on for node %q, and what is here is of %q", h.Node, m.node)
	}
	m.greeted, m.whole = true, h.Snapshot
	m.store, m.node, m.forms = h.Store, h.Node, h.Forms
	m.put, m.keys, m.removed = map[string]Guest{}, map[string]token.Lease{}, map[string]struct{}{}
	return nil
}

// check refuses a guest that a node could not serve: what one node must not
// serve, no node should have been sent.
func (m *Mirror) check(g *Guest) error {
	if g.Instance == nil {
		return fault.New(fault.Invalid, "the feed has a guest without an instance")
	}
	if problems := instance.Validate(g.Instance); len(problems) > 0 {
		return fault.New(fault.Invalid, "the feed has instance %q, whose %s is wrong: %s", g.Instance.ID, problems[0].Path, problems[0].Msg)
	}
	if g.Instance.Node != m.node {
		return fault.New(fault.Invalid, "the feed has instance %q of node %q, and this is %q", g.Instance.ID, g.Instance.Node, m.node)
	}
	if err := g.Keys.Check(); err != nil {
		return fault.Wrap(fault.Invalid, err, "token keys of instance %q", g.Instance.ID)
	}
	return nil
}

func (m *Mirror) commit(revision uint64) *Batch {
	b := &Batch{Revision: revision, All: m.whole}
	if m.whole {
		m.guests = map[string]Guest{}
	}
	for id := range m.removed {
		if _, ok := m.guests[id]; ok {
			b.Removed = append(b.Removed, id)
			delete(m.guests, id)
		}
	}
	for id, g := range m.put {
		m.guests[id] = g
		b.Put = append(b.Put, g)
	}
	for id, k := range m.keys {
		g := m.guests[id]
		g.Keys = k
		m.guests[id] = g
		b.Keys = append(b.Keys, Keys{id, k})
	}
	m.revision, m.whole = revision, false
	clear(m.put)
	clear(m.keys)
	clear(m.removed)
	return b
}

// Everything returns what is in force, as the batch that would bring it about.
func (m *Mirror) Everything() *Batch {
	return &Batch{Revision: m.revision, All: true, Put: slices.Collect(maps.Values(m.guests))}
}

// Position returns what a stream that goes on from here begins with: the store,
// the revision, and the first epoch of the token keys. Before the first commit
// the store is empty.
func (m *Mirror) Position() (store string, revision uint64, epoch int64) {
	if m.revision == 0 || m.store == "" {
		return "", 0, 0
	}
	for _, g := range m.guests {
		epoch = g.Keys.First
		break
	}
	return m.store, m.revision, epoch
}

// Len returns how many guests are in force.
func (m *Mirror) Len() int { return len(m.guests) }
