package instance

import (
	"net"
	"net/netip"
	"slices"
)

// Interface is a network interface.
type Interface struct {
	// Identifier, such as `eni-0123456789abcdef0`.
	ID string `json:"id"`
	// Hardware address, lower case with colons.
	MAC string `json:"mac"`
	// Device number, from 0 (EC2).
	Device int `json:"device,omitempty"`
	// Network card, on types that have several (EC2).
	Card *int `json:"card,omitempty"`
	// Private IPv4 addresses, the primary one first; none on an IPv6-only interface.
	IPv4 []netip.Addr `json:"ipv4,omitempty"`
	// IPv6 addresses.
	IPv6 []netip.Addr `json:"ipv6,omitempty"`
	// Public IPv4 addresses and the private address each belongs to.
	Public []PublicIPv4 `json:"public,omitempty"`
	// IPv4 prefixes delegated to the interface.
	IPv4Prefixes []netip.Prefix `json:"ipv4Prefixes,omitempty"`
	// IPv6 prefixes delegated to the interface.
	IPv6Prefixes []netip.Prefix `json:"ipv6Prefixes,omitempty"`
	// Private DNS name (EC2).
	Hostname string `json:"hostname,omitempty"`
	// Public DNS name (EC2).
	PublicHostname string `json:"publicHostname,omitempty"`
	// Owner's account id. Default: the instance's.
	Owner string `json:"owner,omitempty"`
	// Security groups.
	SecurityGroups []SecurityGroup `json:"securityGroups,omitempty"`
	// Subnet (EC2) or vSwitch (ECS).
	Subnet Subnet `json:"subnet"`
	// Virtual private cloud.
	VPC VPC `json:"vpc"`
	// Where the interface ends on the host, where listeners tell instances apart by that and not by a network.
	Attachment Attachment `json:"attachment,omitzero"`
}

// Attachment is the host's end of a network interface. A listener on that
// interface answers the instance, and only when it calls from an address of
// this very interface; listeners of the instance's network do not answer these
// addresses any more.
type Attachment struct {
	// Interface of the host, such as `tap7` or `vnet3`.
	Interface string `json:"interface"`
	// Network namespace of the host in which that interface is: a name below `/run/netns`, or a path. Default: that of the service.
	Namespace string `json:"namespace,omitempty"`
}

// PublicIPv4 is a public address of an interface.
type PublicIPv4 struct {
	// The public address.
	Address netip.Addr `json:"address"`
	// The private address it is mapped to. Default: the interface's primary one.
	Private netip.Addr `json:"private,omitzero"`
}

// SecurityGroup is a set of firewall rules an interface belongs to.
type SecurityGroup struct {
	// Identifier, such as `sg-0123456789abcdef0`.
	ID string `json:"id"`
	// Name.
	Name string `json:"name"`
}

// Subnet is a subnet (EC2) or vSwitch (ECS).
type Subnet struct {
	// Identifier, such as `subnet-0123456789abcdef0` or `vsw-bp1…`.
	ID string `json:"id"`
	// IPv4 block.
	IPv4 netip.Prefix `json:"ipv4,omitzero"`
	// IPv6 blocks.
	IPv6 []netip.Prefix `json:"ipv6,omitempty"`
	// IPv4 gateway (ECS).
	Gateway netip.Addr `json:"gateway,omitzero"`
	// IPv6 gateway (ECS).
	IPv6Gateway netip.Addr `json:"ipv6Gateway,omitzero"`
}

// VPC is a virtual private cloud.
type VPC struct {
	// Identifier, such as `vpc-0123456789abcdef0`.
	ID string `json:"id"`
	// IPv4 blocks, the primary one first.
	IPv4 []netip.Prefix `json:"ipv4,omitempty"`
	// IPv6 blocks.
	IPv6 []netip.Prefix `json:"ipv6,omitempty"`
}

// Disk is a disk or volume.
type Disk struct {
	// Identifier, such as `d-bp1…` or `vol-0123456789abcdef0`; ephemeral and swap disks have none.
	ID string `json:"id,omitempty"`
	// Serial number the guest sees (ECS). Default: the identifier without `d-`.
	Serial string `json:"serial,omitempty"`
	// Name a person gave it (ECS).
	Name string `json:"name,omitempty"`
	// Device name, such as `/dev/xvda` (EC2).
	Device string `json:"device,omitempty"`
	// What the disk is: `data` (default), `root`, `ephemeral` or `swap`.
	Kind string `json:"kind,omitempty"`
}

// Kinds of disks.
const (
	DiskData      = "data"
	DiskRoot      = "root"
	DiskEphemeral = "ephemeral"
	DiskSwap      = "swap"
)

// Primary returns the primary interface: the first. A valid instance has one.
func (in *Instance) Primary() *Interface {
	if len(in.Interfaces) == 0 {
		return &noInterface
	}
	return &in.Interfaces[0]
}

var noInterface Interface

// Addresses returns every address the instance calls from in its network:
// Sources where they are given, or else the private addresses of all its
// interfaces but those with an Attachment, which have Callers.
func (in *Instance) Addresses() []netip.Addr {
	if len(in.Sources) > 0 {
		return in.Sources
	}
	var all []netip.Addr
	for i := range in.Interfaces {
		if f := &in.Interfaces[i]; f.Attachment == (Attachment{}) {
			all = append(all, f.IPv4...)
			all = append(all, f.IPv6...)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// Callers returns the addresses that the instance may call from at the
// interface's Attachment: its private addresses, and the link-local address
// that its hardware address stands for (RFC 4291, appendix A), from which a
// machine asks before it has any other. Without an Attachment there are none.
func (f *Interface) Callers() []netip.Addr {
	if f.Attachment == (Attachment{}) {
		return nil
	}
	all := slices.Concat(f.IPv4, f.IPv6)
	if mac, err := net.ParseMAC(f.MAC); err == nil && len(mac) == 6 {
		all = append(all, linkLocal(mac))
	}
	return all
}

// linkLocal is the address that an interface gives itself.
func linkLocal(mac net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{
		0: 0xfe, 1: 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5],
	})
}

// PrivateOf returns the private address that public address p is mapped to.
func (f *Interface) PrivateOf(p PublicIPv4) netip.Addr {
	if p.Private.IsValid() || len(f.IPv4) == 0 {
		return p.Private
	}
	return f.IPv4[0]
}
