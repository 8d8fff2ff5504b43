package node

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"openimds/internal/fault"
	"openimds/internal/identify"
	"openimds/internal/proxy"
	"openimds/internal/wire"
)

// forwarders are who may connect to a listener for others.
type forwarders struct {
	*proxy.Verifier
	node    *Node
	network string // the only one they may speak for; empty: any
	minute  atomic.Int64
}

// forwarded makes e a listener for forwarders, where l has a key for them.
func (n *Node) forwarded(l Listener, e *endpoint) error {
	if l.ProxyKeyFile != "" {
		text, err := os.ReadFile(l.ProxyKeyFile)
		if err != nil {
			return fmt.Errorf("read the key of forwarders: %w", err)
		}
		if l.ProxyKey, err = hex.DecodeString(strings.TrimSpace(string(text))); err != nil {
			return fault.New(fault.Invalid, "the key of forwarders in %s is not of hexadecimal digits: make one with openssl rand -hex 32", l.ProxyKeyFile)
		}
	}
	if l.ProxyKey == nil {
		return nil
	}
	if l.Interface != "" {
		return fault.New(fault.Invalid, "a listener for forwarders is not on an interface of instances: %s", l.Address)
	}
	v, err := proxy.NewVerifier(l.ProxyKey, n.cfg.Now)
	if err != nil {
		return fault.New(fault.Invalid, "listen on %s for forwarders: %v", l.Address, err)
	}
	e.proxied = &forwarders{Verifier: v, node: n, network: l.Network}
	return nil
}

// Preface reads who is calling from the forwarder's header.
func (e *endpoint) Preface(c *wire.Conn, b []byte) (int, error) {
	f := e.proxied
	if f == nil {
		return 0, nil
	}
	h, size, err := f.Read(b, proxy.Ends{Forwarder: c.Peer, Server: c.Local})
	if err == nil && size == 0 {
		return -1, nil
	}
	if err == nil && f.network != "" && h.Network != "" && h.Network != f.network {
		err = fault.New(fault.Denied, "the forwarder speaks for network %q, and the listener is for %s alone", h.Network, f.network)
	}
	if err != nil {
		f.refuse(c, err)
		return 0, err
	}
	network := f.network
	if network == "" {
		network = h.Network
	}
	if network == "" {
		network = DefaultNetwork
	}
	f.node.mu.Lock()
	callers, ok := f.node.caller.Lookup(identify.Scope{Dialect: e.Name, Network: network})
	f.node.mu.Unlock()
	if ok {
		c.Origin = callers
	}
	// The forwarder's own address is of no interest any more, and the one that
	// its client called counts for what depends on the family.
	c.Peer, c.Local = h.Client, h.Destination
	return size, nil
}

// refuse counts a forwarder that is none, and tells of one a minute.
func (f *forwarders) refuse(c *wire.Conn, err error) {
	f.node.badForwards.Add(1)
	minute := f.node.cfg.Now().Unix() / 60
	if f.minute.Swap(minute) != minute {
		f.node.log.Warn("a connection of a forwarder was refused; others in this minute are only counted", "from", c.Peer, "listener", c.Local, "err", err)
	}
}
