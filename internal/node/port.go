package node

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"openimds/internal/fault"
	"openimds/internal/identify"
	"openimds/internal/netenv"
	"openimds/internal/wire"
)

// port is an interface of the host that listeners are open on.
type port struct {
	place   netenv.Place
	network string // empty: no listener names one
	users   int    // open listeners; guarded by Node.mu

	spoofed atomic.Uint64
	last    atomic.Int64 // Unix seconds of the last one
}

// claim takes an interface for a listener. One that names another network than
// the listeners that are there is a fault.Conflict: which of two networks an
// address belongs to could not be told.
func (n *Node) claim(l Listener) (*port, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := l.place()
	p := n.ports[at]
	switch {
	case p == nil:
		p = &port{place: at, network: l.Network}
		n.ports[at] = p
	case p.network != "" && l.Network != "" && p.network != l.Network:
		return nil, fault.New(fault.Conflict, "%s: networks %s and %s both claim it: an interface belongs to one network", at, p.network, l.Network)
	default:
		p.network = cmp.Or(p.network, l.Network)
	}
	p.users++
	return p, nil
}

// find returns who calls.
func (e *endpoint) find(c *wire.Conn) (*guest, bool) {
	callers := e.callers
	if e.proxied != nil {
		if callers, _ = c.Origin.(*identify.Table[*guest]); callers == nil {
			return nil, false
		}
	}
	g, ok := callers.Find(c.Peer.Addr())
	if ok && e.network != "" && g.snap.Load().in.Network != e.network {
		return nil, false
	}
	return g, ok
}

// impostor is the Caller of a connection whose hardware address is not that of
// the instance it pretends to be.
type impostor struct{}

// genuine reports whether the neighbour that calls has the hardware address of
// g's interface there. What the neighbour table has is where the handshake's
// answers went, so a caller that never saw them cannot have come so far.
func (e *endpoint) genuine(g *guest, c *wire.Conn) bool {
	if e.macs == nil {
		return true
	}
	mac, ok := e.macs.Find(c.Peer.Addr())
	if !ok {
		return false
	}
	in := g.snap.Load().in
	for i := range in.Interfaces {
		f := &in.Interfaces[i]
		at := netenv.Place{Namespace: f.Attachment.Namespace, Interface: f.Attachment.Interface}
		if f.MAC == mac && at.Clean() == e.port.place {
			return true
		}
	}
	return false
}

// spoof counts a request that came over an interface from an address that
// nobody there has.
func (n *Node) spoof(e *endpoint, now time.Time) {
	if e.port != nil {
		n.spoofed.Add(1)
		e.port.spoofed.Add(1)
		e.port.last.Store(now.Unix())
	}
}

// InterfaceReport is what was seen on an interface of the host that a listener
// is open on.
type InterfaceReport struct {
	// Namespace is the interface's network namespace; absent: that of the service.
	Namespace string `json:"namespace,omitempty"`
	// Interface is its name.
	Interface string `json:"interface"`
	// Spoofed counts requests from addresses that no instance attached there has. They were refused.
	Spoofed uint64 `json:"spoofed"`
	// LastSpoofed is when the last one came; absent if none did.
	LastSpoofed time.Time `json:"lastSpoofed,omitzero"`
}

// Interfaces reports on every interface of the host that a listener is open
// on, in order.
func (n *Node) Interfaces() []InterfaceReport {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]InterfaceReport, 0, len(n.ports))
	for at, p := range n.ports {
		r := InterfaceReport{Namespace: at.Namespace, Interface: at.Interface, Spoofed: p.spoofed.Load()}
		if last := p.last.Load(); last != 0 {
			r.LastSpoofed = time.Unix(last, 0).UTC()
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b InterfaceReport) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Interface, b.Interface))
	})
	return all
}
