package state

import (
	"cmp"
	"net/netip"
	"sync"
)

// Held are the addresses that instances hold in one network, of which none has
// ended: what they call from, what their network interfaces have, and the
// blocks that are delegated to these. The mirror keeps them current.
type Held struct {
	all *holdings
	at  network
}

// network is where addresses are unique.
type network struct{ dialect, name string }

// Held returns the addresses that are held in a network of a dialect.
func (db *DB) Held(dialect, name string) Held {
	h := &db.held
	h.mu.Lock()
	built := h.of != nil
	h.mu.Unlock()
	if !built {
		// The mirror does not move while it is read, and tells h next.
		db.mu.RLock()
		defer db.mu.RUnlock()
		h.build(db.Instances)
	}
	return Held{h, network{dialect, cmp.Or(name, "default")}}
}

// Has reports whether an instance has an address.
func (h Held) Has(a netip.Addr) bool {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	return h.all.of[h.at].has(a)
}

// Covers reports whether an address is in a block that is delegated to an
// instance.
func (h Held) Covers(a netip.Addr) bool {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	return h.all.of[h.at].covers(a)
}

// Overlaps reports whether an instance has an address, or part, of a block,
// other than those that skip is true for. What it costs grows with the number
// of addresses.
func (h Held) Overlaps(p netip.Prefix, skip func(netip.Addr) bool) bool {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	one := h.all.of[h.at]
	if one == nil {
		return false
	}
	for other := range one.blocks {
		if other.Overlaps(p) {
			return true
		}
	}
	for a := range one.addresses {
		if p.Contains(a) && !skip(a) {
			return true
		}
	}
	return false
}

// Free returns the first address of a block, at or after from, that no instance
// has. It may be outside the block, and then there is none. Asked again, it
// goes on where it stopped.
func (h Held) Free(block netip.Prefix, from netip.Addr) netip.Addr {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	one := h.all.of[h.at]
	if one == nil {
		return from
	}
	return one.free(search{block, from})
}

// holdings are the addresses that are held, of all networks. They are counted
// when somebody asks for the first time.
type holdings struct {
	mu sync.Mutex // guards all of it; taken after DB.mu
	of map[network]*holding
}

// holding is what is held in a network, and how often.
type holding struct {
	addresses map[netip.Addr]int
	blocks    map[netip.Prefix]int
	lengths   [2][129]int // of blocks, by family
	searched  map[search]netip.Addr
}

// search is where a free address is looked for: there is none before the one
// that was found last.
type search struct {
	block netip.Prefix
	from  netip.Addr
}

// build counts all instances. DB.mu is held.
func (h *holdings) build(t *Table[Instance]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of != nil {
		return
	}
	h.of = map[network]*holding{}
	for _, r := range t.rows {
		h.count(r.record, 1)
	}
}

// clear begins anew, before all instances are put again. The lock is held.
func (h *holdings) clear() {
	if h.of != nil {
		h.of = map[network]*holding{}
	}
}

// replace follows a change of an instance; nil is none. Both locks are held.
func (h *holdings) replace(old, next *Instance) {
	if h.of != nil {
		h.count(old, -1)
		h.count(next, 1)
	}
}

// count adds an instance, or takes it away. The lock is held.
func (h *holdings) count(in *Instance, by int) {
	if in == nil || in.Spec.State == "terminated" {
		return
	}
	at := network{in.Spec.Dialect, cmp.Or(in.Spec.Network, "default")}
	one := h.of[at]
	if one == nil {
		one = &holding{addresses: map[netip.Addr]int{}, blocks: map[netip.Prefix]int{}, searched: map[search]netip.Addr{}}
		h.of[at] = one
	}
	for _, a := range in.Spec.Sources {
		one.address(a, by)
	}
	for i := range in.Spec.Interfaces {
		f := &in.Spec.Interfaces[i]
		for _, list := range [][]netip.Addr{f.IPv4, f.IPv6} {
			for _, a := range list {
				one.address(a, by)
			}
		}
		for _, p := range f.Public {
			one.address(p.Address, by)
		}
		for _, list := range [][]netip.Prefix{f.IPv4Prefixes, f.IPv6Prefixes} {
			for _, p := range list {
				one.block(p, by)
			}
		}
	}
}

func (o *holding) address(a netip.Addr, by int) {
	n := o.addresses[a] + by
	if n > 0 {
		o.addresses[a] = n
		return
	}
	delete(o.addresses, a)
	for s, at := range o.searched {
		if s.block.Contains(a) && a.Less(at) && !a.Less(s.from) {
			o.searched[s] = a
		}
	}
}

func (o *holding) block(p netip.Prefix, by int) {
	if !p.IsValid() {
		return
	}
	p = p.Masked()
	n := o.blocks[p] + by
	o.lengths[family(p.Addr())][p.Bits()] += by
	if n > 0 {
		o.blocks[p] = n
	} else {
		delete(o.blocks, p)
	}
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

func (o *holding) has(a netip.Addr) bool { return o != nil && o.addresses[a] > 0 }

func (o *holding) covers(a netip.Addr) bool {
	if o == nil {
		return false
	}
	for bits, n := range o.lengths[family(a)][:a.BitLen()+1] {
		if n == 0 {
			continue
		}
		if p, err := a.Prefix(bits); err == nil && o.blocks[p] > 0 {
			return true
		}
	}
	return false
}

// mostSearches bounds what is remembered.
const mostSearches = 64

func (o *holding) free(s search) netip.Addr {
	at, known := o.searched[s]
	if !known {
		at = s.from
	}
	for s.block.Contains(at) && o.addresses[at] > 0 {
		at = at.Next()
	}
	if !known && len(o.searched) >= mostSearches {
		clear(o.searched)
	}
	o.searched[s] = at
	return at
}
