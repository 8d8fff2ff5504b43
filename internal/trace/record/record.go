// Package record is what an engine tells of the network: a process connects to
// a metadata address, bytes of a request leave, an answer begins. It decodes
// the records that the kernel's programs write, which come from a trusted
// place but carry a tenant's bytes.
package record

import (
	"net/netip"
)

// Kind is what happened.
type Kind uint8

// Kinds of records.
const (
	Connect Kind = 1 // a process connects; Src is not known yet
	Request Kind = 2 // a piece of a segment towards the service
	Answer  Kind = 3 // a segment from the service that begins with a status line
)

// Record is one observation.
type Record struct {
	Kind Kind
	// Time on the kernel's monotonic clock, in ns.
	Time uint64
	// Conn names the connection for as long as it lasts; 0 in a Connect of an
	// engine that cannot tell yet. With eBPF it is the socket's cookie.
	Conn uint64
	// Src and Dst are those of the packet: an answer's Src is the service.
	Src, Dst netip.AddrPort
	// Seq is the TCP sequence number of the segment's first byte, Ack what an
	// answer acknowledges.
	Seq, Ack uint32
	// Size is how many bytes the segment has, Offset where Data begins in it.
	// A segment larger than what engines copy is told in up to four records.
	Size, Offset uint32
	// Data are bytes of the payload. They belong to the receiver.
	Data []byte
	// NetNS is the namespace that a packet was seen in, by inode, of engines that
	// look at each by itself; 0: not told.
	NetNS uint32
	// Who connected; nil if the engine does not know.
	Who *Who
	// Seeded: the connection was open before the engine was; Time is 0, and Who
	// is whoever holds the socket now.
	Seeded bool
}

// Who is the process that connected, as the kernel saw it at that moment.
type Who struct {
	PID, TID  int // in the tracer's namespace
	NSPID     int // in the process's own namespace; 0: not known
	UID       uint32
	LoginUID  uint32 // NoLogin: none
	Start     uint64 // of the process, ns since boot; 0: not known
	Comm      string // of the thread
	Leader    string // Comm of the process; "" if not known
	Cgroup    uint64 // id in the v2 hierarchy
	Cgroups   []string
	NetNS     uint32   // inode; 0: not known
	Parents   []Parent // nearest first, up to eight
	Args      []string // the command line, of which the last may be cut
	ArgsCut   bool
	FromTable bool // from a table that outlives the Connect: Parents, Cgroups and Args are elsewhere
}

// NoLogin is the LoginUID of processes that no login began.
const NoLogin = ^uint32(0)

// Parent is an ancestor of a process.
type Parent struct {
	PID   int
	Start uint64 // ns since boot
	Comm  string
}
