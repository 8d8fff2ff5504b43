package ecs

import "net/netip"

// The service has no one form for lists. Each form is a function here, and
// the table says which item has which.

// between appends sep before every element of a list but the first.
func between(dst []byte, i int, sep string) []byte {
	if i == 0 {
		return dst
	}
	return append(dst, sep...)
}

// lines appends texts with sep between them.
func lines(dst []byte, list []string, sep string) []byte {
	for i, s := range list {
		dst = append(between(dst, i, sep), s...)
	}
	return dst
}

// quoted appends addresses as a JSON array of strings (ECS-FMT-07).
func quoted(dst []byte, list []netip.Addr) []byte {
	dst = append(dst, '[')
	for i, a := range list {
		dst = append(between(dst, i, ","), '"')
		dst = append(a.AppendTo(dst), '"')
	}
	return append(dst, ']')
}

// textual is an address or a prefix.
type textual interface{ AppendTo([]byte) []byte }

// bracketed appends a list in brackets, without quotes (ECS-FMT-08).
func bracketed[T textual](dst []byte, list []T) []byte {
	dst = append(dst, '[')
	for i, v := range list {
		dst = v.AppendTo(between(dst, i, ","))
	}
	return append(dst, ']')
}

// loneOrBracketed appends one element bare, several as bracketed does, and
// nothing for none (ECS-FMT-09).
func loneOrBracketed[T textual](dst []byte, list []T) []byte {
	switch len(list) {
	case 0:
		return dst
	case 1:
		return list[0].AppendTo(dst)
	}
	return bracketed(dst, list)
}

// netmask returns the mask of an IPv4 prefix.
func netmask(p netip.Prefix) netip.Addr {
	return ipv4(^uint32(0) << (32 - p.Bits()))
}

// conventional returns the gateway that the cloud keeps in every vSwitch, the
// third address from its end, or the zero Addr where there is no room for one
// (ECS-ITEM-043).
func conventional(p netip.Prefix) netip.Addr {
	if !p.IsValid() || !p.Addr().Is4() || p.Bits() > 29 {
		return netip.Addr{}
	}
	b := p.Addr().As4()
	first := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	return ipv4(first | ^uint32(0)>>p.Bits() - 2)
}

func ipv4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}
