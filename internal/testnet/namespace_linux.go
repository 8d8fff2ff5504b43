package testnet

import (
	"bytes"
	"context"
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
	var c net.Conn
	err := n.Do(func() (err error) {
		d := net.Dialer{Timeout: 3 * time.Second, FallbackDelay: -1}
		if source.Addr().IsValid() {
			d.LocalAddr = net.TCPAddrFromAddrPort(source)
		}
		c, err = d.Dial("tcp", to)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
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
