package testnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dialTime is how long a connection may take to be made.
const dialTime = 3 * time.Second

// Namespace is a network namespace that a test made. It has no name, so that
// it ends with the process even where that is killed.
type Namespace struct {
	// Path names the namespace for every process of the machine.
	Path string
	file *os.File
}

// NewNamespace makes a namespace with its loopback interface up, until the test
// ends.
func NewNamespace(t testing.TB) *Namespace {
	t.Helper()
	RequireIsolated(t)
	type made struct {
		file *os.File
		err  error
	}
	done := make(chan made, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- made{nil, os.NewSyscallError("unshare", err)}
			return
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		if err == nil {
			err = linkUp("lo")
		}
		done <- made{f, err}
	}()
	m := <-done
	if m.err != nil {
		t.Fatalf("make a network namespace: %v", m.err)
	}
	t.Cleanup(func() { _ = m.file.Close() })
	return &Namespace{fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), m.file.Fd()), m.file}
}

// Do calls f on a thread that is in the namespace. f must not start goroutines
// that are to be there.
func (n *Namespace) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: nothing else runs on a thread that was moved
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- os.NewSyscallError("setns", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// Exec runs a command in the namespace, and returns what it wrote.
func (n *Namespace) Exec(ctx context.Context, env []string, name string, args ...string) (string, error) {
	var out bytes.Buffer
	err := n.Do(func() error {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Stdout, cmd.Stderr = &out, &out
		if env != nil {
			cmd.Env = env
		}
		return cmd.Run()
	})
	return out.String(), err
}

// IP runs `ip` with each of the lines as its arguments.
func (n *Namespace) IP(t testing.TB, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if out, err := n.Exec(t.Context(), nil, "ip", strings.Fields(line)...); err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
	}
}

// Sysctl sets a setting of the kernel in the namespace, by its path below
// /proc/sys.
func (n *Namespace) Sysctl(t testing.TB, name, value string) {
	t.Helper()
	err := n.Do(func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0) })
	if err != nil {
		t.Fatal(err)
	}
}

// Dial connects from the namespace. An invalid source is any.
func (n *Namespace) Dial(source netip.AddrPort, to string) (*net.TCPConn, error) {
	sockets, err := n.Sockets(1, source, to)
	if err != nil {
		return nil, err
	}
	return sockets[0].Connect()
}

// Socket is a socket of a namespace that is not yet connected.
type Socket struct {
	file *os.File
	to   unix.Sockaddr
	name string
}

// Sockets makes sockets that can be connected from any thread: hundreds of
// threads that have to run in turn, one for each connection, starve each
// other on a busy machine.
func (n *Namespace) Sockets(count int, source netip.AddrPort, to string) ([]Socket, error) {
	target, err := netip.ParseAddrPort(to)
	if err != nil {
		return nil, err
	}
	var all []Socket
	err = n.Do(func() error {
		for range count {
			s, err := newSocket(source, target)
			if err != nil {
				return err
			}
			all = append(all, s)
		}
		return nil
	})
	if err != nil {
		for _, s := range all {
			_ = s.file.Close() // it was never used
		}
		return nil, fmt.Errorf("dial %s: %w", to, err)
	}
	return all, nil
}

func newSocket(source, to netip.AddrPort) (Socket, error) {
	target, err := sockaddr(to)
	if err != nil {
		return Socket{}, err
	}
	family := unix.AF_INET
	if to.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Socket{}, os.NewSyscallError("socket", err)
	}
	s := Socket{os.NewFile(uintptr(fd), to.String()), target, to.String()}
	if source.IsValid() {
		from, err := sockaddr(source)
		if err == nil {
			err = os.NewSyscallError("bind", unix.Bind(fd, from))
		}
		if err != nil {
			return Socket{}, errors.Join(err, s.file.Close())
		}
	}
	return s, nil
}

// Connect makes the connection, and ends the socket otherwise.
func (s Socket) Connect() (*net.TCPConn, error) {
	defer s.file.Close() // the connection has a descriptor of its own
	if err := s.connect(); err != nil {
		return nil, fmt.Errorf("dial %s: %w", s.name, err)
	}
	c, err := net.FileConn(s.file)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

func (s Socket) connect() error {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	if err := s.file.SetWriteDeadline(time.Now().Add(dialTime)); err != nil {
		return err
	}
	started := false
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		var err error
		if !started {
			started = true
			err = unix.Connect(int(fd), s.to)
		} else if code, e := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); e != nil || code != 0 {
			err = errors.Join(e, unix.Errno(code))
		} else if _, err = unix.Getpeername(int(fd)); errors.Is(err, unix.ENOTCONN) {
			return false
		}
		if errors.Is(err, unix.EINPROGRESS) {
			return false
		}
		failed = os.NewSyscallError("connect", err)
		return true
	})
	return errors.Join(err, failed)
}

// sockaddr must be called in the namespace that has the address's zone.
func sockaddr(a netip.AddrPort) (unix.Sockaddr, error) {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, nil
	}
	at := &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	if zone := a.Addr().Zone(); zone != "" {
		i, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, err
		}
		at.ZoneId = uint32(i.Index)
	}
	return at, nil
}

// Veth connects two namespaces by a pair of interfaces, which are up.
func Veth(t testing.TB, a *Namespace, nameA string, b *Namespace, nameB string) {
	t.Helper()
	a.IP(t, fmt.Sprintf("link add %s type veth peer name %s netns %s", nameA, nameB, b.Path), "link set "+nameA+" up")
	b.IP(t, "link set "+nameB+" up")
}

// NoDAD makes addresses of the namespace's future interfaces usable at once:
// nobody looks for duplicates.
func (n *Namespace) NoDAD(t testing.TB) {
	t.Helper()
	n.Sysctl(t, "net/ipv6/conf/default/accept_dad", "0")
	n.Sysctl(t, "net/ipv6/conf/default/dad_transmits", "0")
}
