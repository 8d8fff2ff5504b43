// Package node is the data plane: it listens, finds the instance behind a
// request, decides in the order that docs/spec/security.md fixes, and answers
// in the dialect of the listener. Instances are set as a whole; a request sees
// either the old or the new ones.
package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"openimds/internal/dialect"
	"openimds/internal/dialect/ec2"
	"openimds/internal/dialect/ecs"
	"openimds/internal/fault"
	"openimds/internal/identify"
	"openimds/internal/instance"
	"openimds/internal/item"
	"openimds/internal/netenv"
	"openimds/internal/throttle"
	"openimds/internal/token"
	"openimds/internal/usage"
	"openimds/internal/wire"
)

// Dialects returns every dialect there is. A new one is one line here.
func Dialects() []*dialect.Dialect {
	return []*dialect.Dialect{ecs.New(), ec2.New()}
}

// Config is what a Node is made of. Only Ring, or Keys, is required.
type Config struct {
	// Ring holds the keys of session tokens. Its owner advances it.
	Ring *token.Ring
	// Keys, where set, finds the token keys of an instance in place of Ring.
	Keys func(id string) *token.Keys
	// Logger receives what an operator should know; never secrets, never what a tenant sent unescaped.
	Logger *slog.Logger
	// Now is the clock; time.Now by default.
	Now func() time.Time
	// Random is the source of nonces; crypto/rand by default.
	Random io.Reader
	// Throttle limits the requests of each instance.
	Throttle throttle.Policy
	// Credentials, where set, finds what holds the credentials of an instance's role. Without it there are none but those that instances were given by hand.
	Credentials func(id string) item.Credentials
	// Signer signs identity documents. Nil: there are no signatures.
	Signer Signer
	// Signing limits how often an instance may have a document signed anew; DefaultSigning by default.
	Signing throttle.Policy
	// Hosts are names and addresses, besides the dialect's and the listener's own, that clients may send as Host.
	Hosts []string
	// Attacher puts addresses on interfaces for listeners that ask for it. Nil: none may.
	Attacher *netenv.Attacher
	// Open opens a listening socket, or takes one over that is open already; with netenv.Listen by default.
	Open func(ctx context.Context, at netenv.Spec) (net.Listener, error)
	// Loopback also accepts localhost and every loopback address as Host, for development.
	Loopback bool
	// StrictForwarding refuses a token request that carries any header that proxies add (SEC-07).
	StrictForwarding bool
	// ForwardedReads overrides, by dialect, whether a read with a token and X-Forwarded-For is allowed (SEC-08).
	ForwardedReads map[string]bool
	// ConnectionsPerInstance is how many connections one instance may hold open; 256 by default.
	ConnectionsPerInstance int
	// Connections is how many connections may be open in total; 16,384 by default.
	Connections int
	// HeaderTimeout is how long a request's head may take, at most 5 s, which is the default.
	HeaderTimeout time.Duration
	// Rejected is told of an instance whose request without a token was refused because tokens are required, when it is counted. It must not block.
	Rejected func(instance string)
	// IdleTimeout is how long a kept-alive connection may be idle; 60 s by default.
	IdleTimeout time.Duration
}

// DefaultConnectionsPerInstance is the default of Config.ConnectionsPerInstance.
const DefaultConnectionsPerInstance = 256

// Node is a data plane. Its methods are safe for concurrent use.
type Node struct {
	cfg       Config
	log       *slog.Logger
	services  []*service
	server    *wire.Server
	strangers strangers
	overShare atomic.Uint64 // connections refused because their instance holds its share
	clock     clock
	gate      gate // of what Follow does

	suspects    atomic.Uint64 // tokens that did not arrive
	badForwards atomic.Uint64 // connections of forwarders that could not prove what they said
	spoofed     atomic.Uint64 // requests over an interface from addresses that nobody there has

	mu     sync.Mutex // guards what follows: of caller the writing side
	guests map[string]*guest
	// departed is what instances did that are no longer there, until it is
	// harvested.
	departed []Activity
	caller   identify.Directory[*guest]
	ports    map[netenv.Place]*port
	hosts    map[string]map[string]struct{} // see hostsOf
}

// service is a dialect as this node offers it.
type service struct {
	*dialect.Dialect
	totals        *usage.Totals
	forwardedRead int // status; 0: allowed
}

// New returns a node that serves nobody yet.
func New(cfg Config) *Node {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Keys == nil {
		cfg.Keys = func(id string) *token.Keys { return token.NewKeys(cfg.Ring, id) }
	}
	if cfg.Open == nil {
		cfg.Open = func(ctx context.Context, at netenv.Spec) (net.Listener, error) {
			return netenv.Listen(ctx, at, wire.Listen)
		}
	}
	if cfg.ConnectionsPerInstance <= 0 {
		cfg.ConnectionsPerInstance = DefaultConnectionsPerInstance
	}
	if cfg.Signing == (throttle.Policy{}) {
		cfg.Signing = DefaultSigning
	}
	n := &Node{cfg: cfg, log: cfg.Logger, guests: map[string]*guest{}, ports: map[netenv.Place]*port{}, hosts: map[string]map[string]struct{}{}}
	n.strangers.log = cfg.Logger
	for _, d := range Dialects() {
		s := &service{Dialect: d, totals: usage.NewTotals(d), forwardedRead: d.Refusals.ForwardedRead}
		if allowed, set := cfg.ForwardedReads[d.Name]; set {
			s.forwardedRead = 0
			if !allowed {
				s.forwardedRead = 403
			}
		}
		n.services = append(n.services, s)
	}
	n.server = wire.NewServer(wire.Config{
		Handler: pipeline{n}, Logger: cfg.Logger, HeaderTimeout: cfg.HeaderTimeout, IdleTimeout: cfg.IdleTimeout, MaxConns: cfg.Connections,
	})
	return n
}

func (n *Node) service(name string) (*service, error) {
	var names []string
	for _, s := range n.services {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return nil, fault.New(fault.Invalid, "unknown dialect %q: use one of %s", name, strings.Join(names, ", "))
}

// Set replaces the instances that the node serves, in one step. They must be
// normalized and valid, and must not be changed afterwards. Two instances with
// one address in one network are a fault.Conflict; nothing is changed then.
// Counters and limits of an instance live on as long as its identifier does.
func (n *Node) Set(instances []*instance.Instance) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.set(instances)
}

// Update is Set for a few: put replaces or adds instances, removed takes some
// away by identifier. What it costs does not grow with the number of
// instances.
func (n *Node) Update(put []*instance.Instance, removed []string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := make(map[string]*instance.Instance, len(put)+len(removed))
	for _, in := range put {
		next[in.ID] = in
	}
	for _, id := range removed {
		next[id] = nil
	}
	changed := make(map[*guest]*snapshot, len(next)) // nil: it is no longer served
	var gone, come []identify.Claim[*guest]
	now := n.cfg.Now()
	for id, in := range next {
		g := n.guests[id]
		var was *instance.Instance
		if g != nil {
			was = g.snap.Load().in
		}
		if in == nil {
			if g != nil {
				gone, changed[g] = appendClaims(gone, was, g), nil
			}
			continue
		}
		svc, err := n.service(in.Dialect)
		if err != nil {
			return fmt.Errorf("instance %s: %w", id, err)
		}
		if g == nil {
			g = n.newGuest(id)
		}
		changed[g] = newSnapshot(in, svc.Dialect, now)
		if was == nil || !sameCaller(was, in) {
			if was != nil {
				gone = appendClaims(gone, was, g)
			}
			come = appendClaims(come, in, g)
		}
	}
	plan, err := n.caller.Change(gone, come)
	if err != nil {
		return err
	}
	// A new guest has its snapshot before it can be found.
	for g, snap := range changed {
		if snap != nil {
			g.snap.Store(snap)
		}
	}
	plan.Apply()
	for g, snap := range changed {
		if snap != nil {
			n.guests[g.id] = g
			continue
		}
		n.depart(n.activity(g.id, g))
		delete(n.guests, g.id)
	}
	return nil
}

// sameCaller reports whether two snapshots of an instance are found in the
// same way.
func sameCaller(a, b *instance.Instance) bool {
	return a.Dialect == b.Dialect && a.Network == b.Network && a.State == b.State && slices.Equal(a.Addresses(), b.Addresses()) && sameAttachments(a, b)
}

// set is Set with the lock held.
func (n *Node) set(instances []*instance.Instance) error {
	next := make(map[string]*guest, len(instances))
	var claims []identify.Claim[*guest]
	fresh := map[*guest]*snapshot{}
	now := n.cfg.Now()
	for _, in := range instances {
		svc, err := n.service(in.Dialect)
		if err != nil {
			return fmt.Errorf("instance %s: %w", in.ID, err)
		}
		if next[in.ID] != nil {
			return fault.New(fault.Conflict, "two instances have the id %s", in.ID)
		}
		g := n.guests[in.ID]
		if g == nil {
			g = n.newGuest(in.ID)
		}
		next[in.ID] = g
		if old := g.snap.Load(); old == nil || !reflect.DeepEqual(old.in, in) {
			fresh[g] = newSnapshot(in, svc.Dialect, now)
		}
		claims = appendClaims(claims, in, g)
	}
	plan, err := n.caller.Plan(claims)
	if err != nil {
		return err
	}
	// A new guest has its snapshot before it can be found.
	for g, snap := range fresh {
		g.snap.Store(snap)
	}
	plan.Apply()
	for id, g := range n.guests {
		if next[id] != g {
			n.depart(n.activity(id, g))
		}
	}
	n.guests = next
	return nil
}

// Usage reports the usage of one instance. An unknown one is fault.NotFound.
func (n *Node) Usage(id string) (usage.Report, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	g := n.guests[id]
	if g == nil {
		return usage.Report{}, fault.New(fault.NotFound, "no instance has the id %q", id)
	}
	return g.usage.Report(id, g.snap.Load().in.Dialect), nil
}

// Usages reports the usage of all instances, by identifier.
func (n *Node) Usages() []usage.Report {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]usage.Report, 0, len(n.guests))
	for id, g := range n.guests {
		all = append(all, g.usage.Report(id, g.snap.Load().in.Dialect))
	}
	slices.SortFunc(all, func(a, b usage.Report) int { return strings.Compare(a.Instance, b.Instance) })
	return all
}

// Totals calls yield for every request counter that is not zero.
func (n *Node) Totals(yield func(usage.Total)) {
	for _, s := range n.services {
		s.totals.Each(yield)
	}
}

// Inject makes the node answer the requests of one instance with a fault;
// nil ends it. An unknown instance is fault.NotFound.
func (n *Node) Inject(id string, f *Fault) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	g := n.guests[id]
	if g == nil {
		return fault.New(fault.NotFound, "no instance has the id %q", id)
	}
	g.fault.Store(f)
	return nil
}
