package netenv

import (
	"log/slog"
	"net/netip"
	"sync"
)

// Attaching is what an Attacher is made of.
type Attaching struct {
	// Journal is a folder in which every step is noted before it is made, so
	// that it can be taken back after a crash, too. It belongs below /run:
	// what it tells of does not outlive a reboot either.
	Journal string
	// Logger is told of kernel settings that stand in the way.
	Logger *slog.Logger
}

// An Attacher puts the addresses of listeners on interfaces, and takes back
// exactly what it did: an address that was there before stays, and a kernel
// setting that somebody has changed since is left alone. Its methods are safe
// for concurrent use; a journal has one Attacher at a time.
//
// For an address on an interface it does this, on that interface alone:
//
//   - The address is added as a single one, in scope link (IPv4) or deprecated
//     (IPv6), so that the host does not choose it as a source of its own, and
//     without a route to its prefix. IPv6 detects no duplicates for it: the
//     guest could veto the address, and a listener would wait a second.
//   - What is sent from the address is routed by a table of its own, over the
//     interface that its socket is bound to, straight to the neighbour: guests
//     need no routes, and may have one address on many interfaces.
//   - Where the kernel drops packets whose source it would answer elsewhere
//     (rp_filter 1), the interface gets the loose mode 2, which that table
//     satisfies. IPv4 alone.
//   - Where IPv6 is off on the interface it is turned on, after
//     router advertisements have been turned off there: a guest must not route
//     the host.
//
// It does not need route_localnet, proxy ARP or forwarding, and leaves them.
type Attacher struct {
	Attaching

	mu      sync.Mutex // guards left and records, and the kernel's side of them
	left    bool       // a successor has taken over
	records map[Place]*record
}

// record is what was done on one interface. It is a file of the journal.
type record struct {
	Boot      string `json:"boot"`
	Namespace string `json:"namespace,omitempty"`
	Device    uint64 `json:"device"` // of the namespace's file, and its inode
	Inode     uint64 `json:"inode"`
	Interface string `json:"interface"`
	Index     int    `json:"index"`
	Steps     []step `json:"steps"`

	users map[netip.Addr]int // how often each address is attached by this process
}

func (r *record) place() Place { return Place{r.Namespace, r.Interface} }

// step is one thing that was done, or was about to be.
type step struct {
	// Sysctl is a path below /proc/sys; Old and New are its values.
	Sysctl string `json:"sysctl,omitempty"`
	Old    string `json:"old,omitempty"`
	New    string `json:"new,omitempty"`
	// Address was added to the interface.
	Address netip.Addr `json:"address,omitzero"`
	// Source is an address that is routed by the table of its own, over the interface.
	Source netip.Addr `json:"source,omitzero"`
}
