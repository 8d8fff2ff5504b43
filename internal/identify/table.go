package identify

import (
	"encoding/binary"
	"iter"
	"maps"
	"math/bits"
	"net/netip"
	"slices"
	"sync/atomic"
)

// Table holds the callers of one scope. Look-ups take no lock.
type Table[T Target] struct {
	root atomic.Pointer[parts[T]] // nil: there are none
}

// Find returns the caller with the given address. An IPv4-mapped address is
// that of its IPv4 caller, so that no family has a door of its own (SEC-66).
func (t *Table[T]) Find(a netip.Addr) (T, bool) {
	p := t.root.Load()
	if p == nil {
		var none T
		return none, false
	}
	return p.find(form(a))
}

// Len returns how many addresses the table holds.
func (t *Table[T]) Len() int {
	if p := t.root.Load(); p != nil {
		return p.len
	}
	return 0
}

// all yields every caller with its address.
func (t *Table[T]) all() iter.Seq2[netip.Addr, T] {
	return func(yield func(netip.Addr, T) bool) {
		p := t.root.Load()
		if p == nil {
			return
		}
		for _, c := range p.few {
			if !yield(c.address, c.target) {
				return
			}
		}
		for _, part := range p.of {
			for a, target := range part {
				if !yield(a, target) {
					return
				}
			}
		}
	}
}

// form is the one form of an address.
func form(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// parts are the callers of a table: a few in a list, as most interfaces of
// hosts have, or else in as many maps as keep each small: a change copies the
// maps that it is about, and shares the others. They are never changed.
type parts[T Target] struct {
	few   []caller[T]
	of    []map[netip.Addr]T // as many as a power of two; none where few has them all
	shift int                // of a hash, to an index
	len   int
}

// caller is who calls from an address.
type caller[T Target] struct {
	address netip.Addr
	target  T
}

// listSize is how many addresses are in a list at most. partSize is how many a
// part has, on average, when it is new; it may have twice as many before all
// are parted anew.
const (
	listSize = 8
	partSize = 64
)

func (p *parts[T]) find(a netip.Addr) (T, bool) {
	if len(p.of) > 0 {
		target, ok := p.of[p.index(a)][a]
		return target, ok
	}
	for i := range p.few {
		if c := &p.few[i]; c.address == a {
			return c.target, true
		}
	}
	var none T
	return none, false
}

// index returns which part an address is in. Operators choose the addresses,
// often with equal first or last bytes.
func (p *parts[T]) index(a netip.Addr) int {
	if len(p.of) == 1 {
		return 0
	}
	raw := a.As16()
	h := binary.LittleEndian.Uint64(raw[:8])*0x9e3779b97f4a7c15 ^ binary.LittleEndian.Uint64(raw[8:])
	h *= 0xd6e8feb86659fd93
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return int(h >> p.shift)
}

// newParts has room for n addresses.
func newParts[T Target](n int) *parts[T] {
	if n <= listSize {
		return &parts[T]{few: make([]caller[T], 0, n)}
	}
	log := bits.Len(uint(n / partSize))
	return &parts[T]{of: make([]map[netip.Addr]T, 1<<log), shift: 64 - log}
}

// put puts an address into parts that nobody else has yet, and that have room.
func (p *parts[T]) put(a netip.Addr, target T) {
	if len(p.of) == 0 {
		p.drop(a)
		p.few = append(p.few, caller[T]{a, target})
		p.len = len(p.few)
		return
	}
	part := &p.of[p.index(a)]
	if *part == nil {
		*part = map[netip.Addr]T{}
	}
	p.len -= len(*part)
	(*part)[a] = target
	p.len += len(*part)
}

// drop is likewise.
func (p *parts[T]) drop(a netip.Addr) {
	if len(p.of) == 0 {
		p.few = slices.DeleteFunc(p.few, func(c caller[T]) bool { return c.address == a })
		p.len = len(p.few)
		return
	}
	part := p.of[p.index(a)]
	p.len -= len(part)
	delete(part, a)
	p.len += len(part)
}

// change puts edits in force, in one step: of the present callers, or, where
// they are the whole, of none.
func (t *Table[T]) change(whole bool, all edits[T]) {
	old := t.root.Load()
	if old == nil || whole {
		old = &parts[T]{}
	}
	next := old.copy(all)
	for a, e := range all {
		if e.none {
			next.drop(a)
		} else {
			next.put(a, e.target)
		}
	}
	if next.len == 0 {
		next = nil
	}
	t.root.Store(next)
}

// copy returns the parts with what edits will change for themselves, and with
// room for all of them.
func (p *parts[T]) copy(all edits[T]) *parts[T] {
	n := p.len + len(all)
	if len(p.of) > 0 && n > listSize && n <= 2*partSize*len(p.of) && (len(p.of) == 1 || n >= partSize/8*len(p.of)) {
		next := &parts[T]{of: slices.Clone(p.of), shift: p.shift, len: p.len}
		own := map[int]bool{}
		for a := range all {
			if i := next.index(a); !own[i] {
				own[i], next.of[i] = true, maps.Clone(next.of[i])
			}
		}
		return next
	}
	next := newParts[T](n)
	for _, c := range p.few {
		next.put(c.address, c.target)
	}
	for _, part := range p.of {
		for a, target := range part {
			next.put(a, target)
		}
	}
	return next
}
