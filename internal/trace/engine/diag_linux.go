package engine

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// sock is a TCP socket as the kernel lists it.
type sock struct {
	src, dst netip.AddrPort
	cookie   uint64
	inode    uint32
	uid      uint32
}

// Sizes of the messages of NETLINK_SOCK_DIAG (linux/inet_diag.h).
const (
	sizeofDiagReq = 56
	sizeofDiagMsg = 72
)

// listSockets lists TCP sockets of the calling thread's network namespace, in
// the given states (a bit for each), and calls each for them.
func listSockets(states uint32, each func(sock)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if err := dump(fd, diagRequest(family, states, unix.NLM_F_DUMP, sock{}), each); err != nil {
			return fmt.Errorf("list sockets: %w", err)
		}
	}
	return nil
}

// diagRequest asks for sockets: all of a family, or the one between two
// addresses.
func diagRequest(family uint8, states uint32, flags uint16, of sock) []byte {
	b := make([]byte, unix.SizeofNlMsghdr+sizeofDiagReq)
	ne := binary.NativeEndian
	ne.PutUint32(b, uint32(len(b)))
	ne.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	ne.PutUint16(b[6:], unix.NLM_F_REQUEST|flags)
	q := b[unix.SizeofNlMsghdr:]
	q[0], q[1] = family, unix.IPPROTO_TCP
	ne.PutUint32(q[4:], states)
	if of.src.IsValid() {
		binary.BigEndian.PutUint16(q[8:], of.src.Port())
		binary.BigEndian.PutUint16(q[10:], of.dst.Port())
		copy(q[12:28], of.src.Addr().AsSlice())
		copy(q[28:44], of.dst.Addr().AsSlice())
	}
	for i := 48; i < 56; i++ {
		q[i] = 0xff // any cookie
	}
	return b
}

// dump sends a request and reads its answers.
func dump(fd int, request []byte, each func(sock)) error {
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	single := binary.NativeEndian.Uint16(request[6:])&unix.NLM_F_DUMP == 0
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		done, err := readDiag(buf[:n], each)
		if done || err != nil || single {
			return err
		}
	}
}

// readDiag reads the messages of one datagram.
func readDiag(b []byte, each func(sock)) (done bool, err error) {
	ne := binary.NativeEndian
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(ne.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return true, fmt.Errorf("netlink message of %d bytes in %d", size, len(b))
		}
		body := b[unix.SizeofNlMsghdr:size]
		switch ne.Uint16(b[4:]) {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			if len(body) >= 4 {
				if code := -int32(ne.Uint32(body)); code != 0 {
					return true, os.NewSyscallError("netlink", unix.Errno(code))
				}
			}
			return true, nil
		case unix.SOCK_DIAG_BY_FAMILY:
			if s, ok := readSock(body); ok {
				each(s)
			}
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return false, nil
}

func readSock(b []byte) (s sock, ok bool) {
	if len(b) < sizeofDiagMsg {
		return s, false
	}
	ne := binary.NativeEndian
	id := b[4:]
	sport, dport := binary.BigEndian.Uint16(id), binary.BigEndian.Uint16(id[2:])
	src, dst := netip.AddrFrom16([16]byte(id[4:20])), netip.AddrFrom16([16]byte(id[20:36]))
	if b[0] == unix.AF_INET {
		src, dst = netip.AddrFrom4([4]byte(id[4:8])), netip.AddrFrom4([4]byte(id[20:24]))
	}
	return sock{
		src: netip.AddrPortFrom(src.Unmap(), sport), dst: netip.AddrPortFrom(dst.Unmap(), dport),
		cookie: uint64(ne.Uint32(id[40:])) | uint64(ne.Uint32(id[44:]))<<32,
		uid:    ne.Uint32(b[64:]), inode: ne.Uint32(b[68:]),
	}, true
}
