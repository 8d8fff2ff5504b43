package instance

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// family is which of the two kinds of addresses is meant.
type family uint8

const (
	anyFamily family = iota
	ipv4
	ipv6
)

func (f family) has(a netip.Addr) bool {
	return f == anyFamily || f == ipv4 && a.Is4() || f == ipv6 && a.Is6() && !a.Is4In6()
}

func (f family) String() string {
	return [...]string{"IP", "IPv4", "IPv6"}[f]
}

func (c *checker) interfaces(list Path, in *Instance) {
	if len(in.Interfaces) == 0 {
		c.addf(list, "is required: at least one network interface")
		return
	}
	for i := range in.Interfaces {
		c.netInterface(list.Index(i), &in.Interfaces[i])
	}
	uniqueBy(c, list, in.Interfaces, "id", func(f Interface) string { return f.ID })
	uniqueBy(c, list, in.Interfaces, "mac", func(f Interface) string { return f.MAC })
	if c.dialect == DialectEC2 {
		uniqueBy(c, list, in.Interfaces, "device", func(f Interface) string {
			card := 0
			if f.Card != nil {
				card = *f.Card
			}
			return fmt.Sprintf("%d on card %d", f.Device, card)
		})
	}
	attached := func(f Interface) bool { return f.Attachment.Interface != "" }
	if len(in.Addresses()) == 0 && !slices.ContainsFunc(in.Interfaces, attached) {
		c.addf(list, "no address to know the instance by, expected ipv4, ipv6 or the instance's sources")
	}
}

func (c *checker) netInterface(at Path, f *Interface) {
	c.id(at.Key("id"), f.ID)
	if c.required(at.Key("mac"), f.MAC) && !isMAC(f.MAC) {
		c.addf(at.Key("mac"), "found %s, expected a hardware address such as 02:00:5e:10:00:01", quote(f.MAC))
	}
	c.count(at.Key("device"), f.Device)
	if f.Card != nil {
		c.count(at.Key("card"), *f.Card)
	}
	c.addresses(at.Key("ipv4"), f.IPv4, ipv4, f.Subnet)
	c.addresses(at.Key("ipv6"), f.IPv6, ipv6, f.Subnet)
	c.public(at.Key("public"), f)
	c.prefixes(at.Key("ipv4Prefixes"), f.IPv4Prefixes, ipv4)
	c.prefixes(at.Key("ipv6Prefixes"), f.IPv6Prefixes, ipv6)
	c.hostname(at.Key("hostname"), f.Hostname)
	c.hostname(at.Key("publicHostname"), f.PublicHostname)
	if f.Owner != "" {
		c.account(at.Key("owner"), f.Owner)
	}
	groups := at.Key("securityGroups")
	for i, g := range f.SecurityGroups {
		c.id(groups.Index(i).Key("id"), g.ID)
		if c.required(groups.Index(i).Key("name"), g.Name) {
			c.text(groups.Index(i).Key("name"), g.Name, 255)
		}
	}
	uniqueBy(c, groups, f.SecurityGroups, "id", func(g SecurityGroup) string { return g.ID })
	c.subnet(at.Key("subnet"), f.Subnet)
	c.id(at.Key("vpc").Key("id"), f.VPC.ID)
	c.prefixes(at.Key("vpc").Key("ipv4"), f.VPC.IPv4, ipv4)
	c.prefixes(at.Key("vpc").Key("ipv6"), f.VPC.IPv6, ipv6)
	c.attachment(at.Key("attachment"), f)
}

// attachment checks the host's end of an interface. Interface names are those
// that Linux takes.
func (c *checker) attachment(at Path, f *Interface) {
	a := f.Attachment
	switch {
	case a == Attachment{}:
		return
	case a.Interface == "":
		c.addf(at.Key("interface"), "is required: the host's interface, such as tap7")
	case len(a.Interface) > 15 || a.Interface == "." || a.Interface == ".." || strings.ContainsFunc(a.Interface, func(r rune) bool { return r <= ' ' || r == '/' || r == ':' || r > '~' }):
		c.addf(at.Key("interface"), "found %s, expected the name of one interface: at most 15 characters without space, slash or colon", quote(a.Interface))
	}
	if strings.ContainsFunc(a.Namespace, func(r rune) bool { return r <= ' ' || r > '~' }) {
		c.addf(at.Key("namespace"), "found %s, expected a name below /run/netns, or a path", quote(a.Namespace))
	}
	if len(f.IPv4)+len(f.IPv6) == 0 {
		c.addf(at, "the interface has no address that the instance could call from")
	}
}

// isMAC asks for the one spelling that the clouds serve.
func isMAC(s string) bool {
	if len(s) != len("00:00:00:00:00:00") {
		return false
	}
	for i := range len(s) {
		if i%3 == 2 {
			if s[i] != ':' {
				return false
			}
		} else if strings.IndexByte("0123456789abcdef", s[i]) < 0 {
			return false
		}
	}
	return true
}

// address checks one address and reports whether it is of its family.
func (c *checker) address(at Path, a netip.Addr, want family) bool {
	switch {
	case !a.IsValid():
		c.addf(at, "is required: an %s address", want)
	case a.Zone() != "":
		c.addf(at, "found %s, expected an address without a zone", quote(a.String()))
	case a.Is4In6():
		c.addf(at, "found the IPv4-mapped %s, expected %s", a, a.Unmap())
	case !want.has(a):
		c.addf(at, "found %s, expected an %s address", a, want)
	case a.IsUnspecified() || a.IsMulticast():
		c.addf(at, "found %s, expected the address of one machine", a)
	default:
		return true
	}
	return false
}

// addresses checks private addresses: each in a block of the subnet, where the
// subnet names blocks of the family.
func (c *checker) addresses(list Path, addrs []netip.Addr, want family, s Subnet) {
	blocks := s.blocks(want)
	for i, a := range addrs {
		if c.address(list.Index(i), a, want) && len(blocks) > 0 && !contained(blocks, a) {
			c.addf(list.Index(i), "%s is not in subnet %s (%s)", a, show(s.ID), joined(blocks))
		}
	}
	unique(c, list, addrs)
}

func (c *checker) public(list Path, f *Interface) {
	seen := make(map[netip.Addr]bool, len(f.Public))
	for i, p := range f.Public {
		at := list.Index(i)
		c.address(at.Key("address"), p.Address, ipv4)
		switch {
		case p.Private.IsValid() && !slices.Contains(f.IPv4, p.Private):
			c.addf(at.Key("private"), "found %s, expected one of the interface's ipv4 addresses", p.Private)
		case !p.Private.IsValid() && len(f.IPv4) == 0:
			c.addf(at, "the interface has no ipv4 address that a public one could be mapped to")
		}
		if p.Address.IsValid() && seen[p.Address] {
			c.addf(at.Key("address"), "%s stands in the list twice", p.Address)
		}
		seen[p.Address] = true
	}
}

func (c *checker) subnet(at Path, s Subnet) {
	c.id(at.Key("id"), s.ID)
	if s.IPv4 != (netip.Prefix{}) {
		c.prefix(at.Key("ipv4"), s.IPv4, ipv4)
	}
	c.prefixes(at.Key("ipv6"), s.IPv6, ipv6)
	c.gateway(at.Key("gateway"), s.Gateway, ipv4, s)
	c.gateway(at.Key("ipv6Gateway"), s.IPv6Gateway, ipv6, s)
}

// gateway checks an optional gateway. A link-local one is on every subnet.
func (c *checker) gateway(at Path, a netip.Addr, want family, s Subnet) {
	if a == (netip.Addr{}) || !c.address(at, a, want) || a.IsLinkLocalUnicast() {
		return
	}
	if blocks := s.blocks(want); len(blocks) > 0 && !contained(blocks, a) {
		c.addf(at, "%s is not in subnet %s (%s)", a, show(s.ID), joined(blocks))
	}
}

func (c *checker) prefixes(list Path, prefixes []netip.Prefix, want family) {
	for i, p := range prefixes {
		c.prefix(list.Index(i), p, want)
	}
	unique(c, list, prefixes)
}

func (c *checker) prefix(at Path, p netip.Prefix, want family) {
	switch {
	case !p.IsValid():
		c.addf(at, "is required: a block of %s addresses", want)
	case p.Addr().Is4In6() || !want.has(p.Addr()):
		c.addf(at, "found %s, expected a block of %s addresses", p, want)
	case p != p.Masked():
		c.addf(at, "found %s, which has bits after its length, expected %s", p, p.Masked())
	}
}

// blocks returns the subnet's valid blocks of a family.
func (s Subnet) blocks(want family) []netip.Prefix {
	all := s.IPv6
	if want == ipv4 {
		all = []netip.Prefix{s.IPv4}
	}
	return slices.DeleteFunc(slices.Clone(all), func(p netip.Prefix) bool {
		return !p.IsValid() || !want.has(p.Addr())
	})
}

func contained(blocks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(blocks, func(b netip.Prefix) bool { return b.Contains(a) })
}

func joined(blocks []netip.Prefix) string {
	names := make([]string, len(blocks))
	for i, b := range blocks {
		names[i] = b.String()
	}
	return strings.Join(names, ", ")
}
