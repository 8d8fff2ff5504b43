package netenv

import "net/netip"

// Cable is a pair of virtual interfaces between two namespaces: the host's
// end, and that of a machine in it.
type Cable struct {
	// Host is the host's end. Its namespace is never the one of the process.
	Host Place
	// Guest is the machine's end. Its namespace is never the one of the process.
	Guest Place
	// MAC is the hardware address of the machine's end; empty: any.
	MAC string
	// Addresses are given to the machine's end.
	Addresses []netip.Prefix
	// OnLink are routed to the machine's end, without a gateway.
	OnLink []netip.Prefix
	// HostAddresses are given to the host's end.
	HostAddresses []netip.Prefix
}
