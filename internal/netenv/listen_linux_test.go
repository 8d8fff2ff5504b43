package netenv_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"openimds/internal/netenv"
	"openimds/internal/testnet"
	"openimds/internal/wire"
)

const metadata = "169.254.169.254:80"

// listen opens a listener that says its name to everybody, until the test
// ends.
func listen(t *testing.T, name string, s netenv.Spec) net.Listener {
	t.Helper()
	ln, err := netenv.Listen(t.Context(), s, wire.Listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 1)) // else the close would be a reset
				_, _ = io.WriteString(c, name)
			}()
		}
	}()
	return ln
}

// hear connects and returns what the listener says.
func hear(t *testing.T, from *testnet.Namespace, source netip.AddrPort, to string) string {
	t.Helper()
	c, err := from.Dial(source, to)
	// The kernel makes the route of a new address of IPv6 a moment later.
	for end := time.Now().Add(5 * time.Second); errors.Is(err, unix.ENETUNREACH) && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
		c, err = from.Dial(source, to)
	}
	if err != nil {
		t.Fatalf("connect to %s: %v", to, err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "x"); err != nil { // accepting is deferred
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func inode(t *testing.T) string {
	t.Helper()
	s, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestListenInNamespace(t *testing.T) {
	before := inode(t)
	blue, red := testnet.NewNamespace(t), testnet.NewNamespace(t)
	for _, n := range []*testnet.Namespace{blue, red} {
		n.IP(t, "addr add 169.254.169.254/32 dev lo", "addr add fd00:ec2::254/128 dev lo nodad")
	}
	for _, address := range []string{metadata, "[fd00:ec2::254]:80"} {
		listen(t, "blue", netenv.Spec{Place: netenv.Place{Namespace: blue.Path}, Address: address})
		listen(t, "red", netenv.Spec{Place: netenv.Place{Namespace: red.Path}, Address: address})
		if got := hear(t, blue, netip.AddrPort{}, address); got != "blue" {
			t.Errorf("in blue, %s is %q", address, got)
		}
		if got := hear(t, red, netip.AddrPort{}, address); got != "red" {
			t.Errorf("in red, %s is %q", address, got)
		}
	}
	if now := inode(t); now != before {
		t.Errorf("the thread was in %s and is in %s", before, now)
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, th := range threads {
		ns, err := os.Readlink("/proc/self/task/" + th.Name() + "/ns/net")
		if err == nil && ns != before {
			t.Logf("thread %s is in %s", th.Name(), ns) // those of the fixture, which end by themselves
		}
	}
}

// Two guests have one address and, at the same time, one port: they are told
// apart by the interface alone.
func TestListenOnInterface(t *testing.T) {
	host := testnet.NewNamespace(t)
	guests := map[string]*testnet.Namespace{"tap0": testnet.NewNamespace(t), "tap1": testnet.NewNamespace(t)}
	for name, g := range guests {
		testnet.Veth(t, host, name, g, "eth0")
		host.IP(t, "addr add 169.254.169.254/32 dev "+name)
		g.IP(t, "addr add 10.0.0.5/24 dev eth0", "route add 169.254.169.254 dev eth0")
		listen(t, name, netenv.Spec{Place: netenv.Place{Namespace: host.Path, Interface: name}, Address: metadata})
	}
	same := netip.MustParseAddrPort("10.0.0.5:40000")
	var open []net.Conn
	for _, g := range guests {
		c, err := g.Dial(same, metadata)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	i := 0
	for name := range guests {
		_ = name
		if _, err := io.WriteString(open[i], "x"); err != nil {
			t.Fatal(err)
		}
		i++
	}
	for name, g := range guests {
		if got := hear(t, g, netip.AddrPort{}, metadata); got != name {
			t.Errorf("behind %s answers %q", name, got)
		}
	}
}

// Plain TCP: with multipath TCP a hop limit would be set on one of many flows.
func TestPlainTCP(t *testing.T) {
	ns := testnet.NewNamespace(t)
	ln := listen(t, "x", netenv.Spec{Place: netenv.Place{Namespace: ns.Path}, Address: "127.0.0.1:0"})
	raw, err := ln.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		for name, opt := range map[string][3]int{
			"protocol":        {unix.SOL_SOCKET, unix.SO_PROTOCOL, unix.IPPROTO_TCP},
			"free bind":       {unix.IPPROTO_IP, unix.IP_FREEBIND, 1},
			"keep-alive":      {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0},
			"deferred accept": {unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 1},
		} {
			if got, err := unix.GetsockoptInt(int(fd), opt[0], opt[1]); err != nil || got != opt[2] {
				t.Errorf("%s: %d, %v; want %d", name, got, err, opt[2])
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestListenRefused(t *testing.T) {
	ns := testnet.NewNamespace(t)
	in := func(iface, address string) netenv.Spec {
		return netenv.Spec{Place: netenv.Place{Namespace: ns.Path, Interface: iface}, Address: address}
	}
	listen(t, "x", in("", "127.0.0.1:80"))
	for _, tt := range []struct {
		name string
		spec netenv.Spec
		is   error
		says string
	}{
		{"no namespace", netenv.Spec{Place: netenv.Place{Namespace: "openimds-test-none"}, Address: metadata}, netenv.ErrNoNamespace, "/run/netns/openimds-test-none"},
		{"a file", netenv.Spec{Place: netenv.Place{Namespace: "/proc/self/ns/uts"}, Address: metadata}, nil, "/proc/self/ns/uts is no network namespace"},
		{"no interface", in("tap7", metadata), netenv.ErrNoInterface, "interface tap7"},
		{"taken", in("lo", "127.0.0.1:80"), syscall.EADDRINUSE, "listen on 127.0.0.1:80, interface lo in namespace " + ns.Path + ": the address is taken"},
		{"a name", in("", "localhost:80"), nil, `"localhost" is no IP address`},
		{"not there", netenv.Spec{Address: "192.0.2.1:80"}, syscall.EADDRNOTAVAIL, "no interface has the address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ln, err := netenv.Listen(t.Context(), tt.spec, wire.Listen)
			if err == nil {
				ln.Close()
				t.Fatal("it listens")
			}
			if tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want one that says %q", err, tt.says)
			}
		})
	}
}

// A packet that has come too far does not reach the listener.
func TestMinTTL(t *testing.T) {
	host, guest := testnet.NewNamespace(t), testnet.NewNamespace(t)
	for _, n := range []*testnet.Namespace{host, guest} {
		n.NoDAD(t)
	}
	testnet.Veth(t, host, "tap0", guest, "eth0")
	host.IP(t, "addr add 10.0.0.1/24 dev tap0", "addr add 2001:db8::1/64 dev tap0")
	guest.IP(t, "addr add 10.0.0.5/24 dev eth0", "addr add 2001:db8::5/64 dev eth0")
	for _, address := range []string{"10.0.0.1:80", "[2001:db8::1]:80"} {
		listen(t, "here", netenv.Spec{Place: netenv.Place{Namespace: host.Path, Interface: "tap0"}, Address: address, MinTTL: 64})
		guest.Sysctl(t, "net/ipv4/ip_default_ttl", "64")
		guest.Sysctl(t, "net/ipv6/conf/eth0/hop_limit", "64")
		if got := hear(t, guest, netip.AddrPort{}, address); got != "here" {
			t.Errorf("%s: %q", address, got)
		}
		guest.Sysctl(t, "net/ipv4/ip_default_ttl", "63")
		guest.Sysctl(t, "net/ipv6/conf/eth0/hop_limit", "63")
		if c, err := guest.Dial(netip.AddrPort{}, address); err == nil {
			c.Close()
			t.Errorf("%s is reached from a hop further", address)
		}
	}
}

// TestHelperUnprivileged is run by the test after it, as nobody.
func TestHelperUnprivileged(t *testing.T) {
	path := os.Getenv("NETENV_HELPER")
	if path == "" {
		return
	}
	for _, s := range []netenv.Spec{
		{Place: netenv.Place{Namespace: path}, Address: metadata},
		{Address: "127.0.0.1:80"},
	} {
		_, err := netenv.Listen(t.Context(), s, wire.Listen)
		t.Logf("%v", err)
	}
	for _, iface := range []string{"", "tap*"} {
		over, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := netenv.Watch(over, netenv.Watching{Rule: netenv.Rule{Namespace: "/proc/1/ns/net", Interface: iface}}, func(netenv.Change) {})
		t.Logf("watching %q: %v", iface, err)
		cancel()
	}
	a, err := netenv.OpenAttacher(netenv.Attaching{Journal: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v", a.Attach(netenv.Place{Interface: "lo"}, netip.MustParseAddr("169.254.169.254")))
}

// What a capability is missing for is said, with its name.
func TestPrivileges(t *testing.T) {
	testnet.RequireIsolated(t)
	cmd := testnet.Server("/proc/self/exe", "-test.run=^TestHelperUnprivileged$", "-test.v")
	cmd.Env = append(testnet.Environ(), "NETENV_HELPER=/proc/self/ns/net", "TMPDIR=/tmp")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Dir = "/"
	var b strings.Builder
	cmd.Stdout, cmd.Stderr = &b, &b
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	out := b.String()
	for _, want := range []string{
		"CAP_SYS_ADMIN is needed to enter another network namespace",
		"CAP_NET_BIND_SERVICE is needed to listen on a port below 1024",
		"CAP_NET_ADMIN is needed to put an address on an interface",
		`watching "": look for namespace /proc/1/ns/net: CAP_SYS_PTRACE is needed to reach the network namespace of a process of another user`,
		`watching "tap*": look for namespace /proc/1/ns/net: CAP_SYS_PTRACE is needed`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing says %q:\n%s", want, out)
		}
	}
}
