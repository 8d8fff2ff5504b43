package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Layout of the records, which bpf/trace.c writes; all little-endian.
const (
	version = 1

	offWho     = 80
	headSize   = 152
	offParents = headSize
	parents    = 8
	parentSize = 32
	offCgroups = offParents + parents*parentSize
	names      = 4
	nameSize   = 80
	offArgs    = offCgroups + names*nameSize
	argsSize   = 512
	// RichSize is the length of a Connect that describes the process in full.
	richSize = offArgs + 8 + argsSize
)

// Decode reads a record as the kernel's programs write it. What it returns
// shares no memory with b.
func Decode(b []byte) (Record, error) {
	if len(b) < headSize {
		return Record{}, fmt.Errorf("record of %d bytes, want at least %d", len(b), headSize)
	}
	if b[0] != version {
		return Record{}, fmt.Errorf("record of version %d, want %d", b[0], version)
	}
	le := binary.LittleEndian
	r := Record{
		Kind: Kind(b[1]),
		Seq:  le.Uint32(b[4:]), Time: le.Uint64(b[8:]), Conn: le.Uint64(b[16:]),
		Size: le.Uint32(b[60:]), Offset: le.Uint32(b[64:]), Ack: le.Uint32(b[76:]),
	}
	var err error
	if r.Src, err = address(b[2], b[24:40], le.Uint16(b[56:])); err != nil {
		return Record{}, err
	}
	r.Dst, _ = address(b[2], b[40:56], le.Uint16(b[58:]))
	if b[3] != 0 {
		r.Who = who(b[offWho:headSize])
	}
	got, skip := int(le.Uint32(b[68:])), int(le.Uint32(b[72:]))
	rest := b[headSize:]
	switch r.Kind {
	case Connect:
		if r.Who == nil {
			return Record{}, fmt.Errorf("connect record without a process")
		}
		if len(b) >= richSize {
			rich(r.Who, b)
		}
	case Request, Answer:
		if r.Who != nil {
			r.Who.FromTable = true
		}
		if skip < 0 || got < 0 || skip > len(rest) || got > len(rest)-skip {
			return Record{}, fmt.Errorf("record announces %d bytes after %d, has %d", got, skip, len(rest))
		}
		if uint64(r.Offset)+uint64(got) > uint64(r.Size) {
			return Record{}, fmt.Errorf("record has bytes %d to %d of a segment of %d", r.Offset, int(r.Offset)+got, r.Size)
		}
		r.Data = bytes.Clone(rest[skip : skip+got])
	default:
		return Record{}, fmt.Errorf("record of unknown kind %d", r.Kind)
	}
	return r, nil
}

func address(family byte, b []byte, port uint16) (netip.AddrPort, error) {
	switch family {
	case 4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), port), nil
	case 6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)), port), nil
	}
	return netip.AddrPort{}, fmt.Errorf("record of unknown family %d", family)
}

func who(b []byte) *Who {
	le := binary.LittleEndian
	return &Who{
		Start: le.Uint64(b), Cgroup: le.Uint64(b[8:]), NetNS: le.Uint32(b[16:]),
		PID: int(le.Uint32(b[20:])), TID: int(le.Uint32(b[24:])), UID: le.Uint32(b[28:]),
		LoginUID: le.Uint32(b[32:]), NSPID: int(le.Uint32(b[36:])),
		Comm: text(b[40:56]), Leader: text(b[56:72]),
	}
}

// rich reads what follows the head when the kernel could describe the process.
func rich(w *Who, b []byte) {
	le := binary.LittleEndian
	for i := range parents {
		p := b[offParents+i*parentSize:]
		if pid := le.Uint32(p[8:]); pid != 0 {
			w.Parents = append(w.Parents, Parent{PID: int(pid), Start: le.Uint64(p), Comm: text(p[16:32])})
		}
	}
	for i := range names {
		// The last, of another hierarchy, stays the last.
		w.Cgroups = append(w.Cgroups, text(b[offCgroups+i*nameSize:][:nameSize]))
	}
	total := le.Uint32(b[offArgs:])
	raw := b[offArgs+8:][:min(total, argsSize)]
	w.ArgsCut = total > argsSize
	w.Args = Args(raw)
}

// Args splits a command line as the kernel keeps it: words that end with a
// zero byte.
func Args(raw []byte) []string {
	raw = bytes.TrimRight(raw, "\x00")
	if len(raw) == 0 {
		return nil
	}
	var all []string
	for word := range bytes.SplitSeq(raw, []byte{0}) {
		all = append(all, string(word))
	}
	return all
}

// text is a string that ends with a zero byte or with b.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
