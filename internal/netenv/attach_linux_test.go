package netenv_test

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"openimds/internal/netenv"
	"openimds/internal/testnet"
)

var (
	ec2Address  = netip.MustParseAddr("169.254.169.254")
	ecsAddress  = netip.MustParseAddr("100.100.100.200")
	ec2Address6 = netip.MustParseAddr("fd00:ec2::254")
	ecsAddress6 = netip.MustParseAddr("fd00:100::100:200")
)

func attacher(t *testing.T, dir string) *netenv.Attacher {
	t.Helper()
	var log bytes.Buffer
	a, err := netenv.OpenAttacher(netenv.Attaching{Journal: dir, Logger: testnet.Logger(&log, nil)})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// state is everything that an Attacher might have changed in a namespace.
func state(t *testing.T, ns *testnet.Namespace) string {
	t.Helper()
	var b strings.Builder
	for _, line := range []string{"-o addr", "-6 -o addr", "rule", "-6 rule", "route show table all", "-6 route show table all"} {
		out, err := ns.Exec(t.Context(), nil, "ip", strings.Fields(line)...)
		if err != nil {
			t.Fatalf("ip %s: %v", line, err)
		}
		b.WriteString(out)
	}
	out, err := ns.Exec(t.Context(), nil, "sh", "-c", `cd /proc/sys/net && grep -rs . ipv4/conf ipv6/conf | grep -v stable_secret | sort`)
	if err != nil {
		t.Fatal(err, out)
	}
	return b.String() + out
}

// differences are the lines that one text has and the other has not.
func differences(before, after string) string {
	var b strings.Builder
	count := map[string]int{}
	for line := range strings.Lines(before) {
		count[line]++
	}
	for line := range strings.Lines(after) {
		if count[line]--; count[line] < 0 {
			b.WriteString("+ " + line)
		}
	}
	for line, n := range count {
		if n > 0 {
			b.WriteString("- " + line)
		}
	}
	return b.String()
}

// bed is a host with two guests behind two taps, which have the same
// addresses.
type bed struct {
	host   *testnet.Namespace
	guests []*testnet.Namespace
}

func (b *bed) tap(i int) netenv.Place {
	return netenv.Place{Namespace: b.host.Path, Interface: []string{"tap0", "tap1"}[i]}
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{host: testnet.NewNamespace(t)}
	b.host.NoDAD(t)
	for i := range 2 {
		g := testnet.NewNamespace(t)
		g.NoDAD(t)
		b.guests = append(b.guests, g)
		testnet.Veth(t, b.host, b.tap(i).Interface, g, "eth0")
		g.IP(t, "addr add 10.0.0.5/24 dev eth0", "addr add 2001:db8::5/64 dev eth0",
			"route add default via 10.0.0.1", "route add 169.254.169.254 dev eth0", "route add 100.100.100.200 dev eth0",
			"-6 route add fd00::/16 dev eth0")
	}
	for i := range b.guests {
		settle(t, b.host, b.tap(i).Interface)
	}
	return b
}

// settle waits until an interface has its link-local address for good,
// which is some time after the other end is up.
func settle(t *testing.T, ns *testnet.Namespace, name string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		out, err := ns.Exec(t.Context(), nil, "ip", "-6", "addr", "show", "dev", name, "scope", "link")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out, "fe80:") && !strings.Contains(out, "tentative") {
			return
		}
	}
	t.Fatalf("%s has no link-local address", name)
}

// Guests with one address reach listeners on their own interfaces, whatever
// the kernel is set to; afterwards nothing is left.
func TestAttach(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  map[string]string
	}{
		{"as it comes", nil},
		{"strict", map[string]string{"net/ipv4/conf/all/rp_filter": "1", "net/ipv4/conf/tap0/rp_filter": "1", "net/ipv4/conf/all/arp_ignore": "1", "net/ipv4/conf/all/arp_announce": "2"}},
		{"without IPv6", map[string]string{"net/ipv6/conf/tap0/disable_ipv6": "1", "net/ipv6/conf/tap1/disable_ipv6": "1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			for name, value := range tt.set {
				b.host.Sysctl(t, name, value)
			}
			before := state(t, b.host)
			a := attacher(t, t.TempDir())
			addresses := map[netip.Addr]string{ec2Address: metadata, ecsAddress: "100.100.100.200:80", ec2Address6: "[fd00:ec2::254]:80", ecsAddress6: "[fd00:100::100:200]:80"}
			for i := range b.guests {
				for addr, listener := range addresses {
					if err := a.Attach(b.tap(i), addr); err != nil {
						t.Fatal(err)
					}
					listen(t, b.tap(i).Interface, netenv.Spec{Place: b.tap(i), Address: listener})
				}
			}
			for i, g := range b.guests {
				for _, listener := range addresses {
					if got := hear(t, g, netip.AddrPort{}, listener); got != b.tap(i).Interface {
						t.Errorf("behind %s, %s is %q", b.tap(i).Interface, listener, got)
					}
				}
			}
			out, err := b.host.Exec(t.Context(), nil, "ip", "route", "get", "8.8.8.8")
			if err == nil {
				t.Errorf("the host has a way out that it had not: %s", out)
			}
			for i := range b.guests {
				for addr := range addresses {
					if err := a.Detach(b.tap(i), addr); err != nil {
						t.Fatal(err)
					}
				}
			}
			if d := differences(before, state(t, b.host)); d != "" && tt.name != "without IPv6" {
				t.Errorf("not as before:\n%s", d)
			} else if strings.Contains(d, "disable_ipv6") || strings.Contains(d, "accept_ra") || strings.Contains(d, "fd00") || strings.Contains(d, "lookup") {
				t.Errorf("not as before:\n%s", d)
			}
			entries, err := os.ReadDir(a.Journal)
			if err != nil || len(entries) > 0 {
				t.Errorf("the journal has %v, %v", entries, err)
			}
		})
	}
}

// What a process did that ended without a word is taken back by another; what
// was there before, and what somebody has changed since, is left alone.
func TestCleanup(t *testing.T) {
	b := newBed(t)
	b.host.IP(t, "addr add 169.254.169.254/32 dev tap1")
	b.host.Sysctl(t, "net/ipv4/conf/tap0/rp_filter", "1")
	b.host.Sysctl(t, "net/ipv4/conf/tap1/rp_filter", "1")
	before := state(t, b.host)
	dir := t.TempDir()
	crashed := attacher(t, dir)
	for i := range 2 {
		if err := crashed.Attach(b.tap(i), ec2Address); err != nil {
			t.Fatal(err)
		}
	}
	during := state(t, b.host)
	for _, want := range []string{"inet 169.254.169.254/32 scope link noprefixroute tap0", "from 169.254.169.254 lookup 169254"} {
		if !strings.Contains(during, want) {
			t.Errorf("nothing is %q:\n%s", want, differences(before, during))
		}
	}
	b.host.Sysctl(t, "net/ipv4/conf/tap1/rp_filter", "0")

	// The next one takes over tap0 and knows nothing of tap1.
	a := attacher(t, dir)
	if err := a.Attach(b.tap(0), ec2Address); err != nil {
		t.Fatal(err)
	}
	if err := a.Cleanup(); err != nil {
		t.Fatal(err)
	}
	listen(t, "here", netenv.Spec{Place: b.tap(0), Address: metadata})
	if got := hear(t, b.guests[0], netip.AddrPort{}, metadata); got != "here" {
		t.Errorf("what is in use was cleaned up: %q", got)
	}
	if err := a.Detach(b.tap(0), ec2Address); err != nil {
		t.Fatal(err)
	}
	d := differences(before, state(t, b.host))
	if want := "- ipv4/conf/tap1/rp_filter:1\n"; !strings.Contains(d, "+ ipv4/conf/tap1/rp_filter:0\n") || !strings.Contains(d, want) || strings.Count(d, "\n") != 2 {
		t.Errorf("want only what was changed by others, got\n%s", d)
	}
	if again := attacher(t, dir); again.Cleanup() != nil {
		t.Error("a second cleanup fails")
	}
}

// An interface that is gone, or that another has the name of, is no trouble.
func TestDetachGone(t *testing.T) {
	b := newBed(t)
	a := attacher(t, t.TempDir())
	for i := range 2 {
		if err := a.Attach(b.tap(i), ec2Address); err != nil {
			t.Fatal(err)
		}
	}
	b.host.IP(t, "link delete tap0", "link add tap0 up type veth peer name other", "addr add 169.254.169.254/32 dev tap0")
	if err := a.Detach(b.tap(0), ec2Address); err != nil {
		t.Fatal(err)
	}
	if s := state(t, b.host); !strings.Contains(s, "169.254.169.254/32 scope global tap0") || !strings.Contains(s, "lookup 169254") {
		t.Errorf("the new interface lost its own address, or the other its rule:\n%s", s)
	}
	b.host.IP(t, "link delete tap1")
	if err := a.Detach(b.tap(1), ec2Address); err != nil {
		t.Fatal(err)
	}
	if s := state(t, b.host); strings.Contains(s, "lookup 169254") {
		t.Errorf("a rule is left:\n%s", s)
	}
	if err := a.Attach(b.tap(1), ec2Address); err == nil {
		t.Error("attached to nothing")
	}
}

// TestHelperKilled is run by the test after it, and killed.
func TestHelperKilled(t *testing.T) {
	path, dir, ok := strings.Cut(os.Getenv("NETENV_HELPER"), " ")
	if !ok {
		return
	}
	a := attacher(t, dir)
	for _, addr := range []netip.Addr{ec2Address, ec2Address6} {
		if err := a.Attach(netenv.Place{Namespace: path, Interface: "tap0"}, addr); err != nil {
			t.Fatal(err)
		}
	}
	p, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Kill()
	select {}
}

func TestKilled(t *testing.T) {
	b := newBed(t)
	before := state(t, b.host)
	dir := filepath.Join(t.TempDir(), "journal")
	cmd := testnet.Server("/proc/self/exe", "-test.run=^TestHelperKilled$")
	cmd.Env = append(testnet.Environ(), "NETENV_HELPER="+b.host.Path+" "+dir)
	if out, err := cmd.CombinedOutput(); err == nil || len(out) > 0 {
		t.Fatalf("%v\n%s", err, out)
	}
	if state(t, b.host) == before {
		t.Fatal("nothing was attached")
	}
	if err := attacher(t, dir).Cleanup(); err != nil {
		t.Fatal(err)
	}
	if d := differences(before, state(t, b.host)); d != "" {
		t.Errorf("not as before:\n%s", d)
	}
}

func TestDamagedJournal(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tap0@e3b0c44298fc.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := netenv.OpenAttacher(netenv.Attaching{Journal: dir}); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("got %v", err)
	}
}

// A process that hands over takes nothing from its successor.
func TestLeave(t *testing.T) {
	b := newBed(t)
	dir := t.TempDir()
	old := attacher(t, dir)
	if err := old.Attach(b.tap(0), ec2Address); err != nil {
		t.Fatal(err)
	}
	next := attacher(t, dir)
	if err := next.Attach(b.tap(0), ec2Address); err != nil {
		t.Fatal(err)
	}
	old.Leave()
	if err := old.Detach(b.tap(0), ec2Address); err != nil {
		t.Fatal(err)
	}
	listen(t, "here", netenv.Spec{Place: b.tap(0), Address: metadata})
	if got := hear(t, b.guests[0], netip.AddrPort{}, metadata); got != "here" {
		t.Errorf("it is %q", got)
	}
	if err := next.Detach(b.tap(0), ec2Address); err != nil {
		t.Fatal(err)
	}
	if s := state(t, b.host); strings.Contains(s, "169.254.169.254") {
		t.Error("the successor did not take it back")
	}
}
