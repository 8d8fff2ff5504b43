//go:build linux

// Command floor answers every read with the same bytes. It is the least that a
// server can do, accept, read, write, close, and so the floor under what a
// request can cost on a machine: it parses nothing and decides nothing.
//
// One thread waits with epoll and makes its other system calls without the
// scheduler's knowledge, so that Go adds next to nothing.
package main

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// answer has the headers and the size of the EC2 dialect's.
const answer = "HTTP/1.1 200 OK\r\n" +
	"X-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\r\n" +
	"Content-Type: text/plain\r\n" +
	"Accept-Ranges: none\r\n" +
	"Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n" +
	"Content-Length: 19\r\n" +
	"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n" +
	"Server: EC2ws\r\n"

const body = "\r\ni-0a1b2c3d4e5f60001"

func main() {
	keep := flag.String("keep", "127.0.0.1:9001", "address whose connections are kept")
	once := flag.String("once", "127.0.0.1:9002", "address whose connections are closed after one answer")
	flag.Parse()
	if err := run(*keep, *once); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

// server is the state of the loop.
type server struct {
	epoll      int
	keep, once int // listeners
	keepAnswer []byte
	onceAnswer []byte
	buf        [4096]byte
	closing    [1 << 16]bool // by file descriptor: close after the answer
}

func run(keep, once string) error {
	runtime.LockOSThread()
	debug.SetGCPercent(-1) // nothing is allocated from here on
	s := &server{
		keepAnswer: []byte(answer + body),
		onceAnswer: []byte(answer + "Connection: close\r\n" + body),
	}
	var err error
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("make an epoll instance: %w", err)
	}
	if s.keep, err = s.listen(keep); err != nil {
		return fmt.Errorf("listen on %s: %w", keep, err)
	}
	if s.once, err = s.listen(once); err != nil {
		return fmt.Errorf("listen on %s: %w", once, err)
	}
	var events [256]unix.EpollEvent
	for {
		n, err := unix.EpollWait(s.epoll, events[:], -1)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("wait for events: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			if fd := int(e.Fd); fd == s.keep || fd == s.once {
				s.accept(fd)
			} else {
				s.serve(fd)
			}
		}
	}
}

func (s *server) listen(address string) (int, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	for _, o := range [][3]int{{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}, {unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 1}} {
		if err := unix.SetsockoptInt(fd, o[0], o[1], o[2]); err != nil {
			return 0, err
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		return 0, err
	}
	if err := unix.Listen(fd, 4096); err != nil {
		return 0, err
	}
	return fd, s.watch(fd)
}

func (s *server) watch(fd int) error {
	return unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// accept takes every connection that waits. Its first request is there
// already, mostly: the listener is a deferred one.
func (s *server) accept(ln int) {
	for {
		fd, _, e := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(ln), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if e != 0 || int(fd) >= len(s.closing) {
			return
		}
		s.closing[fd] = ln == s.once
		if s.serve(int(fd)) {
			_ = s.watch(int(fd)) // else the client waits, and the benchmark fails
		}
	}
}

// serve answers what can be read, and reports whether the connection goes on.
func (s *server) serve(fd int) bool {
	n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&s.buf[0])), uintptr(len(s.buf)))
	if e == unix.EAGAIN {
		return true
	}
	open := e == 0 && n > 0
	if open {
		out, flags := s.keepAnswer, unix.MSG_NOSIGNAL
		if s.closing[fd] {
			out, flags = s.onceAnswer, unix.MSG_NOSIGNAL|unix.MSG_MORE // leaves together with the FIN
		}
		_, _, e = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&out[0])), uintptr(len(out)), uintptr(flags), 0, 0)
		open = e == 0 && !s.closing[fd]
	}
	if !open {
		_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	}
	return open
}
