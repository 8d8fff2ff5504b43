// Package identify finds the instance behind a connection from facts of the
// packet, never from what a request says. It refuses ambiguity when the
// instances are set, so that a look-up has at most one answer.
package identify

import (
	"net/netip"
	"sync/atomic"

	"openimds/internal/fault"
)

// Scope is where addresses are unique, as one dialect serves it: a network, or
// an interface of the host.
type Scope struct {
	Dialect, Network string
	// Interface is the host's interface, and Namespace the namespace it is in.
	// With an Interface there is no Network.
	Interface, Namespace string
}

// String is for people.
func (s Scope) String() string {
	where := "in network " + s.Network
	if s.Interface != "" {
		where = "on interface " + s.Interface
	}
	if s.Namespace != "" {
		where += " of namespace " + s.Namespace
	}
	return where + " of dialect " + s.Dialect
}

// Claim says that T, whose identifier is ID, calls from Address.
type Claim[T any] struct {
	Scope   Scope
	Address netip.Addr
	ID      string
	// Network is the claimant's, where the Scope is an interface.
	Network string
	Target  T
}

// Table holds the callers of one scope. Look-ups take no lock.
type Table[T any] struct {
	byAddress atomic.Pointer[map[netip.Addr]T]
}

// Find returns the caller with the given address. An IPv4-mapped address is
// that of its IPv4 caller, so that no family has a door of its own (SEC-66).
func (t *Table[T]) Find(a netip.Addr) (T, bool) {
	m := t.byAddress.Load()
	if m == nil {
		var none T
		return none, false
	}
	target, ok := (*m)[a.Unmap().WithZone("")]
	return target, ok
}

// Len returns how many addresses the table holds.
func (t *Table[T]) Len() int {
	if m := t.byAddress.Load(); m != nil {
		return len(*m)
	}
	return 0
}

// Directory holds the tables of all scopes. Its methods but Table's look-ups
// are for one goroutine at a time.
type Directory[T any] struct {
	tables map[Scope]*Table[T]
}

// Table returns the table of a scope. It stays the same for the life of the
// directory; what it holds changes with Plan.Apply.
func (d *Directory[T]) Table(s Scope) *Table[T] {
	t := d.tables[s]
	if t == nil {
		t = &Table[T]{}
		if d.tables == nil {
			d.tables = map[Scope]*Table[T]{}
		}
		d.tables[s] = t
	}
	return t
}

// Lookup returns the table of a scope if there is one.
func (d *Directory[T]) Lookup(s Scope) (*Table[T], bool) {
	t, ok := d.tables[s]
	return t, ok
}

// Plan is a set of claims that contradict each other nowhere.
type Plan[T any] struct {
	d    *Directory[T]
	next map[Scope]map[netip.Addr]T
}

// Clash is the fault.Conflict of two claims that contradict each other.
type Clash struct {
	// IDs of the two.
	IDs   [2]string
	fault *fault.Error
}

// Error says what they contradict each other in.
func (c *Clash) Error() string { return c.fault.Error() }

// Unwrap returns the fault.
func (c *Clash) Unwrap() error { return c.fault }

func clash(a, b, format string, args ...any) *Clash {
	return &Clash{[2]string{a, b}, fault.New(fault.Conflict, format, args...)}
}

// Plan checks claims that are to replace the present ones. Two targets with
// one address in one scope are a Clash, and so are
// two networks on one interface.
func (d *Directory[T]) Plan(claims []Claim[T]) (*Plan[T], error) {
	p := &Plan[T]{d, map[Scope]map[netip.Addr]T{}}
	type place struct {
		Scope
		netip.Addr
	}
	type host struct{ Interface, Namespace string }
	holders := make(map[place]string, len(claims))
	owners := map[host]Claim[T]{}
	for _, c := range claims {
		if c.Scope.Interface != "" {
			at := host{c.Scope.Interface, c.Scope.Namespace}
			if other, taken := owners[at]; taken && other.Network != c.Network {
				return nil, clash(other.ID, c.ID, "interface %s: %s of network %s and %s of network %s both claim it, and an interface belongs to one network",
					at.Interface, other.ID, other.Network, c.ID, c.Network)
			}
			owners[at] = c
		}
		a := c.Address.Unmap().WithZone("")
		at := place{c.Scope, a}
		if other, taken := holders[at]; taken && other != c.ID {
			return nil, clash(other, c.ID, "%s and %s both call from %s %s: give one of them another address or network",
				other, c.ID, a, c.Scope)
		}
		holders[at] = c.ID
		m := p.next[c.Scope]
		if m == nil {
			m = map[netip.Addr]T{}
			p.next[c.Scope] = m
		}
		m[a] = c.Target
	}
	return p, nil
}

// Apply puts the plan's claims in force, each table in one step.
func (p *Plan[T]) Apply() {
	for s := range p.next {
		p.d.Table(s)
	}
	for s, t := range p.d.tables {
		m := p.next[s]
		t.byAddress.Store(&m)
	}
}
