package identify

import "net/netip"

// Plan is a set of claims that contradict each other nowhere, in place of the
// directory's present ones. It is good until another one is applied.
type Plan[T Target] struct {
	d      *Directory[T]
	whole  bool // nothing of the present claims stays
	edits  map[Scope]edits[T]
	owners map[host]owner
}

// edits are what becomes of addresses of one scope.
type edits[T Target] map[netip.Addr]edit[T]

// edit is who calls from an address from now on.
type edit[T Target] struct {
	target T
	none   bool
}

// Plan checks claims that are to replace the present ones. Two targets with
// one address in one scope are a Clash, and so are two networks on one
// interface.
func (d *Directory[T]) Plan(claims []Claim[T]) (*Plan[T], error) {
	return d.plan(true, nil, claims)
}

// Change checks what is to become of a few claims, to the same end as Plan
// with all of them: gone are all the present ones of some targets, come those
// that are made. What it costs depends on these alone.
func (d *Directory[T]) Change(gone, come []Claim[T]) (*Plan[T], error) {
	return d.plan(false, gone, come)
}

func (d *Directory[T]) plan(whole bool, gone, come []Claim[T]) (*Plan[T], error) {
	p := &Plan[T]{d, whole, map[Scope]edits[T]{}, map[host]owner{}}
	for _, c := range gone {
		p.drop(c)
	}
	for _, c := range come {
		if err := p.make(c); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// drop takes a claim back.
func (p *Plan[T]) drop(c Claim[T]) {
	if holder, taken := p.holder(c); !taken || holder != c.Target {
		return // it stood there twice, or never
	}
	if at, ok := c.host(); ok {
		o := p.owner(at)
		o.callers--
		p.owners[at] = o
	}
	p.edit(c, edit[T]{none: true})
}

// make makes a claim.
func (p *Plan[T]) make(c Claim[T]) error {
	at, onHost := c.host()
	o := p.owner(at)
	if onHost && o.callers > 0 && o.network != c.Network {
		other := p.claimant(at).ID()
		return clash(other, c.Target.ID(), "interface %s: %s of network %s and %s of network %s both claim it, and an interface belongs to one network",
			at.Interface, other, o.network, c.Target.ID(), c.Network)
	}
	holder, taken := p.holder(c)
	if taken && holder != c.Target {
		return clash(holder.ID(), c.Target.ID(), "%s and %s both call from %s %s: give one of them another address or network",
			holder.ID(), c.Target.ID(), c.address(), c.Scope)
	}
	if taken {
		return nil
	}
	if onHost {
		p.owners[at] = owner{c.Network, o.callers + 1}
	}
	p.edit(c, edit[T]{target: c.Target})
	return nil
}

// claimant returns somebody who calls over an interface that has an owner, for
// a message.
func (p *Plan[T]) claimant(at host) (some T) {
	for s, all := range p.edits {
		for _, e := range all {
			if s.host() == at && !e.none {
				return e.target
			}
		}
	}
	for s, t := range p.d.tables {
		if s.host() != at {
			continue
		}
		for a, target := range t.all() {
			if e, ok := p.edits[s][a]; !ok || !e.none {
				return target
			}
		}
	}
	return some
}

// holder returns who calls from a claim's address if the plan is applied as far
// as it has come.
func (p *Plan[T]) holder(c Claim[T]) (T, bool) {
	if e, ok := p.edits[c.Scope][c.address()]; ok {
		return e.target, !e.none
	}
	if t := p.d.tables[c.Scope]; t != nil && !p.whole {
		return t.Find(c.Address)
	}
	var none T
	return none, false
}

// owner is likewise.
func (p *Plan[T]) owner(at host) owner {
	if o, ok := p.owners[at]; ok || p.whole {
		return o
	}
	return p.d.owners[at]
}

func (p *Plan[T]) edit(c Claim[T], e edit[T]) {
	all := p.edits[c.Scope]
	if all == nil {
		all = edits[T]{}
		p.edits[c.Scope] = all
	}
	all[c.address()] = e
}

// Apply puts the plan's claims in force, each table in one step.
func (p *Plan[T]) Apply() {
	d := p.d
	if p.whole {
		d.owners = nil
		for s, t := range d.tables {
			if len(p.edits[s]) == 0 {
				t.root.Store(nil)
			}
		}
	}
	for s, e := range p.edits {
		d.Table(s).change(p.whole, e)
	}
	if d.owners == nil {
		d.owners = map[host]owner{}
	}
	for at, o := range p.owners {
		if o.callers == 0 {
			delete(d.owners, at)
		} else {
			d.owners[at] = o
		}
	}
}

// host returns the interface that a claim is about.
func (c *Claim[T]) host() (at host, ok bool) {
	return c.Scope.host(), c.Scope.Interface != ""
}

func (s Scope) host() host { return host{s.Interface, s.Namespace} }

// address is the claim's, in its one form.
func (c *Claim[T]) address() netip.Addr { return form(c.Address) }
