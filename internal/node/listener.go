package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	"openimds/internal/fault"
	"openimds/internal/identify"
	"openimds/internal/netenv"
)

// Listener says where to listen, and for whom.
//
// One on an interface answers the instances whose interfaces are attached
// there, each from its own addresses alone. Every other answers the instances
// of a network, each from its addresses.
type Listener struct {
	// Dialect is ecs or ec2.
	Dialect string
	// Network is the network whose instances call here. Default: that of the
	// interface's instances; or the one called like the namespace; or default.
	Network string
	// Address is an IP address and port to listen on.
	Address string
	// Namespace is the network namespace to listen in: a name below
	// /run/netns, or a path. Default: that of the process. For Follow it may
	// be a pattern.
	Namespace string
	// Interface is the host's interface to listen on. For Follow it may be a
	// pattern.
	Interface string
	// Attach puts the address on the interface while listening there.
	Attach bool
	// CheckMAC refuses callers whose hardware address, as the kernel's
	// neighbour table has it, is not that of their interface.
	CheckMAC bool
	// ProxyKey, where set, makes the listener one for forwarders that hold it:
	// each connection begins with a header of package proxy, which tells for
	// whom it is. Such a listener is not on an Interface.
	ProxyKey []byte
	// ProxyKeyFile holds that key in hexadecimal digits.
	ProxyKeyFile string
	// MinTTL, if not 0, ignores callers whose packets have a lower TTL or hop
	// limit: 64 keeps out who is a hop further, as far as nobody forges it.
	MinTTL int
}

// Follows reports whether l is for Follow: what it names may come and go, or be
// more than one. Others are for Listen.
func (l Listener) Follows() bool {
	return !netenv.Rule{Namespace: l.Namespace, Interface: l.Interface}.Static()
}

// check refuses what no place can mend.
func (l Listener) check() error {
	switch {
	case l.CheckMAC && l.Interface == "":
		return fault.New(fault.Invalid, "a listener can check hardware addresses on an interface alone: name one for %s", l.Address)
	case l.Attach && l.Interface == "":
		return fault.New(fault.Invalid, "a listener can put its address on an interface alone: name one for %s", l.Address)
	}
	return nil
}

// DefaultNetwork is the network of instances and listeners that name none.
const DefaultNetwork = "default"

// place is where l listens, in its one spelling.
func (l Listener) place() netenv.Place {
	return netenv.Place{Namespace: l.Namespace, Interface: l.Interface}.Clean()
}

// scope is whom l answers.
func (l Listener) scope() identify.Scope {
	p := l.place()
	switch {
	case l.Interface != "":
		return scopeOf(l.Dialect, p)
	case l.Network != "":
		return identify.Scope{Dialect: l.Dialect, Network: l.Network}
	case l.Namespace != "":
		return identify.Scope{Dialect: l.Dialect, Network: filepath.Base(p.Namespace)}
	}
	return identify.Scope{Dialect: l.Dialect, Network: DefaultNetwork}
}

func scopeOf(dialect string, p netenv.Place) identify.Scope {
	return identify.Scope{Dialect: dialect, Namespace: p.Namespace, Interface: p.Interface}
}

// endpoint is an open listener.
type endpoint struct {
	*service
	callers *identify.Table[*guest]
	network string              // on an interface: the only one that is answered; empty: any
	port    *port               // nil: not on an interface
	macs    *netenv.Neighbours  // nil: hardware addresses are not looked at
	hosts   map[string]struct{} // lower case; shared
	proxied *forwarders         // nil: callers come by themselves
	loop    bool
	net.Listener
}

// Endpoint is a listener that is open and not yet served.
type Endpoint struct {
	node *Node
	e    *endpoint
}

// Addr returns the address the endpoint listens on.
func (e *Endpoint) Addr() net.Addr { return e.e.Addr() }

// Close stops listening.
func (e *Endpoint) Close() error {
	err := e.e.Close()
	e.node.release(e.e)
	return err
}

// Listen opens a listener. From now on clients can connect; they are answered
// once Serve runs. Two networks on one interface are a fault.Conflict; for
// other errors see netenv.Listen.
func (n *Node) Listen(ctx context.Context, l Listener) (*Endpoint, error) {
	svc, err := n.service(l.Dialect)
	if err != nil {
		return nil, err
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	e := &endpoint{service: svc, loop: n.cfg.Loopback}
	if l.Interface != "" {
		e.network = l.Network
		if e.port, err = n.claim(l); err != nil {
			return nil, err
		}
	}
	if err := n.listen(ctx, l, e); err != nil {
		n.release(e)
		return nil, err
	}
	return &Endpoint{n, e}, nil
}

func (n *Node) listen(ctx context.Context, l Listener, e *endpoint) error {
	spec := netenv.Spec{Place: l.place(), Address: l.Address, MinTTL: l.MinTTL}
	if l.CheckMAC {
		macs, err := netenv.OpenNeighbours(spec.Place)
		if err != nil {
			return err
		}
		e.macs = macs
	}
	if err := n.forwarded(l, e); err != nil {
		return err
	}
	ln, err := n.cfg.Open(ctx, spec)
	if err != nil {
		return err
	}
	e.Listener = ln
	n.mu.Lock()
	defer n.mu.Unlock()
	e.hosts = n.hostsOf(e)
	e.callers = n.caller.Table(l.scope())
	return nil
}

// hostsOf returns what clients of e may send as Host. Thousands of listeners
// have one address, and share it. The lock is held.
func (n *Node) hostsOf(e *endpoint) map[string]struct{} {
	own, err := netip.ParseAddrPort(e.Listener.Addr().String())
	a := own.Addr().Unmap()
	key := e.Name + " " + a.String()
	if hosts := n.hosts[key]; hosts != nil {
		return hosts
	}
	hosts := map[string]struct{}{}
	for _, a := range e.Addresses {
		hosts[a.String()] = struct{}{}
	}
	for _, h := range n.cfg.Hosts {
		hosts[strings.ToLower(strings.Trim(h, "[]"))] = struct{}{}
	}
	if err == nil && !a.IsUnspecified() {
		hosts[a.String()] = struct{}{}
	}
	n.hosts[key] = hosts
	return hosts
}

// release gives back what e holds but its Listener.
func (n *Node) release(e *endpoint) {
	if e.macs != nil {
		e.macs.Close()
	}
	if e.port != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		if e.port.users--; e.port.users == 0 {
			delete(n.ports, e.port.place)
		}
	}
}

// Serve answers on an endpoint until Shutdown, and returns nil then; or until
// it is closed, and returns an error that is net.ErrClosed.
func (n *Node) Serve(e *Endpoint) error {
	if err := n.server.Serve(e.e.Listener, e.e); err != nil {
		return fmt.Errorf("serve %s: %w", e.Addr(), err)
	}
	return nil
}

// Shutdown stops listening and lets running answers end. It returns ctx's
// error when they did not within its time.
func (n *Node) Shutdown(ctx context.Context) error { return n.server.Shutdown(ctx) }

// owns reports whether host, which is in lower case, is one of the endpoint's
// own (SEC-46).
func (e *endpoint) owns(host []byte) bool {
	if _, ok := e.hosts[string(host)]; ok {
		return true
	}
	// What follows is rare: development, or another spelling of an address.
	if e.loop && string(host) == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(string(host))
	if err != nil || a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	if _, ok := e.hosts[a.String()]; ok {
		return true
	}
	return e.loop && a.IsLoopback()
}
