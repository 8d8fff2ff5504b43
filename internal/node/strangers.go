package node

import (
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// strangers counts callers that no instance owns, and logs each address once a
// minute.
type strangers struct {
	log   *slog.Logger
	count atomic.Uint64
	conns atomic.Int32

	mu     sync.Mutex // guards the rest
	minute int64
	seen   map[netip.Addr]struct{}
}

// Bounds of what strangers may cost.
const (
	strangerConns = 256  // connections that all strangers hold together
	strangerLogs  = 1000 // addresses logged in a minute
)

// note counts a request of an unknown caller.
func (s *strangers) note(now time.Time, dialect string, peer, local netip.AddrPort) {
	s.count.Add(1)
	s.mu.Lock()
	minute := now.Unix() / 60
	if minute != s.minute {
		s.minute, s.seen = minute, map[netip.Addr]struct{}{}
	}
	_, known := s.seen[peer.Addr()]
	tell := !known && len(s.seen) < strangerLogs
	if tell {
		s.seen[peer.Addr()] = struct{}{}
	}
	s.mu.Unlock()
	if tell {
		s.log.Warn("unknown caller refused: no running instance has this address in the listener's network",
			"dialect", dialect, "source", peer.Addr(), "listener", local)
	}
}
