package ecs

import (
	"net/netip"

	"openimds/internal/instance"
	"openimds/internal/item"
)

// privateIPv4 is the first private IPv4 address; an IPv6-only interface has
// none (ECS-ITEM-030).
func privateIPv4(dst []byte, f *instance.Interface) ([]byte, bool) {
	if len(f.IPv4) == 0 {
		return dst, false
	}
	return f.IPv4[0].AppendTo(dst), true
}

// publicIPv4 is the public address of the primary private one, or else the
// first there is.
func publicIPv4(dst []byte, f *instance.Interface) ([]byte, bool) {
	if len(f.Public) == 0 {
		return dst, false
	}
	for _, p := range f.Public {
		if len(f.IPv4) > 0 && f.PrivateOf(p) == f.IPv4[0] {
			return p.Address.AppendTo(dst), true
		}
	}
	return f.Public[0].Address.AppendTo(dst), true
}

// eip is publicIPv4, but never absent (ECS-LIST-07).
func eip(dst []byte, f *instance.Interface) ([]byte, bool) {
	dst, _ = publicIPv4(dst, f)
	return dst, true
}

// secondaryIPv4 lists the private addresses but the first, and is never
// absent (ECS-LIST-07).
func secondaryIPv4(dst []byte, f *instance.Interface) ([]byte, bool) {
	if len(f.IPv4) == 0 {
		return dst, true
	}
	return loneOrBracketed(dst, f.IPv4[1:]), true
}

func privateIPv4s(dst []byte, f *instance.Interface) ([]byte, bool) {
	return quoted(dst, f.IPv4), len(f.IPv4) > 0
}

func ipv6s(dst []byte, f *instance.Interface) ([]byte, bool) {
	return bracketed(dst, f.IPv6), len(f.IPv6) > 0
}

func ipv4Prefixes(dst []byte, f *instance.Interface) ([]byte, bool) {
	return loneOrBracketed(dst, f.IPv4Prefixes), len(f.IPv4Prefixes) > 0
}

func ipv6Prefixes(dst []byte, f *instance.Interface) ([]byte, bool) {
	return loneOrBracketed(dst, f.IPv6Prefixes), len(f.IPv6Prefixes) > 0
}

// mask is the netmask of the IPv4 address, so there is none without one.
func mask(dst []byte, f *instance.Interface) ([]byte, bool) {
	if len(f.IPv4) == 0 || !f.Subnet.IPv4.IsValid() {
		return dst, false
	}
	return netmask(f.Subnet.IPv4).AppendTo(dst), true
}

// gateway is the IPv4 gateway: the one that is set, or the conventional one.
func gateway(dst []byte, f *instance.Interface) ([]byte, bool) {
	g := f.Subnet.Gateway
	if !g.IsValid() {
		g = conventional(f.Subnet.IPv4)
	}
	return g.AppendTo(dst), g.IsValid() && len(f.IPv4) > 0
}

func ipv6Gateway(dst []byte, f *instance.Interface) ([]byte, bool) {
	g := f.Subnet.IPv6Gateway
	return g.AppendTo(dst), g.IsValid()
}

func vSwitchIPv4(dst []byte, f *instance.Interface) ([]byte, bool) {
	p := f.Subnet.IPv4
	return p.AppendTo(dst), p.IsValid()
}

func vSwitchIPv6(dst []byte, f *instance.Interface) ([]byte, bool) {
	return first(dst, f.Subnet.IPv6)
}

func vpcIPv4(dst []byte, f *instance.Interface) ([]byte, bool) {
	return first(dst, f.VPC.IPv4)
}

func vpcIPv6s(dst []byte, f *instance.Interface) ([]byte, bool) {
	return bracketed(dst, f.VPC.IPv6), len(f.VPC.IPv6) > 0
}

// first appends the primary of several blocks.
func first(dst []byte, blocks []netip.Prefix) ([]byte, bool) {
	if len(blocks) == 0 {
		return dst, false
	}
	return blocks[0].AppendTo(dst), true
}

// nameservers is one address a line, with CRLF between them (ECS-FMT-06).
func nameservers(dst []byte, q *item.Query) ([]byte, bool) {
	list := q.Instance.Services.Nameservers
	for i, a := range list {
		dst = a.AppendTo(between(dst, i, "\r\n"))
	}
	return dst, len(list) > 0
}

// ntpServers is one name a line, with CRLF between them (ECS-FMT-06).
func ntpServers(dst []byte, q *item.Query) ([]byte, bool) {
	list := q.Instance.Services.NTPServers
	return lines(dst, list, "\r\n"), len(list) > 0
}

// mirrors is one URL a line. The line end is a bare LF: the vendor's own
// scripts cut the first line off and use it as it is (ECS-FMT-11).
func mirrors(dst []byte, q *item.Query) ([]byte, bool) {
	list := q.Instance.Services.Mirrors
	return lines(dst, list, "\n"), len(list) > 0
}
