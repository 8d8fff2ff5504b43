package engine

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// segment is a TCP segment as a packet socket sees it.
type segment struct {
	src, dst netip.AddrPort
	seq, ack uint32
	syn      bool
	data     []byte
}

// copied returns at most limit bytes of the payload, of their own.
func (s segment) copied(limit int) []byte { return bytes.Clone(s.data[:min(limit, len(s.data))]) }

// parseSegment reads a packet from its IP header on.
func parseSegment(b []byte) (segment, bool) {
	var src, dst netip.Addr
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		head, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
		fragment := binary.BigEndian.Uint16(b[6:]) & 0x1fff
		if head < 20 || head > len(b) || b[9] != unix.IPPROTO_TCP || fragment != 0 {
			return segment{}, false
		}
		src, dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		// Short packets are padded; the length of those that the card will
		// cut up may be 0.
		if total >= head && total < len(b) {
			b = b[:total]
		}
		b = b[head:]
	case len(b) >= 40 && b[0]>>4 == 6 && b[6] == unix.IPPROTO_TCP:
		src, dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		if total := 40 + int(binary.BigEndian.Uint16(b[4:])); total > 40 && total < len(b) {
			b = b[:total]
		}
		b = b[40:]
	default:
		return segment{}, false
	}
	if len(b) < 20 {
		return segment{}, false
	}
	head := int(b[12]>>4) * 4
	if head < 20 || head > len(b) {
		return segment{}, false
	}
	return segment{
		src: netip.AddrPortFrom(src, binary.BigEndian.Uint16(b)),
		dst: netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[2:])),
		seq: binary.BigEndian.Uint32(b[4:]), ack: binary.BigEndian.Uint32(b[8:]),
		syn: b[13]&2 != 0, data: b[head:],
	}, true
}

// filter is a program that lets pass the TCP segments that leave for one of
// the ports, or come from one.
func filter(ports []uint16) []unix.SockFilter {
	const (
		pktType  = 0xfffff000 + 4 // SKF_AD_OFF + SKF_AD_PKTTYPE
		outgoing = unix.PACKET_OUTGOING
	)
	ld := func(size uint16, mode uint16, k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | size | mode, K: k}
	}
	eq := func(k uint32, t, f uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jt: t, Jf: f}
	}
	// X becomes where TCP begins; whoever is no TCP is dropped.
	p := []unix.SockFilter{
		ld(unix.BPF_B, unix.BPF_ABS, 0),
		{Code: unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K, K: 4},
		eq(4, 0, 4), // not IPv4: on at 7
		ld(unix.BPF_B, unix.BPF_ABS, 9),
		eq(unix.IPPROTO_TCP, 0, 5), // drop at 10
		{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JA, K: 5}, // 12
		eq(6, 0, 2),                              // drop at 10
		ld(unix.BPF_B, unix.BPF_ABS, 6),
		eq(unix.IPPROTO_TCP, 1, 0), // on at 11
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_LDX | unix.BPF_W | unix.BPF_IMM, K: 40},
		// A becomes the port of the other side.
		ld(unix.BPF_W, unix.BPF_ABS, pktType),
		eq(outgoing, 0, 2), // not outgoing: on at 16
		ld(unix.BPF_H, unix.BPF_IND, 2),
		{Code: unix.BPF_JMP | unix.BPF_JA, K: 1},
		ld(unix.BPF_H, unix.BPF_IND, 0),
	}
	for i, port := range ports {
		// To the last instruction but one.
		p = append(p, eq(uint32(port), uint8(len(ports)-i), 0))
	}
	return append(p,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff})
}
