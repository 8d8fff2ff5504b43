package netenv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// links is what a namespace tells of its interfaces: a netlink socket that
// costs a file descriptor and, while nothing happens, no buffer.
type links struct {
	file *os.File
	raw  syscall.RawConn
	once sync.Once
	shut atomic.Bool // a raw connection has no error of its own for that
}

// linkBuffers are shared by all: a message is a few kilobytes, a dump comes in
// parts of 32.
var linkBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// newLinks begins to listen in a namespace.
func newLinks(namespace string) (*links, error) {
	var l *links
	err := Within(namespace, func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
		if err != nil {
			return os.NewSyscallError("netlink socket", err)
		}
		if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK}); err != nil {
			return errors.Join(os.NewSyscallError("netlink bind", err), unix.Close(fd))
		}
		f := os.NewFile(uintptr(fd), "netlink")
		raw, err := f.SyscallConn()
		if err != nil {
			return errors.Join(err, f.Close())
		}
		l = &links{file: f, raw: raw}
		return nil
	})
	return l, err
}

// close makes each return.
func (l *links) close() {
	l.once.Do(func() {
		l.shut.Store(true)
		_ = l.file.Close()
	})
}

// dump asks for all interfaces.
func (l *links) dump() error {
	msg := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(msg, uint32(len(msg)))
	binary.NativeEndian.PutUint16(msg[4:], unix.RTM_GETLINK)
	binary.NativeEndian.PutUint16(msg[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	var inner error
	err := l.raw.Control(func(fd uintptr) {
		inner = unix.Sendto(int(fd), msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	})
	return errors.Join(err, inner)
}

// each calls f with every interface, and with every one that comes, goes, is
// set up or down or is called otherwise, until close; and listed when a list is
// complete. Only an interface that is set up is there: on another nothing can
// be received, and of what was put on it a part is lost.
//
// When the kernel had to drop messages it says so; then all are listed anew.
func (l *links) each(f func(index int32, name string, there bool), listed func()) error {
	defer l.close()
	if err := l.dump(); err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	names := map[int32]string{} // all that were told to be there
	seen := map[int32]bool{}    // in the present list; nil: none under way
	again := false              // something was missed since the list began
	handle := func(m syscall.NetlinkMessage) error {
		again = again || m.Header.Flags&unix.NLM_F_DUMP_INTR != 0
		switch m.Header.Type {
		case unix.NLMSG_ERROR:
			return errors.New("netlink: the kernel refuses to list interfaces")
		case unix.NLMSG_DONE:
			if again {
				again, seen = false, map[int32]bool{}
				return l.dump()
			}
			for index, name := range names {
				if !seen[index] {
					delete(names, index)
					f(index, name, false)
				}
			}
			seen = nil
			listed()
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			index, name, up, ok := linkOf(m)
			if !ok {
				return nil
			}
			if m.Header.Type == unix.RTM_DELLINK || !up {
				delete(names, index)
				f(index, name, false)
				return nil
			}
			names[index] = name
			if seen != nil {
				seen[index] = true
			}
			f(index, name, true)
		}
		return nil
	}
	for {
		err := l.receive(handle)
		switch {
		case err == nil:
		case l.shut.Load():
			return nil
		case errors.Is(err, unix.ENOBUFS) && seen != nil:
			again = true
		case errors.Is(err, unix.ENOBUFS):
			seen = map[int32]bool{}
			if err := l.dump(); err != nil {
				return fmt.Errorf("list interfaces: %w", err)
			}
		default:
			return err
		}
	}
}

// receive waits for a packet and hands on the messages in it.
func (l *links) receive(handle func(syscall.NetlinkMessage) error) error {
	var result error
	err := l.raw.Read(func(fd uintptr) bool {
		b := linkBuffers.Get().(*[32 << 10]byte)
		defer linkBuffers.Put(b)
		n, _, err := unix.Recvfrom(int(fd), b[:], 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			return false
		}
		if err != nil {
			result = err
			return true
		}
		messages, err := syscall.ParseNetlinkMessage(b[:n])
		if err != nil {
			result = fmt.Errorf("read what netlink tells: %w", err)
			return true
		}
		for _, m := range messages {
			if result = handle(m); result != nil {
				return true
			}
		}
		return true
	})
	return errors.Join(err, result)
}

// linkOf reads the index and the name of an interface, and whether it is up.
func linkOf(m syscall.NetlinkMessage) (index int32, name string, up, ok bool) {
	// Messages of bridges about their ports have the same type.
	if len(m.Data) < unix.SizeofIfInfomsg || m.Data[0] != unix.AF_UNSPEC {
		return 0, "", false, false
	}
	index = int32(binary.NativeEndian.Uint32(m.Data[4:]))
	up = binary.NativeEndian.Uint32(m.Data[8:])&unix.IFF_UP != 0
	attrs, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil {
		return 0, "", false, false
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.IFLA_IFNAME {
			return index, unix.ByteSliceToString(a.Value), up, true
		}
	}
	return 0, "", false, false
}
