package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"openimds/internal/testnet"
)

// Where guests ask, in every namespace and on every interface.
const (
	guests4 = "169.254.169.254:80"
	guests6 = "[fd00:ec2::254]:80"
)

// realHost is a host as it is in production: guests on taps, all of which have
// one address, others in namespaces, and a node that follows both.
type realHost struct {
	*bed
	node  *process
	where *testnet.Namespace // the taps' own end
	fixed *testnet.Namespace // of a listener that stays
	dir   string             // of the namespaces that are networks
}

// newRealHost starts a node that serves taps and namespaces by rules, by name,
// and as listeners that stay.
func newRealHost(t *testing.T, env ...string) *realHost {
	t.Helper()
	testnet.RequireIsolated(t)
	h := &realHost{bed: newBed(t), where: testnet.NewNamespace(t)}
	h.where.NoDAD(t)
	h.dir = h.path("namespaces")
	if err := os.Mkdir(h.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	h.fixed = h.network(40)
	h.imds("fleet", "certificate", "a", h.path("fleet"))
	text := fmt.Sprintf(`state: a
control: {url: "https://%s", certificate: fleet/a.crt, key: fleet/a.key, authority: fleet/authority.crt}
admin: {address: "127.0.0.1:0"}
listeners:
  - {dialect: ec2, address: %q, namespace: %q}
`, h.feed, guests4, h.dir+"/net40")
	for _, address := range []string{guests4, guests6} {
		text += fmt.Sprintf("  - {dialect: ec2, address: %q, namespace: %q, interface: \"tap*\", attach: true}\n", address, h.where.Path)
		text += fmt.Sprintf("  - {dialect: ec2, address: %q, namespace: %q, interface: br0, attach: true, checkHardwareAddress: true}\n", address, h.where.Path)
	}
	text += fmt.Sprintf("  - {dialect: ec2, address: %q, namespace: %q}\n", guests4, h.dir+"/wide*")
	h.write("a.yaml", text)
	h.node = launch(t, env, program(t, "imds-node"), "-c", h.path("a.yaml"))
	return h
}

// network makes the nth guest, which is alone in a namespace that is a network.
func (h *realHost) network(n int) *testnet.Namespace {
	h.t.Helper()
	ns, name := testnet.NewNamespace(h.t), fmt.Sprintf("net%d", n)
	if n >= 50 {
		name = fmt.Sprintf("wide%d", n)
	}
	ns.IP(h.t, "addr add 169.254.169.254/32 dev lo", "addr add 10.0.0.5/32 dev lo", "route replace local 169.254.169.254 dev lo table local src 10.0.0.5")
	if err := os.Symlink(ns.Path, h.dir+"/"+name); err != nil {
		h.t.Fatal(err)
	}
	in := document(n, "a", "m7g.large")
	in["network"], in["sources"] = name, nil
	h.place(in, "02:00:00:00:00:05", nil)
	return ns
}

// tap makes the nth guest, which is behind an interface of the host.
func (h *realHost) tap(n int, name string) *testnet.Namespace {
	h.t.Helper()
	ns := testnet.NewNamespace(h.t)
	ns.NoDAD(h.t)
	h.plug(ns, n, name)
	in := document(n, "a", "m7g.large")
	in["sources"] = nil
	h.place(in, fmt.Sprintf("02:00:00:00:00:%02x", n), map[string]any{"namespace": h.where.Path, "interface": name})
	return ns
}

// plug gives a guest its interface.
func (h *realHost) plug(ns *testnet.Namespace, n int, name string) {
	h.t.Helper()
	h.where.IP(h.t, fmt.Sprintf("link add %s type veth peer name eth0 netns %s", name, ns.Path))
	ns.IP(h.t, fmt.Sprintf("link set eth0 address 02:00:00:00:00:%02x", n), "link set eth0 up", "addr add 10.0.0.5/24 dev eth0", "addr add 2001:db8::5/64 dev eth0 nodad")
	h.where.IP(h.t, "link set "+name+" up")
	ns.IP(h.t, "route add default dev eth0", "-6 route add default dev eth0 metric 10")
}

// place makes an instance with one interface.
func (h *realHost) place(in map[string]any, mac string, attachment map[string]any) {
	h.t.Helper()
	f := in["interfaces"].([]any)[0].(map[string]any)
	f["mac"], f["ipv4"], f["ipv6"] = mac, []string{"10.0.0.5"}, []string{"2001:db8::5"}
	f["subnet"].(map[string]any)["ipv6"] = []string{"2001:db8::/64"}
	f["vpc"].(map[string]any)["ipv6"] = []string{"2001:db8::/48"}
	if attachment != nil {
		f["attachment"] = attachment
	}
	in["metadata"] = map[string]any{"httpProtocolIpv6": "enabled"}
	h.call(http.MethodPut, "/v1/instances/"+in["id"].(string), in)
}

// whoAmI asks, on a connection of its own, in the namespace of the calling
// thread.
func whoAmI(to string) (string, error) {
	d := net.Dialer{Timeout: 10 * time.Second, FallbackDelay: -1}
	c, err := d.Dial("tcp", to) //nolint:noctx // it must stay on the thread
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(c)
	head, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	if err == nil && !strings.HasPrefix(head, "HTTP/1.1 200 ") {
		err = errors.New(head)
	}
	return body, err
}

// served waits until a guest is answered.
func (h *realHost) served(ns *testnet.Namespace, n int, to ...string) {
	h.t.Helper()
	for _, address := range to {
		var got string
		var err error
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			err = ns.Do(func() (err error) { got, err = whoAmI(address); return err })
			if err == nil && got == guestID(n) {
				break
			}
			if time.Now().After(end) {
				h.t.Fatalf("guest %d at %s: %q, %v", n, address, got, err)
			}
		}
	}
}

// ask asks all the time, and from the first answer on wants the guest's own
// every time.
func (h *realHost) ask(ctx context.Context, group *sync.WaitGroup, ns *testnet.Namespace, n int, to string) *atomic.Int64 {
	count, begin := new(atomic.Int64), time.Now()
	group.Go(func() {
		_ = ns.Do(func() error {
			for ctx.Err() == nil {
				got, err := whoAmI(to)
				switch {
				case err == nil && got == guestID(n):
					count.Add(1)
				case count.Load() > 0 || time.Since(begin) > 20*time.Second:
					h.t.Errorf("guest %d at %s, after %d answers: %q, %v", n, to, count.Load(), got, err)
					return nil
				}
				time.Sleep(time.Millisecond) // the others want the processor, too
			}
			return nil
		})
	})
	return count
}

// sockets returns how many sockets listen on an address in a namespace, as the
// kernel has them.
func (h *realHost) sockets(ns *testnet.Namespace, to string) (n int) {
	h.t.Helper()
	file, want := "/proc/thread-self/net/tcp", ""
	a := netip.MustParseAddrPort(to)
	raw := a.Addr().AsSlice()
	if a.Addr().Is6() {
		file += "6"
	}
	for i := 0; i < len(raw); i += 4 { // words of the machine
		want += fmt.Sprintf("%02X%02X%02X%02X", raw[i+3], raw[i+2], raw[i+1], raw[i])
	}
	want += fmt.Sprintf(":%04X", a.Port())
	err := ns.Do(func() error {
		text, err := os.ReadFile(file)
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 3 && f[1] == want && f[3] == "0A" {
				n++
			}
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// hurdle puts a pipe in the place of the node's settings, and returns what
// waits until the next process stands before it, and what lets that through.
func (h *realHost) hurdle() (wait func() (pass func())) {
	h.t.Helper()
	text, err := os.ReadFile(h.path("a.yaml"))
	if err == nil {
		err = errors.Join(os.Remove(h.path("a.yaml")), syscall.Mkfifo(h.path("a.yaml"), 0o600))
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return func() func() {
		var pipe *os.File
		h.eventually("a successor", func() bool {
			var err error
			pipe, err = os.OpenFile(h.path("a.yaml"), os.O_WRONLY|syscall.O_NONBLOCK, 0) // once somebody reads
			return err == nil
		})
		return func() {
			if _, err := pipe.Write(text); err != nil {
				h.t.Fatal(err)
			}
			_ = pipe.Close()
		}
	}
}

// Guests on taps and in namespaces ask without a pause while the node is
// replaced, and interfaces and namespaces come, go and come again: nobody is
// refused or cut off, everybody gets the own answer, and each place has one
// listener afterwards, with the address that was put there.
func TestReplaceOnInterfaces(t *testing.T) {
	m := newManager(t)
	h := newRealHost(t, "NOTIFY_SOCKET="+m.socket)
	m.hears(t, "READY")
	both := []string{guests4, guests6}
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	t.Cleanup(func() { stop(); group.Wait() }) // before the programs end
	var counts []*atomic.Int64
	steady := func(ns *testnet.Namespace, n int, to ...string) {
		for _, address := range to {
			counts = append(counts, h.ask(ctx, &group, ns, n, address))
		}
	}
	for n := 1; n <= 3; n++ {
		steady(h.tap(n, fmt.Sprintf("tap%d", n)), n, both...)
	}
	steady(h.tap(4, "br0"), 4, both...)
	steady(h.fixed, 40, guests4)
	steady(h.network(50), 50, guests4)
	steady(h.network(51), 51, guests4)

	// Some come again, and one has gone for good.
	again, over := h.tap(10, "tap10"), h.tap(11, "tap11")
	h.served(again, 10, both...)
	h.served(over, 11, both...)
	h.where.IP(t, "link del tap11")
	h.eventually("tap11 has no listener", func() bool { return h.sockets(h.where, guests4) == 5 })

	everybody := func(what string) {
		t.Helper()
		var before []int64
		for _, c := range counts {
			before = append(before, c.Load())
		}
		h.eventually(what, func() bool {
			for i, c := range counts {
				if c.Load() < before[i]+20 {
					return t.Failed()
				}
			}
			return true
		})
	}
	everybody("answers of the first process")
	pid, onItsWay, leave := h.node.cmd.Process.Pid, h.hurdle(), func() {}
	for round := range 3 {
		if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		// While the next process is on its way, interfaces of old and new
		// names come and go, and a name becomes another namespace's.
		pass := onItsWay()
		h.where.IP(t, "link del tap10")
		h.plug(again, 10, "tap10")
		if round > 0 {
			leave()
			h.where.IP(t, fmt.Sprintf("link del tap%d", 20+round-1))
		}
		fresh := h.tap(20+round, fmt.Sprintf("tap%d", 20+round))
		passing, cancel := context.WithCancel(ctx)
		var guests sync.WaitGroup
		for _, address := range both {
			h.ask(passing, &guests, fresh, 20+round, address)
		}
		leave = func() { cancel(); guests.Wait() }
		late := h.network(60 + round)
		steady(late, 60+round, guests4)
		time.Sleep(100 * time.Millisecond) // whoever acts upon all that does so now
		pass()
		next, err := strconv.Atoi(m.hears(t, "MAINPID"))
		if err != nil {
			t.Fatal(err)
		}
		// The last running answers of the old one, and already another change.
		h.where.IP(t, "link del tap10")
		h.plug(again, 10, "tap10")
		gone(t, pid)
		pid = next
		h.served(again, 10, both...)
		h.served(fresh, 20+round, both...)
		h.served(late, 60+round, guests4)
		everybody("answers of the next process")
		// tap1 to tap3, br0, tap10 and the fresh one.
		for _, address := range both {
			end := time.Now().Add(25 * time.Second)
			for h.sockets(h.where, address) != 6 && time.Now().Before(end) {
				time.Sleep(5 * time.Millisecond)
			}
			if n := h.sockets(h.where, address); n != 6 {
				list, _ := h.where.Exec(t.Context(), nil, "ss", "-ltnp")
				t.Fatalf("%d listeners for 6 places:\n%s", n, list)
			}
		}
	}
	leave()
	stop()
	group.Wait()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	gone(t, pid)
	for what, command := range map[string]string{"addresses": "address", "rules": "rule", "rules of IPv6": "-6 rule", "routes": "route show table all", "routes of IPv6": "-6 route show table all"} {
		out, err := h.where.Exec(t.Context(), nil, "ip", strings.Fields(command)...)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out, "169.254.169.254") || strings.Contains(out, "fd00:ec2::254") {
			t.Errorf("%s are left:\n%s", what, out)
		}
	}
}
