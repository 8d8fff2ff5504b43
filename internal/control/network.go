package control

import (
	"cmp"
	"net/netip"
	"slices"

	"openimds/internal/instance"
	"openimds/internal/state"
)

// defaultNetwork is that of instances which name none.
const defaultNetwork = "default"

// serialize puts a change in order with all others that name the same thing,
// whichever process makes them: of two at once, one is tried again and sees
// what the other did. It must come before the change looks at the mirror.
func (c *Control) serialize(tx *state.Tx, what ...string) error {
	key := state.Key(what...)
	s, ok, err := state.Load(tx, c.db.Serials, key)
	if err != nil {
		return err
	}
	if !ok {
		s = &state.Serial{}
	}
	s.Count++
	return state.Save(tx, c.db.Serials, key, s)
}

// serializeAddresses puts a change in order with all others that take addresses
// where the instances have theirs.
func (c *Control) serializeAddresses(tx *state.Tx, of ...*instance.Instance) error {
	done := map[string]bool{}
	for _, in := range of {
		network := cmp.Or(in.Network, defaultNetwork)
		if key := state.Key(in.Dialect, network); !done[key] {
			done[key] = true
			if err := c.serialize(tx, "addresses", in.Dialect, network); err != nil {
				return err
			}
		}
	}
	return nil
}

// addresses are what is taken in a network while one change is made: what
// instances hold, and beside that what network interfaces hold that no instance
// has, and what the change itself takes and frees.
type addresses struct {
	held     state.Held
	freed    map[netip.Addr]bool
	taken    map[netip.Addr]string // and by which interface
	prefixes []netip.Prefix        // delegated to interfaces
}

// addresses returns what is taken in a network. Whoever takes more of it does
// so within the same change: that no two take the same is a condition of the
// commit.
func (c *Control) addresses(tx *state.Tx, dialect, network string) (*addresses, error) {
	network = cmp.Or(network, defaultNetwork)
	if err := c.serialize(tx, "addresses", dialect, network); err != nil {
		return nil, err
	}
	a := &addresses{held: c.db.Held(dialect, network), freed: map[netip.Addr]bool{}, taken: map[netip.Addr]string{}}
	// Whether one is free is another question to the state, not to be asked
	// while the state is read.
	for _, r := range c.db.Interfaces.All(func(r *state.Interface) bool {
		return r.Dialect == dialect && cmp.Or(r.Network, defaultNetwork) == network
	}) {
		if c.isFree(r) {
			a.hold(r.Spec.ID, &r.Spec)
		}
	}
	return a, nil
}

// hold takes everything that an interface has.
func (a *addresses) hold(holder string, f *instance.Interface) {
	for _, list := range [][]netip.Addr{f.IPv4, f.IPv6} {
		for _, address := range list {
			a.taken[address] = holder
		}
	}
	for _, p := range f.Public {
		a.taken[p.Address] = holder
	}
	a.prefixes = slices.Concat(a.prefixes, f.IPv4Prefixes, f.IPv6Prefixes)
}

func (a *addresses) isTaken(address netip.Addr) bool {
	return a.taken[address] != "" || a.held.Has(address) && !a.freed[address] || a.held.Covers(address) ||
		slices.ContainsFunc(a.prefixes, func(p netip.Prefix) bool { return p.Contains(address) })
}

// free gives back an address that an instance has, or an interface.
func (a *addresses) free(address netip.Addr) {
	delete(a.taken, address)
	a.freed[address] = true
}

// take takes one address.
func (a *addresses) take(address netip.Addr, holder string) error {
	if a.isTaken(address) {
		return refuse(AddressInUse, address.String())
	}
	a.taken[address] = holder
	return nil
}

// pick takes the first address of a block that is free, after the first few,
// which a cloud keeps for itself.
func (a *addresses) pick(from netip.Prefix, reserved int, holder string) (netip.Addr, error) {
	address := from.Masked().Addr()
	for range reserved {
		address = address.Next()
	}
	last := lastAddress(from)
	if len(a.freed) == 0 {
		address = a.held.Free(from, address)
	}
	for ; from.Contains(address); address = address.Next() {
		if address == last && address.Is4() && from.Bits() < 31 {
			break // the broadcast address
		}
		if !a.isTaken(address) {
			a.taken[address] = holder
			return address, nil
		}
	}
	return netip.Addr{}, refuse(NoAddressLeft, from.String())
}

// takePrefix delegates one block.
func (a *addresses) takePrefix(p netip.Prefix) error {
	if a.overlaps(p) {
		return refuse(AddressInUse, p.String())
	}
	a.prefixes = append(a.prefixes, p)
	return nil
}

func (a *addresses) overlaps(p netip.Prefix) bool {
	if slices.ContainsFunc(a.prefixes, p.Overlaps) {
		return true
	}
	for address := range a.taken {
		if p.Contains(address) {
			return true
		}
	}
	return a.held.Overlaps(p, func(address netip.Addr) bool { return a.freed[address] })
}

// mostBlocks bounds the search for a free block.
const mostBlocks = 4096

// pickPrefix delegates the first free block of a size, after the first, where
// the addresses are that a cloud keeps for itself.
func (a *addresses) pickPrefix(from netip.Prefix, bits int) (netip.Prefix, error) {
	next := netip.PrefixFrom(from.Masked().Addr(), bits)
	for range mostBlocks {
		end := lastAddress(next)
		after := end.Next()
		if !after.IsValid() || !from.Contains(after) {
			break
		}
		next = netip.PrefixFrom(after, bits)
		if !a.overlaps(next) {
			a.prefixes = append(a.prefixes, next)
			return next, nil
		}
	}
	return netip.Prefix{}, refuse(NoAddressLeft, from.String())
}

// lastAddress returns the last address of a block.
func lastAddress(p netip.Prefix) netip.Addr {
	raw := p.Masked().Addr().AsSlice()
	for i := range raw {
		if free := 8*(i+1) - p.Bits(); free > 0 {
			raw[i] |= byte(1<<min(free, 8) - 1)
		}
	}
	last, _ := netip.AddrFromSlice(raw) // it has the length of an address
	return last
}
