package node

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"openimds/internal/identify"
	"openimds/internal/wire"
)

// Listener says where to listen, and for whom.
type Listener struct {
	// Dialect is ecs or ec2.
	Dialect string
	// Network is the network whose instances call here; default by default.
	Network string
	// Address is an IP address and port to listen on.
	Address string
}

// DefaultNetwork is the network of instances and listeners that name none.
const DefaultNetwork = "default"

// endpoint is an open listener.
type endpoint struct {
	*service
	callers *identify.Table[*guest]
	hosts   map[string]struct{} // lower case
	loop    bool
	net.Listener
}

// Endpoint is a listener that is open and not yet served.
type Endpoint struct{ e *endpoint }

// Addr returns the address the endpoint listens on.
func (e *Endpoint) Addr() net.Addr { return e.e.Addr() }

// Close stops listening.
func (e *Endpoint) Close() error { return e.e.Close() }

// Listen opens a listener. From now on clients can connect; they are answered
// once Serve runs.
func (n *Node) Listen(ctx context.Context, l Listener) (*Endpoint, error) {
	svc, err := n.service(l.Dialect)
	if err != nil {
		return nil, err
	}
	if l.Network == "" {
		l.Network = DefaultNetwork
	}
	ln, err := wire.Listen(ctx, "tcp", l.Address)
	if err != nil {
		return nil, err
	}
	e := &endpoint{service: svc, hosts: map[string]struct{}{}, loop: n.cfg.Loopback, Listener: ln}
	for _, a := range svc.Addresses {
		e.hosts[a.String()] = struct{}{}
	}
	for _, h := range n.cfg.Hosts {
		e.hosts[strings.ToLower(strings.Trim(h, "[]"))] = struct{}{}
	}
	if own, err := netip.ParseAddrPort(ln.Addr().String()); err == nil && !own.Addr().IsUnspecified() {
		e.hosts[own.Addr().Unmap().String()] = struct{}{}
	}
	n.mu.Lock()
	e.callers = n.caller.Table(identify.Scope{Dialect: l.Dialect, Network: l.Network})
	n.mu.Unlock()
	return &Endpoint{e}, nil
}

// Serve answers on an endpoint until Shutdown. It returns nil then.
func (n *Node) Serve(e *Endpoint) error { return n.server.Serve(e.e.Listener, e.e) }

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
