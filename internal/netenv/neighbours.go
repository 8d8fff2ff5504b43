package netenv

import (
	"net/netip"
	"sync"
	"time"
)

// Neighbours asks the kernel for the hardware addresses of who calls over an
// interface, and remembers them for a moment. Its methods are safe for
// concurrent use.
type Neighbours struct {
	ask func(netip.Addr) (string, bool)
	end func()
	now func() time.Time

	mu    sync.Mutex // guards known
	known map[netip.Addr]neighbour
}

type neighbour struct {
	mac   string
	until time.Time
}

// Bounds of what is remembered.
const (
	neighbourTime = 5 * time.Second
	neighbourMost = 1024
)

// Find returns the hardware address of a neighbour, in lower case with colons.
// It is false for one that the kernel does not know.
func (n *Neighbours) Find(a netip.Addr) (mac string, ok bool) {
	a = a.Unmap().WithZone("")
	now := n.now()
	n.mu.Lock()
	k, known := n.known[a]
	n.mu.Unlock()
	if known && now.Before(k.until) {
		return k.mac, true
	}
	if mac, ok = n.ask(a); !ok {
		return "", false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.known) >= neighbourMost {
		clear(n.known) // a guest has few addresses; many are an attack
	}
	n.known[a] = neighbour{mac, now.Add(neighbourTime)}
	return mac, true
}

// Close ends the questions.
func (n *Neighbours) Close() { n.end() }
