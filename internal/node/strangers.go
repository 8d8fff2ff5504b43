package node

import (
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"openimds/internal/netenv"
	"openimds/internal/wire"
)

// strangers counts callers that no instance owns, and logs each address once a
// minute.
type strangers struct {
	log   *slog.Logger
	count atomic.Uint64
	conns atomic.Int32

	mu     sync.Mutex // guards the rest
	minute int64
	seen   map[stranger]struct{}
}

// Bounds of what strangers may cost.
const (
	strangerConns = 256  // connections that all strangers hold together
	strangerLogs  = 1000 // addresses logged in a minute
)

// note counts a request of an unknown caller.
func (s *strangers) note(now time.Time, e *endpoint, c *wire.Conn) {
	caller := stranger{address: c.Peer.Addr()}
	if e.port != nil {
		caller.place = e.port.place
	}
	s.count.Add(1)
	s.mu.Lock()
	minute := now.Unix() / 60
	if minute != s.minute {
		s.minute, s.seen = minute, map[stranger]struct{}{}
	}
	_, known := s.seen[caller]
	tell := !known && len(s.seen) < strangerLogs
	if tell {
		s.seen[caller] = struct{}{}
	}
	s.mu.Unlock()
	switch {
	case !tell:
	case e.port != nil:
		s.log.Warn("caller refused: no running instance that is attached to this interface has this address",
			"dialect", e.Name, "source", caller.address, "place", caller.place.String(), "listener", c.Local)
	default:
		s.log.Warn("unknown caller refused: no running instance has this address in the listener's network",
			"dialect", e.Name, "source", caller.address, "listener", c.Local)
	}
}

// stranger is an address, as it is seen on an interface of the host or
// elsewhere.
type stranger struct {
	address netip.Addr
	place   netenv.Place
}
