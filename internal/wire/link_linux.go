package wire

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// link is the sending side of a connection. On Linux it sends the answer and
// the end of the connection in one packet, and sets hop limits.
type link struct {
	c   *conn
	raw syscall.RawConn

	// step is link.write, bound once so that using it allocates nothing. Its
	// arguments and its result follow.
	step func(fd uintptr) bool
	out  []byte
	hop  int // wanted
	last bool
	err  error

	set int // the hop limit that the socket has; 0: the system's own
}

func (l *link) init(c *conn) {
	l.c = c
	l.step = l.write
}

func (l *link) reset() {
	l.raw, l.set, l.err = nil, 0, nil
}

// send sends an answer whose packets have the given hop limit, or the
// system's own where that is 0. After the last answer of a connection, the
// kernel may hold it back until the connection is closed or shut down. An
// inline connection that takes only a part of it returns the rest with errWait.
//
// A hop limit stays until another answer needs another one, so that it
// applies to the FIN behind the answer and to whatever is sent again (SEC-60).
func (l *link) send(out []byte, hop int, last bool) (rest []byte, err error) {
	switch {
	case l.c.inline:
	case l.c.sock == nil || !last && hop == l.set:
		_, err := l.c.nc.Write(out)
		return nil, err
	case l.raw == nil:
		if l.raw, l.err = l.c.sock.SyscallConn(); l.err != nil {
			return nil, l.err
		}
	}
	l.out, l.hop, l.last = out, hop, last
	if l.c.inline {
		if !l.write(uintptr(l.c.own.fd)) {
			rest, err = l.out, errWait
		}
	} else {
		err = l.raw.Write(l.step)
	}
	l.out = nil
	if err == nil {
		err = l.err
	}
	return rest, err
}

// write sends what it can. It is false when it is to be called again once the
// socket takes more.
func (l *link) write(fd uintptr) bool {
	if l.hop != l.set && !l.bound(int(fd)) {
		if l.err = l.setHop(int(fd)); l.err != nil {
			l.c.s.log.Error("the hop limit of an answer cannot be set; its connection is closed", "hop_limit", l.hop, "err", l.err)
			return true
		}
		l.set = l.hop
	}
	flags := syscall.MSG_NOSIGNAL
	if l.last {
		flags |= syscall.MSG_MORE
	}
	for len(l.out) > 0 {
		// It does not block, so the scheduler need not know.
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(l.out))), uintptr(len(l.out)), uintptr(flags), 0, 0)
		switch errno {
		case 0:
			l.out = l.out[n:]
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			l.err = fmt.Errorf("send an answer: %w", errno)
			return true
		}
	}
	return true
}

// bound reports whether the socket must keep the hop limit that it has, since
// an answer with it is still on its way: packets are sent again with whatever
// limit the socket has then, and a client that asks for a token and, without
// waiting, for something else would get the token after all (SEC-69). The request of a
// client that has the token acknowledges it.
func (l *link) bound(fd int) bool {
	if l.set == 0 || l.hop != 0 && l.hop <= l.set {
		return false
	}
	left, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	return err != nil || left > 0
}

// finish looks what became of an answer with a hop limit when the connection
// is about to be closed.
func (l *link) finish() {
	if l.set == 0 || l.c.x.Abort || l.c.s.ledger.tell == nil {
		return
	}
	if l.c.inline {
		l.c.s.ledger.finish(l.c.own.fd, &l.c.info, !l.c.keep)
		return
	}
	raw, err := l.c.sock.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { l.c.s.ledger.finish(int(fd), &l.c.info, !l.c.keep) }) // a closed one tells nothing
	}
}

// setHop sets the socket's hop limit to hop, or back to the system's own.
// A socket of IPv6 has both kinds; the address of the peer tells which one its
// packets carry.
func (l *link) setHop(fd int) error {
	hop := l.hop
	if hop == 0 {
		hop = -1
	}
	if l.c.info.Peer.Addr().Is4() {
		return syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, syscall.IP_TTL, hop)
	}
	return syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_UNICAST_HOPS, hop)
}
