// Package identify finds the instance behind a connection from facts of the
// packet, never from what a request says. It refuses ambiguity when the
// instances are set, so that a look-up has at most one answer.
package identify

import (
	"net/netip"

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

// Target is what callers are found as. Two that are equal are one, and have one
// identifier.
type Target interface {
	comparable
	ID() string
}

// Claim says that Target calls from Address.
type Claim[T Target] struct {
	Scope   Scope
	Address netip.Addr
	// Network is the claimant's, where the Scope is an interface.
	Network string
	Target  T
}

// Directory holds the tables of all scopes. Its methods are for one goroutine
// at a time; the look-ups of its tables are not.
type Directory[T Target] struct {
	tables map[Scope]*Table[T]
	owners map[host]owner
}

// host is an interface of the host, whichever dialects are served there.
type host struct{ Interface, Namespace string }

// owner is the network that a host's interface belongs to, and how many
// addresses there have a caller. Without one there is no owner.
type owner struct {
	network string
	callers int
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
