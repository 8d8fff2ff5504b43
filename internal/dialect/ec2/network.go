package ec2

import (
	"strconv"

	"openimds/internal/instance"
	"openimds/internal/item"
)

func deviceNumber(dst []byte, _ *instance.Instance, f *instance.Interface) ([]byte, bool) {
	return strconv.AppendInt(dst, int64(f.Device), 10), true
}

// networkCard exists on types that have several cards (EC2-ITEM-044).
func networkCard(dst []byte, _ *instance.Instance, f *instance.Interface) ([]byte, bool) {
	if f.Card == nil {
		return dst, false
	}
	return strconv.AppendInt(dst, int64(*f.Card), 10), true
}

// ownerID is the account of the interface, which is the instance's unless it
// is shared.
func ownerID(dst []byte, in *instance.Instance, f *instance.Interface) ([]byte, bool) {
	owner := f.Owner
	if owner == "" {
		owner = in.Account
	}
	return append(dst, owner...), owner != ""
}

// localIPv4 is the first private IPv4 address; an IPv6-only interface has none
// (EC2-ITEM-028).
func localIPv4(dst []byte, _ *instance.Instance, f *instance.Interface) ([]byte, bool) {
	return firstOf(dst, f.IPv4)
}

func localIPv4s(dst []byte, _ *instance.Instance, f *instance.Interface) ([]byte, bool) {
	return lined(dst, f.IPv4), len(f.IPv4) > 0
}

// ipv6 is the first IPv6 address.
func ipv6(dst []byte, _ *instance.Instance, f *instance.Interface) ([]byte, bool) {
	return firstOf(dst, f.IPv6)
}

func ipv6s(dst []byte, _ *instance.Instance, f *instance.Interface) ([]byte, bool) {
	return lined(dst, f.IPv6), len(f.IPv6) > 0
}

func ipv4Prefixes(dst []byte, _ *instance.Instance, f *instance.Interface) ([]byte, bool) {
	return lined(dst, f.IPv4Prefixes), len(f.IPv4Prefixes) > 0
}

func ipv6Prefixes(dst []byte, _ *instance.Instance, f *instance.Interface) ([]byte, bool) {
	return lined(dst, f.IPv6Prefixes), len(f.IPv6Prefixes) > 0
}

// publicIPv4 is the public address of the primary private one, or else the
// first there is.
func publicIPv4(dst []byte, _ *instance.Instance, f *instance.Interface) ([]byte, bool) {
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

func publicIPv4s(dst []byte, _ *instance.Instance, f *instance.Interface) ([]byte, bool) {
	for i := range f.Public {
		dst = f.Public[i].Address.AppendTo(between(dst, i, "\n"))
	}
	return dst, len(f.Public) > 0
}

// publicAddresses are the keys of an interface's associations.
func publicAddresses(dst []string, q *item.Query) []string {
	for _, p := range q.Instance.Interfaces[q.Index(0)].Public {
		dst = append(dst, p.Address.String())
	}
	return dst
}

// association is the private address behind a public one (EC2-ITEM-037).
func association(dst []byte, q *item.Query) ([]byte, bool) {
	f := &q.Instance.Interfaces[q.Index(0)]
	private := f.PrivateOf(f.Public[q.Index(1)])
	if !private.IsValid() {
		return dst, false
	}
	return private.AppendTo(dst), true
}

// groupNames lists the names of an interface's security groups.
func groupNames(dst []byte, _ *instance.Instance, f *instance.Interface) ([]byte, bool) {
	for i := range f.SecurityGroups {
		dst = append(between(dst, i, "\n"), f.SecurityGroups[i].Name...)
	}
	return dst, len(f.SecurityGroups) > 0
}

// groupIDs lists their ids, in the same order.
func groupIDs(dst []byte, _ *instance.Instance, f *instance.Interface) ([]byte, bool) {
	for i := range f.SecurityGroups {
		dst = append(between(dst, i, "\n"), f.SecurityGroups[i].ID...)
	}
	return dst, len(f.SecurityGroups) > 0
}

func subnetIPv4(dst []byte, _ *instance.Instance, f *instance.Interface) ([]byte, bool) {
	if !f.Subnet.IPv4.IsValid() {
		return dst, false
	}
	return f.Subnet.IPv4.AppendTo(dst), true
}

func subnetIPv6s(dst []byte, _ *instance.Instance, f *instance.Interface) ([]byte, bool) {
	return lined(dst, f.Subnet.IPv6), len(f.Subnet.IPv6) > 0
}

// vpcIPv4 is the primary block of the network.
func vpcIPv4(dst []byte, _ *instance.Instance, f *instance.Interface) ([]byte, bool) {
	return firstOf(dst, f.VPC.IPv4)
}

func vpcIPv4s(dst []byte, _ *instance.Instance, f *instance.Interface) ([]byte, bool) {
	return lined(dst, f.VPC.IPv4), len(f.VPC.IPv4) > 0
}

func vpcIPv6s(dst []byte, _ *instance.Instance, f *instance.Interface) ([]byte, bool) {
	return lined(dst, f.VPC.IPv6), len(f.VPC.IPv6) > 0
}

// firstOf appends the first of several addresses or prefixes.
func firstOf[T textual](dst []byte, values []T) ([]byte, bool) {
	if len(values) == 0 {
		return dst, false
	}
	return values[0].AppendTo(dst), true
}
