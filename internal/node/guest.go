package node

import (
	"sync/atomic"
	"time"

	"openimds/internal/dialect"
	"openimds/internal/instance"
	"openimds/internal/item"
	"openimds/internal/throttle"
	"openimds/internal/token"
	"openimds/internal/usage"
)

// guest is what the node keeps of an instance while its snapshots come and go.
type guest struct {
	id      string
	snap    atomic.Pointer[snapshot] // never nil once the guest can be found
	keys    *token.Keys
	limiter throttle.Limiter
	usage   usage.Counters
	callers usage.Callers
	conns   atomic.Int32
	fault   atomic.Pointer[Fault]
	notary  *notary          // nil: documents are not signed
	creds   item.Credentials // nil: there are none but those of the snapshot
}

// ID implements identify.Target.
func (g *guest) ID() string { return g.id }

// newGuest returns the guest of an instance, without a snapshot.
func (n *Node) newGuest(id string) *guest {
	g := &guest{id: id, keys: n.cfg.Keys(id)}
	if n.cfg.Credentials != nil {
		g.creds = n.cfg.Credentials(id)
	}
	if n.cfg.Signer != nil {
		g.notary = &notary{signer: n.cfg.Signer, policy: n.cfg.Signing, log: n.log, now: n.cfg.Now}
	}
	return g
}

// snapshot is an instance as it is answered until the next change. It is
// immutable.
type snapshot struct {
	in       *instance.Instance
	hopLimit int
	required bool
	disabled bool
	noIPv6   bool
	modified [len(httpDate)]byte
}

func newSnapshot(in *instance.Instance, d *dialect.Dialect, now time.Time) *snapshot {
	s := &snapshot{
		in:       in,
		hopLimit: in.Metadata.HTTPPutResponseHopLimit,
		required: in.Metadata.TokensRequired(),
		disabled: in.Metadata.EndpointDisabled(),
		noIPv6:   d.IPv6OptIn && in.Metadata.HTTPProtocolIPv6 != instance.Enabled,
	}
	if s.hopLimit == 0 {
		s.hopLimit = d.DefaultHopLimit
	}
	now.UTC().AppendFormat(s.modified[:0], httpDate)
	return s
}

// Fault is what a test wants the node to do to an instance's requests.
type Fault struct {
	// PathPrefix limits the fault to canonical paths, without their leading slash, that start with it.
	PathPrefix string
	// Delay holds the answer back.
	Delay time.Duration
	// Status, if not 0, is answered instead.
	Status int
	// Throttle answers as if the instance were too fast.
	Throttle bool
	// Reset resets the connection instead of answering.
	Reset bool
	// Times is how many requests are hit; 0: until the fault is taken away.
	Times int

	hits atomic.Int64
}

// hit reports whether a request for path is to suffer.
func (f *Fault) hit(path []byte) bool {
	if len(path) < len(f.PathPrefix) || string(path[:len(f.PathPrefix)]) != f.PathPrefix {
		return false
	}
	return f.Times == 0 || f.hits.Add(1) <= int64(f.Times)
}
