package wire

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// control defers the accepting of a connection until its first bytes are
// there: one wake-up and one system call less for each. A client that
// stays silent is handed over when the kernel has sent its SYN-ACK once more.
// What it sets holds for accepted connections, too.
func control(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		// Where these cannot be had, everything works without them.
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_DEFER_ACCEPT, 1)
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	})
}

// Listener is a listener that gives its connections as bare descriptors, for
// which net's has no way.
type Listener struct {
	file *os.File
	raw  syscall.RawConn
	addr net.Addr
	shut atomic.Bool // the errors of raw do not tell
}

// own takes a listener over.
func own(ln net.Listener) (net.Listener, error) {
	defer ln.Close() // its descriptor is duplicated
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("listen on %s: it is not TCP", ln.Addr())
	}
	file, err := tcp.File()
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", ln.Addr(), err)
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Listener{file: file, raw: raw, addr: ln.Addr()}, nil
}

// Adopt makes a listener of a listening socket that the process was given. It
// takes the file over.
func Adopt(file *os.File) (net.Listener, error) {
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("take over a listening socket: %w", err), file.Close())
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	return own(ln)
}

// Addr returns the address.
func (l *Listener) Addr() net.Addr { return l.addr }

// SyscallConn gives access to the socket.
func (l *Listener) SyscallConn() (syscall.RawConn, error) { return l.raw, nil }

// Close stops listening.
func (l *Listener) Close() error {
	l.shut.Store(true)
	return l.file.Close()
}

// Accept waits for a connection.
func (l *Listener) Accept() (net.Conn, error) {
	a := acceptor{local: addrPort(l.addr)}
	fd := -1
	err := l.raw.Read(func(listener uintptr) bool {
		var errno syscall.Errno
		fd, errno = a.accept(listener)
		if errno != 0 && errno != syscall.EAGAIN {
			a.err = fmt.Errorf("accept4: %w", errno)
		}
		return errno != syscall.EAGAIN
	})
	if err = errors.Join(l.closed(err), a.err); err != nil {
		return nil, err
	}
	return &inlineConn{fd: fd, file: os.NewFile(uintptr(fd), "tcp"), peer: a.peer(), local: a.localOf(fd)}, nil
}

// closed gives the end of a listener the error that net has for it.
func (l *Listener) closed(err error) error {
	if err != nil && l.shut.Load() {
		return net.ErrClosed
	}
	return err
}

// acceptor is one goroutine that accepts.
type acceptor struct {
	s     *Server
	tag   any
	local netip.AddrPort // of the listener
	err   error
	// The address of a client, as the kernel writes it.
	name syscall.RawSockaddrAny
	size uint32
}

// accept accepts one connection, if there is one.
func (a *acceptor) accept(listener uintptr) (int, syscall.Errno) {
	for {
		a.size = syscall.SizeofSockaddrAny
		fd, _, errno := syscall.RawSyscall6(syscall.SYS_ACCEPT4, listener,
			uintptr(unsafe.Pointer(&a.name)), uintptr(unsafe.Pointer(&a.size)), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0, 0)
		if errno != syscall.EINTR && errno != syscall.ECONNABORTED {
			return int(fd), errno
		}
	}
}

// peer returns the client's address.
func (a *acceptor) peer() netip.AddrPort {
	switch a.name.Addr.Family {
	case syscall.AF_INET:
		n := (*syscall.RawSockaddrInet4)(unsafe.Pointer(&a.name))
		return netip.AddrPortFrom(netip.AddrFrom4(n.Addr), hostOrder(&n.Port))
	case syscall.AF_INET6:
		n := (*syscall.RawSockaddrInet6)(unsafe.Pointer(&a.name))
		return netip.AddrPortFrom(netip.AddrFrom16(n.Addr).Unmap(), hostOrder(&n.Port))
	}
	return netip.AddrPort{}
}

// hostOrder reads a port, which is in network order whatever the machine's.
func hostOrder(port *uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(port))
	return uint16(b[0])<<8 | uint16(b[1])
}

// localOf returns the server's end of a connection.
func (a *acceptor) localOf(fd int) netip.AddrPort {
	if !a.local.Addr().IsUnspecified() {
		return a.local
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return a.local
	}
	switch n := name.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(n.Addr), uint16(n.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(n.Addr).Unmap(), uint16(n.Port))
	}
	return a.local
}
