package wire

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// This is the Linux transport. Most clients open a connection for one request,
// and with deferred accept that request is there when the connection is. So
// the goroutine that accepts also reads, answers and closes, without a
// goroutine, a poll descriptor or a timer for the connection. Whatever would
// have to wait, such as for a second request, is handed on to a goroutine of
// its own, and goes on as in the portable transport.

// inlineConn is the connection of a conn that was accepted inline: a bare file
// descriptor until it is handed on, and then a file that the runtime polls.
type inlineConn struct {
	fd    int
	file  *os.File // nil: inline. Guarded by roster.mu until it is set
	peer  netip.AddrPort
	local netip.AddrPort
}

// read reads once. It returns errWait when there is nothing, and no bytes at
// the end of the stream.
func (c *inlineConn) read(b []byte) (int, error) {
	for {
		// It does not block, so the scheduler need not know.
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, errWait
		default:
			return 0, errno
		}
	}
}

// ended reports whether the client has ended its side, and nothing that it has
// sent is left to read. Of a connection that is being closed it may report
// anything.
func (c *inlineConn) ended() bool {
	var b [1]byte
	n, _, err := syscall.Recvfrom(c.fd, b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err == nil && n == 0
}

// Read is for connections that were handed on.
func (c *inlineConn) Read(b []byte) (int, error) { return c.file.Read(b) }

// Write is for connections that were handed on.
func (c *inlineConn) Write(b []byte) (int, error) { return c.file.Write(b) }

// Close closes the descriptor.
func (c *inlineConn) Close() error {
	if c.file != nil {
		return c.file.Close()
	}
	// It sends what is left and does not wait for that.
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(c.fd), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// CloseWrite ends the server's side.
func (c *inlineConn) CloseWrite() error { return syscall.Shutdown(c.fd, syscall.SHUT_WR) }

// SetLinger makes a close with 0 seconds a reset.
func (c *inlineConn) SetLinger(seconds int) error {
	return syscall.SetsockoptLinger(c.fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1, Linger: int32(seconds)})
}

// SyscallConn is for connections that were handed on.
func (c *inlineConn) SyscallConn() (syscall.RawConn, error) { return c.file.SyscallConn() }

// LocalAddr returns the server's end.
func (c *inlineConn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.local) }

// RemoteAddr returns the client's end.
func (c *inlineConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.peer) }

// SetDeadline has no effect inline, where nothing waits; nor have the others.
func (c *inlineConn) SetDeadline(t time.Time) error {
	if c.file == nil {
		return nil
	}
	return c.file.SetDeadline(t)
}

// SetReadDeadline bounds reads.
func (c *inlineConn) SetReadDeadline(t time.Time) error {
	if c.file == nil {
		return nil
	}
	return c.file.SetReadDeadline(t)
}

// SetWriteDeadline bounds writes.
func (c *inlineConn) SetWriteDeadline(t time.Time) error {
	if c.file == nil {
		return nil
	}
	return c.file.SetWriteDeadline(t)
}

// acceptInline accepts and answers connections until accepting fails. It
// reports false where the listener is another's.
func (s *Server) acceptInline(ln net.Listener, tag any) (done bool, err error) {
	l, ok := ln.(*Listener)
	if !ok || s.portable {
		return false, nil
	}
	a := acceptor{s: s, tag: tag, local: addrPort(l.addr)}
	err = l.raw.Read(a.step)
	return true, errors.Join(l.closed(err), a.err)
}

// step accepts and answers what there is. It is false when it is to be called
// again once there is more.
func (a *acceptor) step(listener uintptr) bool {
	for turn := 1; ; turn++ {
		if turn%fairTurns == 0 {
			if a.s.draining.Load() {
				return false // the listener is closed, or about to be
			}
			runtime.Gosched()
		}
		fd, errno := a.accept(listener)
		switch errno {
		case 0:
			a.s.startInline(fd, a)
		case syscall.EAGAIN:
			return false
		default:
			a.err = fmt.Errorf("accept4: %w", errno)
			return true
		}
	}
}

// startInline serves a connection as far as it goes without waiting.
func (s *Server) startInline(fd int, a *acceptor) {
	c := s.conns.Get().(*conn)
	c.own = inlineConn{fd: fd, peer: a.peer(), local: a.localOf(fd)}
	c.nc, c.sock = &c.own, &c.own
	c.info = Conn{Peer: c.own.peer, Local: c.own.local, Listener: a.tag}
	c.begin()
	c.inline, c.accepting = true, true
	if !s.roster.add(c) {
		_ = c.nc.Close() // nothing was promised to it
		c.unbind()
		s.conns.Put(c)
		return
	}
	c.serve()
	if !c.waits {
		c.end()
		return
	}
	s.roster.handOn(c)
	go c.goOn()
}

// goOn serves a connection that was handed on to its end. It waits within one
// call of the poller, which tells of whatever comes after the read that it
// follows. What came before the call it does not, so that begins with a read.
func (c *conn) goOn() {
	raw, err := c.own.file.SyscallConn()
	for err == nil && (c.rest == noRest || c.settle()) {
		c.short = false
		if err = raw.Read(c.step); !c.waits {
			break
		}
	}
	if err != nil && c.phase == inBody {
		c.late()
	}
	c.end()
}

// handOn makes an inline connection one that can wait. What it was told while
// it could not, it is told now.
func (r *roster) handOn(c *conn) {
	file := os.NewFile(uintptr(c.own.fd), "tcp")
	r.mu.Lock()
	defer r.mu.Unlock()
	c.own.file = file
	c.accepting, c.waits = false, false
	switch {
	case r.killed:
		_ = file.SetDeadline(past) // a read will tell
	case c.term.Load() == int64(expired):
		_ = file.SetDeadline(time.Now().Add(freshGrace))
	}
}
