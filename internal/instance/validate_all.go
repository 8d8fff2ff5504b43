package instance

import "net/netip"

// ValidateAll returns what is wrong with the instances and between them: an id
// that is given twice, and within one network two instances of one dialect
// that call from one address, or two interfaces with one hardware address.
// Paths start at the list: instances[0]….
func ValidateAll(all []*Instance) []Problem {
	c := &checker{}
	for i, in := range all {
		if in != nil {
			c.dialect = in.Dialect
			c.instance(root.Index(i), in)
		}
	}
	c.ids(all)
	c.callers(all)
	c.attachments(all)
	c.hardware(all)
	return c.problems
}

const root Path = "instances"

func (c *checker) ids(all []*Instance) {
	first := make(map[string]int, len(all))
	for i, in := range all {
		if in == nil || in.ID == "" {
			continue
		}
		if j, twice := first[in.ID]; twice {
			c.addf(root.Index(i).Key("id"), "%s is the id of %s too, expected one that is unique in the file", show(in.ID), root.Index(j))
			continue
		}
		first[in.ID] = i
	}
}

// callers refuses two instances that a listener could not tell apart. Two of
// one id have been reported already.
func (c *checker) callers(all []*Instance) {
	type place struct {
		dialect, network string
		addr             netip.Addr
	}
	first := make(map[place]int, len(all))
	for i, in := range all {
		if in == nil {
			continue
		}
		for _, a := range in.Addresses() {
			at := place{in.Dialect, in.Network, a.Unmap().WithZone("")}
			j, taken := first[at]
			if !taken {
				first[at] = i
			} else if j != i && all[j].ID != in.ID {
				c.addf(in.pathOf(root.Index(i), a), "%s and %s both call from %s in network %s: give one of them another address or network",
					name(all, j), name(all, i), a, show(in.Network))
			}
		}
	}
}

// attachments refuses two instances that a listener on an interface could not
// tell apart, and two networks on one interface of a host.
func (c *checker) attachments(all []*Instance) {
	type port struct {
		node string
		Attachment
	}
	type place struct {
		port
		dialect string
		addr    netip.Addr
	}
	first, network := map[place]int{}, map[port]int{}
	for i, in := range all {
		if in == nil {
			continue
		}
		for k := range in.Interfaces {
			f := &in.Interfaces[k]
			at := root.Index(i).Key("interfaces").Index(k).Key("attachment")
			if f.Attachment == (Attachment{}) {
				continue
			}
			port := port{in.Node, f.Attachment}
			if j, taken := network[port]; !taken {
				network[port] = i
			} else if all[j].Network != in.Network && all[j].ID != in.ID {
				c.addf(at, "%s of network %s and %s of network %s both claim interface %s: an interface belongs to one network",
					name(all, j), show(all[j].Network), name(all, i), show(in.Network), show(f.Attachment.Interface))
				continue
			}
			for _, a := range f.Callers() {
				p := place{port, in.Dialect, a}
				if j, taken := first[p]; !taken {
					first[p] = i
				} else if j != i && all[j].ID != in.ID {
					c.addf(at, "%s and %s both call from %s on interface %s: give one of them another address or interface",
						name(all, j), name(all, i), a, show(f.Attachment.Interface))
				}
			}
		}
	}
}

func (c *checker) hardware(all []*Instance) {
	type place struct {
		Attachment
		node, network, mac string
	}
	first := map[place]int{}
	for i, in := range all {
		if in == nil {
			continue
		}
		for k := range in.Interfaces {
			f := &in.Interfaces[k]
			at := place{Attachment: f.Attachment, network: in.Network, mac: f.MAC}
			if f.Attachment != (Attachment{}) {
				at.node = in.Node
			}
			j, taken := first[at]
			if f.MAC == "" {
				continue
			}
			if !taken {
				first[at] = i
			} else if j != i && all[j].ID != in.ID {
				c.addf(root.Index(i).Key("interfaces").Index(k).Key("mac"), "%s and %s both have the hardware address %s in network %s",
					name(all, j), name(all, i), show(f.MAC), show(in.Network))
			}
		}
	}
}

// name is how messages call an instance.
func name(all []*Instance, i int) string {
	if id := all[i].ID; isWord(id) {
		return id
	}
	return string(root.Index(i))
}

// pathOf returns where the instance says that it calls from a.
func (in *Instance) pathOf(at Path, a netip.Addr) Path {
	for i, s := range in.Sources {
		if s == a {
			return at.Key("sources").Index(i)
		}
	}
	for i := range in.Interfaces {
		f, at := &in.Interfaces[i], at.Key("interfaces").Index(i)
		for k, x := range f.IPv4 {
			if x == a {
				return at.Key("ipv4").Index(k)
			}
		}
		for k, x := range f.IPv6 {
			if x == a {
				return at.Key("ipv6").Index(k)
			}
		}
	}
	return at
}
