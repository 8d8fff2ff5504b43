package control

import (
	"cmp"
	"net/netip"
	"slices"

	"openimds/internal/instance"
)

// reservedIPv4 and reservedIPv6 are how many addresses at the start of a
// subnet, and of a block of public ones, are not given to anybody.
const (
	reservedIPv4   = 4
	reservedIPv6   = 16
	reservedPublic = 1
	bitsIPv4Prefix = 28
	bitsIPv6Prefix = 80
)

// makeInterface makes an interface in the caller's place. Its subnet and its
// groups are as they are named (EC2-API-13): there are no networks here but the
// place's.
func (c *Control) makeInterface(caller Caller, n NewInterface, a *addresses) (instance.Interface, error) {
	place := c.cfg.Places[caller.Dialect]
	mac := c.hex(10)
	f := instance.Interface{
		ID: "eni-" + c.hex(17), MAC: "02:" + mac[:2] + ":" + mac[2:4] + ":" + mac[4:6] + ":" + mac[6:8] + ":" + mac[8:],
		Device: n.Device, Card: n.Card, Subnet: place.Subnet, VPC: place.VPC, SecurityGroups: slices.Clone(place.SecurityGroups), Owner: caller.Account,
	}
	if caller.Dialect == "ecs" {
		f.ID, f.MAC = "eni-bp1"+c.hex(17), "00:16:3e:"+mac[:2]+":"+mac[2:4]+":"+mac[4:6]
	}
	f.Subnet.ID = cmp.Or(n.Subnet, f.Subnet.ID)
	if len(n.SecurityGroups) > 0 {
		f.SecurityGroups = GroupsOf(f.SecurityGroups, n.SecurityGroups)
	}
	if len(n.IPv4) == 0 {
		n.IPv4 = []netip.Addr{{}} // the primary one
	}
	_, err := c.assign(caller, &f, n.NewAddresses, a)
	return f, err
}

// Assigned are the addresses that an interface was given.
type Assigned struct {
	IPv4, IPv6                 []netip.Addr
	IPv4Prefixes, IPv6Prefixes []netip.Prefix
}

// assign gives an interface addresses.
func (c *Control) assign(caller Caller, f *instance.Interface, n NewAddresses, a *addresses) (got Assigned, err error) {
	for range n.MoreIPv4 {
		n.IPv4 = append(n.IPv4, netip.Addr{})
	}
	for range n.MoreIPv6 {
		n.IPv6 = append(n.IPv6, netip.Addr{})
	}
	if got.IPv4, err = a.some(n.IPv4, f.Subnet.IPv4, reservedIPv4, f.ID); err != nil {
		return got, err
	}
	var ipv6 netip.Prefix
	if len(f.Subnet.IPv6) > 0 {
		ipv6 = f.Subnet.IPv6[0]
	} else if len(n.IPv6)+len(n.IPv6Prefixes)+n.MoreIPv6Prefixes > 0 {
		return got, refuse(SubnetWithoutIPv6, f.Subnet.ID)
	}
	if got.IPv6, err = a.some(n.IPv6, ipv6, reservedIPv6, f.ID); err != nil {
		return got, err
	}
	if got.IPv4Prefixes, err = a.blocks(n.IPv4Prefixes, n.MoreIPv4Prefixes, f.Subnet.IPv4, bitsIPv4Prefix); err != nil {
		return got, err
	}
	if got.IPv6Prefixes, err = a.blocks(n.IPv6Prefixes, n.MoreIPv6Prefixes, ipv6, bitsIPv6Prefix); err != nil {
		return got, err
	}
	f.IPv4, f.IPv6 = slices.Concat(f.IPv4, got.IPv4), slices.Concat(f.IPv6, got.IPv6)
	f.IPv4Prefixes, f.IPv6Prefixes = slices.Concat(f.IPv4Prefixes, got.IPv4Prefixes), slices.Concat(f.IPv6Prefixes, got.IPv6Prefixes)
	if public := c.cfg.Places[caller.Dialect].Public; n.Public && public.IsValid() {
		address, err := a.pick(public, reservedPublic, f.ID)
		if err != nil {
			return got, err
		}
		f.Public = append(f.Public, instance.PublicIPv4{Address: address})
	}
	return got, nil
}

// some takes the addresses that are named, and free ones where none is.
func (a *addresses) some(wanted []netip.Addr, from netip.Prefix, reserved int, holder string) ([]netip.Addr, error) {
	var got []netip.Addr
	for _, address := range wanted {
		if !address.IsValid() {
			continue // after those that are named, which it must not be
		}
		if from.IsValid() && !from.Contains(address) {
			return nil, &Error{Reason: InvalidValue, Subject: "address", Detail: address.String()}
		}
		if err := a.take(address, holder); err != nil {
			return nil, err
		}
	}
	for _, address := range wanted {
		if !address.IsValid() {
			var err error
			if address, err = a.pick(from, reserved, holder); err != nil {
				return nil, err
			}
		}
		got = append(got, address)
	}
	return got, nil
}

// blocks delegates the blocks that are named, and free ones to go with them.
func (a *addresses) blocks(wanted []netip.Prefix, more int, from netip.Prefix, bits int) ([]netip.Prefix, error) {
	var got []netip.Prefix
	for _, p := range wanted {
		if p.Bits() != bits || p != p.Masked() || !from.IsValid() || !from.Contains(p.Addr()) {
			return nil, &Error{Reason: InvalidValue, Subject: "prefix", Detail: p.String()}
		}
		if err := a.takePrefix(p); err != nil {
			return nil, err
		}
		got = append(got, p)
	}
	for range more {
		p, err := a.pickPrefix(from, bits)
		if err != nil {
			return nil, err
		}
		got = append(got, p)
	}
	return got, nil
}

// GroupsOf returns the security groups with the given ids: those that are
// known, and of others ones that are called after their id.
func GroupsOf(known []instance.SecurityGroup, ids []string) []instance.SecurityGroup {
	var all []instance.SecurityGroup
	for _, id := range ids {
		g := instance.SecurityGroup{ID: id, Name: id}
		if i := slices.IndexFunc(known, func(k instance.SecurityGroup) bool { return k.ID == id }); i >= 0 {
			g = known[i]
		}
		all = append(all, g)
	}
	return all
}
