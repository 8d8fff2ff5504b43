package node

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"openimds/internal/config"
	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/netenv"
	"openimds/internal/testnet"
	"openimds/internal/token"
)

func TestMain(m *testing.M) { testnet.Isolate(m) }

const (
	metadata4 = "169.254.169.254:80"
	metadata6 = "[fd00:ec2::254]:80"
)

// notes is a log that is written and read at once.
type notes struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write takes the log.
func (n *notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(b)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

// realNode is a node that listens in namespaces, until the test ends.
type realNode struct {
	*Node
	t   testing.TB
	log notes
}

func newRealNode(t testing.TB, instances ...*instance.Instance) *realNode {
	t.Helper()
	return newRealNodeWith(t, Config{}, instances...)
}

func newRealNodeWith(t testing.TB, cfg Config, instances ...*instance.Instance) *realNode {
	t.Helper()
	testnet.RequireIsolated(t)
	s, err := token.NewSecrets(time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := &realNode{t: t}
	log := testnet.Logger(&r.log, nil)
	a, err := netenv.OpenAttacher(netenv.Attaching{Journal: t.TempDir(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Ring, cfg.Attacher, cfg.Logger = token.NewRing(s), a, log
	r.Node = New(cfg)
	if err := r.Set(instances); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.Shutdown(ctx); err != nil {
			t.Errorf("shut down: %v", err)
		}
		if t.Failed() {
			t.Logf("the node's log:\n%s", r.log.String())
		}
	})
	return r
}

// follow runs Follow until the test ends.
func (r *realNode) follow(l Listener) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Follow(ctx, l) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("follow %s: %v", l.place(), err)
		}
	})
}

// wait waits until so many interfaces are listened on.
func (r *realNode) wait(interfaces int) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if len(r.Interfaces()) == interfaces {
			return
		}
	}
	r.t.Fatalf("listening on %v, want %d interfaces", r.Interfaces(), interfaces)
}

// attached makes an instance whose interface ends at a place.
func attached(id string, at netenv.Place, mac string, addresses ...string) *instance.Instance {
	in := config.Samples()[0]
	for _, s := range config.Samples() {
		if s.Dialect == "ec2" && s.Metadata.HTTPTokens == instance.Optional && len(s.Primary().IPv4) > 0 {
			in = s
			break
		}
	}
	in.ID, in.Sources = id, nil
	in.Metadata.HTTPProtocolIPv6 = instance.Enabled
	f := in.Interfaces[0]
	f.IPv4, f.IPv6, f.Public, f.Subnet.IPv4, f.Subnet.IPv6 = nil, nil, nil, netip.Prefix{}, nil
	for _, s := range addresses {
		if a := netip.MustParseAddr(s); a.Is4() {
			f.IPv4 = append(f.IPv4, a)
		} else {
			f.IPv6 = append(f.IPv6, a)
		}
	}
	f.MAC = mac
	f.Attachment = instance.Attachment{Namespace: at.Namespace, Interface: at.Interface}
	in.Interfaces = []instance.Interface{f}
	return in
}

// plug connects a guest to the host's interface at a place, with an address of
// each family.
func plug(t testing.TB, host, guest *testnet.Namespace, name, mac string, addresses ...string) {
	t.Helper()
	guest.NoDAD(t)
	testnet.Veth(t, host, name, guest, "eth0")
	guest.IP(t, "link set eth0 down", "link set eth0 address "+mac, "link set eth0 up")
	for _, a := range addresses {
		guest.IP(t, "addr add "+a+" dev eth0"+nodad(a))
	}
	guest.IP(t, "route add default dev eth0", "-6 route add default dev eth0 metric 10")
}

// client asks from a namespace, over one connection.
type client struct {
	*net.TCPConn
	r    *bufio.Reader
	wait time.Duration // for an answer
}

func connect(t testing.TB, from *testnet.Namespace, source, to string) *client {
	t.Helper()
	var src netip.AddrPort
	if source != "" {
		src = netip.AddrPortFrom(netip.MustParseAddr(source), 0)
	}
	c, err := from.Dial(src, to)
	if err != nil {
		t.Fatalf("connect to %s from %q: %v", to, source, err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return newClient(c)
}

func newClient(c *net.TCPConn) *client { return &client{c, bufio.NewReader(c), time.Second} }

// ask sends a request and returns status and body. The error is that of the
// network.
func (c *client) ask(line string, headers ...string) (int, string, error) {
	text := line + " HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: keep-alive\r\n"
	for _, h := range headers {
		text += h + "\r\n"
	}
	if err := c.SetDeadline(time.Now().Add(c.wait)); err != nil {
		return 0, "", err
	}
	if _, err := io.WriteString(c, text+"\r\n"); err != nil {
		return 0, "", err
	}
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

const (
	whoAmI   = "GET /latest/meta-data/instance-id"
	getToken = "PUT /latest/api/token"
	ttl      = "X-aws-ec2-metadata-token-ttl-seconds: 60"
)

func (c *client) want(t testing.TB, status int, body string, line string, headers ...string) {
	t.Helper()
	got, text, err := c.ask(line, headers...)
	if err != nil || got != status || text != body {
		t.Errorf("%s: %d %q, %v; want %d %q", line, got, text, err, status, body)
	}
}

// twins is a host with two guests that have one address.
type twins struct {
	*realNode
	host   *testnet.Namespace
	guests [2]*testnet.Namespace
}

const (
	macA = "02:00:00:00:00:0a"
	macB = "02:00:00:00:00:0b"
)

var twinIDs = [2]string{"i-0000000000000000a", "i-0000000000000000b"}

func newTwins(t testing.TB) *twins {
	t.Helper()
	w := &twins{host: testnet.NewNamespace(t)}
	w.host.NoDAD(t)
	var instances []*instance.Instance
	for i, mac := range []string{macA, macB} {
		name := fmt.Sprintf("tap%d", i)
		w.guests[i] = testnet.NewNamespace(t)
		plug(t, w.host, w.guests[i], name, mac, "10.0.0.5/24", "2001:db8::5/64", "10.0.0.66/24")
		at := netenv.Place{Namespace: w.host.Path, Interface: name}
		instances = append(instances, attached(twinIDs[i], at, mac, "10.0.0.5", "2001:db8::5"))
	}
	w.realNode = newRealNode(t, instances...)
	for _, a := range []string{metadata4, metadata6} {
		w.follow(Listener{Dialect: "ec2", Address: a, Namespace: w.host.Path, Interface: "tap*", Attach: true})
	}
	w.wait(2)
	return w
}

// SEC-61: two guests have one address and are two instances, whatever the
// order of their requests.
func TestOneAddressTwoGuests(t *testing.T) {
	w := newTwins(t)
	time.Sleep(50 * time.Millisecond) // both families
	const each = 1250
	var wg sync.WaitGroup
	for i, g := range w.guests {
		for _, address := range []string{metadata4, metadata6} {
			for range 2 {
				wg.Go(func() {
					var c *client
					for k := range each {
						if k%5 == 0 { // on reused connections and on new ones
							if c != nil {
								_ = c.Close()
							}
							c = connect(t, g, "", address)
						}
						got, body, err := c.ask(whoAmI)
						if err != nil || got != 200 || body != twinIDs[i] {
							t.Errorf("guest %d, %s, request %d: %d %q, %v", i, address, k, got, body, err)
							return
						}
					}
				})
			}
		}
	}
	wg.Wait()
	for _, id := range twinIDs {
		if u, err := w.Usage(id); err != nil || u.TokenFreeServed != 4*each {
			t.Errorf("%s: %+v, %v; want %d requests", id, u, err, 4*each)
		}
	}
	if s := w.Stats(); s.Strangers != 0 || s.Spoofed != 0 {
		t.Errorf("strangers: %+v", s)
	}
}

// SEC-61: a guest that calls from an address that is not its own gets nothing,
// and it is counted where it happened.
func TestForgedAddress(t *testing.T) {
	host, a, b := testnet.NewNamespace(t), testnet.NewNamespace(t), testnet.NewNamespace(t)
	host.NoDAD(t)
	plug(t, host, a, "tap0", macA, "10.0.0.5/24", "10.0.0.6/24", "2001:db8::5/64", "2001:db8::6/64")
	plug(t, host, b, "tap1", macB, "10.0.0.6/24", "2001:db8::6/64")
	at := func(name string) netenv.Place { return netenv.Place{Namespace: host.Path, Interface: name} }
	r := newRealNode(t, attached(twinIDs[0], at("tap0"), macA, "10.0.0.5", "2001:db8::5"), attached(twinIDs[1], at("tap1"), macB, "10.0.0.6", "2001:db8::6"))
	for _, address := range []string{metadata4, metadata6} {
		r.follow(Listener{Dialect: "ec2", Address: address, Namespace: host.Path, Interface: "tap*", Attach: true})
	}
	r.wait(2)
	time.Sleep(50 * time.Millisecond)
	for _, tt := range []struct{ own, forged, to string }{
		{"10.0.0.5", "10.0.0.6", metadata4}, {"2001:db8::5", "2001:db8::6", metadata6},
	} {
		connect(t, a, tt.own, tt.to).want(t, 200, twinIDs[0], whoAmI)
		connect(t, a, tt.forged, tt.to).want(t, 404, "", whoAmI)
		connect(t, a, tt.forged, tt.to).want(t, 404, "", getToken, ttl)
		connect(t, b, tt.forged, tt.to).want(t, 200, twinIDs[1], whoAmI)
	}
	// Before it has any other address, a guest asks from the one that its
	// hardware address stands for; another link-local one is nobody's.
	if c := connect(t, a, "fe80::ff:fe00:a%eth0", metadata6); c != nil {
		c.want(t, 200, twinIDs[0], whoAmI)
	}
	a.IP(t, "addr add fe80::bad/64 dev eth0 nodad")
	connect(t, a, "fe80::bad%eth0", metadata6).want(t, 404, "", whoAmI)
	var reports []string
	for _, p := range r.Interfaces() {
		reports = append(reports, fmt.Sprintf("%s %d %v", p.Interface, p.Spoofed, p.LastSpoofed.IsZero()))
	}
	if got, want := strings.Join(reports, ", "), "tap0 5 false, tap1 0 true"; got != want {
		t.Errorf("counted %s, want %s", got, want)
	}
	if s := r.Stats(); s.Spoofed != 5 || s.Strangers != 5 {
		t.Errorf("counted %+v", s)
	}
	if log := r.log.String(); strings.Count(log, "caller refused") != 3 || !strings.Contains(log, "source=10.0.0.6 place=\"interface tap0") {
		t.Errorf("each address is told of once:\n%s", log)
	}
}

// SEC-62: a token is no good at the neighbour's, who has the same address.
func TestTokenAtTheNeighbours(t *testing.T) {
	w := newTwins(t)
	time.Sleep(50 * time.Millisecond)
	status, tok, err := connect(t, w.guests[0], "10.0.0.5", metadata4).ask(getToken, ttl)
	if err != nil || status != 200 {
		t.Fatal(status, err)
	}
	for i, g := range w.guests {
		status, body := 200, twinIDs[0]
		if i == 1 {
			status, body = 401, ""
		}
		got, text, err := connect(t, g, "10.0.0.5", metadata4).ask(whoAmI, "X-aws-ec2-metadata-token: "+tok)
		if err != nil || got != status || status == 200 && text != body {
			t.Errorf("guest %d: %d %q, %v", i, got, text, err)
		}
	}
}

// SEC-68: two networks cannot have one interface, neither by listeners nor by
// instances.
func TestTwoNetworksOneInterface(t *testing.T) {
	host := testnet.NewNamespace(t)
	at := netenv.Place{Namespace: host.Path, Interface: "lo"}
	a, b := attached(twinIDs[0], at, macA, "10.0.0.5"), attached(twinIDs[1], at, macB, "10.0.0.6")
	a.Network, b.Network = "red", "blue"
	r := newRealNode(t, a)
	err := r.Set([]*instance.Instance{a, b})
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "red") || !strings.Contains(err.Error(), "blue") || !strings.Contains(err.Error(), "interface lo") {
		t.Errorf("two instances: %v", err)
	}
	l := Listener{Dialect: "ec2", Network: "red", Address: metadata4, Namespace: host.Path, Interface: "lo"}
	e, err := r.Listen(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	l.Network, l.Dialect, l.Address = "blue", "ecs", "100.100.100.200:80"
	_, err = r.Listen(t.Context(), l)
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "networks red and blue both claim it") {
		t.Errorf("two listeners: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e, err = r.Listen(t.Context(), l)
	if err != nil {
		t.Fatalf("the interface is free again: %v", err)
	}
	_ = e.Close()
}

// A listener that names a network answers no other on its interface.
func TestListenerOfANetwork(t *testing.T) {
	host, g := testnet.NewNamespace(t), testnet.NewNamespace(t)
	plug(t, host, g, "tap0", macA, "10.0.0.5/24")
	in := attached(twinIDs[0], netenv.Place{Namespace: host.Path, Interface: "tap0"}, macA, "10.0.0.5")
	in.Network = "red"
	r := newRealNode(t, in)
	r.follow(Listener{Dialect: "ec2", Network: "blue", Address: metadata4, Namespace: host.Path, Interface: "tap0", Attach: true})
	r.wait(1)
	connect(t, g, "", metadata4).want(t, 404, "", whoAmI)
}

// A namespace is a network, and is called like it.
func TestNamespaceIsANetwork(t *testing.T) {
	dir := t.TempDir()
	blue := testnet.NewNamespace(t)
	if err := os.Symlink(blue.Path, dir+"/blue"); err != nil {
		t.Fatal(err)
	}
	blue.IP(t, "addr add 169.254.169.254/32 dev lo", "addr add 10.0.0.5/32 dev lo", "route replace local 169.254.169.254 dev lo table local src 10.0.0.5")
	in := attached(twinIDs[0], netenv.Place{}, macA, "10.0.0.5")
	in.Network = "blue"
	r := newRealNode(t, in)
	r.follow(Listener{Dialect: "ec2", Address: metadata4, Namespace: dir + "/b*"})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := blue.Dial(netip.MustParseAddrPort("10.0.0.5:0"), metadata4)
		if err == nil {
			newClient(c).want(t, 200, twinIDs[0], whoAmI)
			_ = c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// SEC-70: the kernel knows another hardware address for the caller than the record: it
// is not the instance.
func TestHardwareAddress(t *testing.T) {
	host, g := testnet.NewNamespace(t), testnet.NewNamespace(t)
	host.NoDAD(t)
	plug(t, host, g, "br0", macA, "10.0.0.5/24", "10.0.0.6/24", "2001:db8::5/64", "2001:db8::6/64")
	at := netenv.Place{Namespace: host.Path, Interface: "br0"}
	r := newRealNode(t, attached(twinIDs[0], at, macA, "10.0.0.5", "2001:db8::5"), attached(twinIDs[1], at, macB, "10.0.0.6", "2001:db8::6"))
	for _, address := range []string{metadata4, metadata6} {
		r.follow(Listener{Dialect: "ec2", Address: address, Namespace: host.Path, Interface: "br0", Attach: true, CheckMAC: true})
	}
	r.wait(1)
	time.Sleep(50 * time.Millisecond)
	for range 2 { // the second time from memory
		connect(t, g, "10.0.0.5", metadata4).want(t, 200, twinIDs[0], whoAmI)
		connect(t, g, "10.0.0.6", metadata4).want(t, 404, "", whoAmI)
		connect(t, g, "2001:db8::5", metadata6).want(t, 200, twinIDs[0], whoAmI)
		connect(t, g, "2001:db8::6", metadata6).want(t, 404, "", whoAmI)
	}
	if s := r.Stats(); s.Spoofed != 4 {
		t.Errorf("counted %+v", s)
	}
}

// What time cannot mend ends Follow at once.
func TestFollowRefused(t *testing.T) {
	r := newRealNode(t)
	for wrong, l := range map[string]Listener{
		`unknown dialect "gcp"`:     {Dialect: "gcp", Address: metadata4, Interface: "tap*"},
		`listen on "metadata:80"`:   {Dialect: "ec2", Address: "metadata:80", Interface: "tap*"},
		"pattern tap[ is not under": {Dialect: "ec2", Address: metadata4, Interface: "tap["},
		"check hardware addresses on an interface alone: name one for " + metadata4: {Dialect: "ec2", Address: metadata4, Namespace: "*", CheckMAC: true},
		"put its address on an interface alone: name one for " + metadata6:          {Dialect: "ec2", Address: metadata6, Namespace: "*", Attach: true},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := r.Follow(ctx, l)
		if ctx.Err() != nil || err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%+v: %v, want one at once that says %q", l, err, wrong)
		}
		cancel()
	}
}

// nodad makes an address of IPv6 usable at once.
func nodad(address string) string {
	if strings.Contains(address, ":") {
		return " nodad"
	}
	return ""
}

// The firewall rules of docs/operate/network.md leave metadata alone, also where
// connections are tracked and guests have one address, and close the host's
// other ports.
func TestFirewall(t *testing.T) {
	page, err := os.ReadFile("../../docs/operate/network.md")
	if err != nil {
		t.Fatal(err)
	}
	var rules strings.Builder
	for line := range strings.Lines(string(page)) {
		if rule, ok := strings.CutPrefix(line, "      nft "); ok {
			rules.WriteString("nft " + rule)
		}
	}
	if n := strings.Count(rules.String(), "nft add"); n < 8 {
		t.Fatalf("the page has %d rules", n)
	}
	w := newTwins(t)
	_, err = exec.LookPath("nft")
	testnet.Need(t, "Debian's nftables (scripts/install-test-deps)", err == nil)
	// Something tracks connections, as on most hosts.
	setUp := func(rules string) {
		t.Helper()
		if out, err := w.host.Exec(t.Context(), nil, "sh", "-ec", rules); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	setUp("nft add table inet t\nnft add chain inet t c '{ type filter hook input priority 0; }'\nnft add rule inet t c ct state invalid drop\n")
	ask := func(i int, source string, port uint16, to string) *client {
		t.Helper()
		c, err := w.guests[i].Dial(netip.AddrPortFrom(netip.MustParseAddr(source), port), to)
		if err != nil {
			t.Fatalf("guest %d, port %d: %v", i, port, err)
		}
		t.Cleanup(func() { _ = c.Close() })
		r := newClient(c)
		r.want(t, 200, twinIDs[i], whoAmI)
		return r
	}
	time.Sleep(50 * time.Millisecond) // both families
	const own4, own6 = "10.0.0.5", "2001:db8::5"
	ask(0, own4, 40000, metadata4)
	ask(0, own6, 40001, metadata6)
	for _, port := range []uint16{40000, 40001} {
		if !tracked(t, w.host, port) {
			t.Fatalf("nothing tracks the connection of port %d: there is nothing to try the rules on", port)
		}
	}
	setUp(rules.String())
	var ssh net.Listener
	err = w.host.Do(func() (err error) { ssh, err = net.Listen("tcp4", "0.0.0.0:22"); return err })
	if err != nil {
		t.Fatal(err)
	}
	defer ssh.Close()
	for _, port := range []uint16{50000, 50001, 50002} {
		for _, at := range [][2]string{{own4, metadata4}, {own6, metadata6}} {
			both := [2]*client{ask(0, at[0], port, at[1]), ask(1, at[0], port, at[1])}
			for range 3 {
				for i, c := range both {
					c.want(t, 200, twinIDs[i], whoAmI)
				}
			}
		}
		if tracked(t, w.host, port) {
			t.Errorf("a connection of port %d is tracked", port)
		}
	}
	if c, err := w.guests[0].Dial(netip.AddrPort{}, "169.254.169.254:22"); err == nil {
		_ = c.Close()
		t.Error("a guest reaches the host's other ports")
	}
}

// tracked reports whether the kernel tracks a connection from a port.
func tracked(t *testing.T, host *testnet.Namespace, port uint16) bool {
	t.Helper()
	var table []byte
	err := host.Do(func() (err error) { table, err = os.ReadFile("/proc/thread-self/net/nf_conntrack"); return err })
	testnet.Need(t, "a kernel that shows the connections that it tracks", !os.IsNotExist(err))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(table), fmt.Sprintf("sport=%d dport=80 ", port))
}
