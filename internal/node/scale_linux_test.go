package node

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"openimds/internal/instance"
	"openimds/internal/netenv"
	"openimds/internal/testnet"
)

// Interfaces come and go, and those that stay are served as if nothing were.
func TestComeAndGo(t *testing.T) {
	w := newTwins(t)
	time.Sleep(50 * time.Millisecond)
	var stop atomic.Bool
	var served [2]atomic.Int64
	var wg sync.WaitGroup
	for i, g := range w.guests {
		wg.Go(func() {
			for !stop.Load() {
				c, err := g.Dial(netip.MustParseAddrPort("10.0.0.5:0"), metadata4)
				if err != nil {
					t.Errorf("guest %d: %v", i, err)
					return
				}
				status, body, err := newClient(c).ask(whoAmI)
				_ = c.Close()
				if err != nil || status != 200 || body != twinIDs[i] {
					t.Errorf("guest %d: %d %q, %v", i, status, body, err)
					return
				}
				served[i].Add(1)
			}
		})
	}
	const rounds, others = 5, 20
	for range rounds {
		var add, del strings.Builder
		for i := range others {
			fmt.Fprintf(&add, "link add tapx%d up type veth peer name peerx%d\n", i, i)
			fmt.Fprintf(&del, "link delete tapx%d\n", i)
		}
		batch(t, w.host, add.String())
		w.wait(2 + others)
		batch(t, w.host, del.String())
		w.wait(2)
	}
	stop.Store(true)
	wg.Wait()
	for i := range served {
		if served[i].Load() == 0 {
			t.Errorf("guest %d was never served", i)
		}
	}
	out, err := w.host.Exec(t.Context(), nil, "ip", "route", "show", "table", "169254")
	if err != nil || strings.Count(out, "default") != 2 {
		t.Errorf("routes are left over: %v\n%s", err, out)
	}
	if files, err := os.ReadDir(w.cfg.Attacher.Journal); err != nil || len(files) != 2 {
		t.Errorf("the journal has %v, %v", files, err)
	}
}

// batch runs many `ip` commands at once.
func batch(t testing.TB, ns *testnet.Namespace, lines string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	ns.IP(t, "-batch "+file)
}

// crawl are the paths that a machine reads when it starts.
var crawl = []string{
	"", "meta-data/", "meta-data/ami-id", "meta-data/ami-launch-index", "meta-data/hostname", "meta-data/instance-id",
	"meta-data/instance-type", "meta-data/local-hostname", "meta-data/local-ipv4", "meta-data/mac", "meta-data/network/",
	"meta-data/network/interfaces/", "meta-data/network/interfaces/macs/", "meta-data/placement/", "meta-data/placement/availability-zone",
	"meta-data/placement/region", "meta-data/public-keys/", "meta-data/security-groups", "meta-data/services/domain", "dynamic/instance-identity/document",
}

// Hundreds of machines in namespaces of their own start at once, all with one
// address: each is itself.
func TestManyNamespaces(t *testing.T) {
	testnet.RequireIsolated(t)
	machines := 500
	if testing.Short() {
		machines = 50
	}
	dir := t.TempDir()
	var spaces []*testnet.Namespace
	var instances []*instance.Instance
	for i := range machines {
		ns := testnet.NewNamespace(t)
		ns.IP(t, "addr add 169.254.169.254/32 dev lo")
		name := fmt.Sprintf("tenant-%d", i)
		if err := os.Symlink(ns.Path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		in := attached(fmt.Sprintf("i-%017x", i), netenv.Place{}, macA, "169.254.169.254")
		in.Network = name
		spaces, instances = append(spaces, ns), append(instances, in)
	}
	r := newRealNode(t, instances...)
	began := time.Now()
	r.follow(Listener{Dialect: "ec2", Address: metadata4, Namespace: dir + "/tenant-*"})
	var wg sync.WaitGroup
	var requests atomic.Int64
	for i, ns := range spaces {
		wg.Go(func() {
			for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				c, err := ns.Dial(netip.AddrPort{}, metadata4)
				if err == nil {
					_ = c.Close()
					break
				}
				if time.Now().After(end) {
					t.Errorf("machine %d: %v", i, err)
					return
				}
			}
			sockets, err := ns.Sockets(len(crawl), netip.AddrPort{}, metadata4)
			if err != nil {
				t.Error(err)
				return
			}
			for k, path := range crawl {
				nc, err := sockets[k].Connect()
				if err != nil {
					t.Errorf("machine %d: %v", i, err)
					return
				}
				c := newClient(nc)
				c.wait = 20 * time.Second // the machine may be busy with other things
				status, body, err := c.ask("GET /latest/" + path)
				_ = c.Close()
				if err != nil || status != 200 || path == "meta-data/instance-id" && body != instances[i].ID {
					t.Errorf("machine %d, %s: %d %q, %v", i, path, status, body, err)
					return
				}
				requests.Add(1)
			}
		})
	}
	wg.Wait()
	t.Logf("%d machines, %d requests, %v from nothing to the last answer", machines, requests.Load(), time.Since(began).Round(time.Millisecond))
}

// One process has thousands of listeners. What one costs is told, not judged:
// see bench/README.md.
func TestManyListeners(t *testing.T) {
	testnet.RequireIsolated(t)
	const each = 10
	spaces := 500
	if testing.Short() {
		spaces = 50
	}
	r := newRealNode(t)
	var all []*testnet.Namespace
	for range spaces {
		all = append(all, testnet.NewNamespace(t))
	}
	memory := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := memory()
	began := time.Now()
	var open []*Endpoint
	for _, ns := range all {
		for i := range each {
			e, err := r.Listen(t.Context(), Listener{Dialect: "ec2", Address: fmt.Sprintf("169.254.169.%d:80", i+1), Namespace: ns.Path, Interface: "lo"})
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, e)
		}
	}
	took := time.Since(began)
	var wg sync.WaitGroup
	for _, e := range open {
		wg.Go(func() { _ = r.Serve(e) })
	}
	time.Sleep(200 * time.Millisecond) // all accept
	after := memory()
	n := len(open)
	t.Logf("%d listeners in %d namespaces: %.0f µs and %.1f KiB each", n, spaces,
		float64(took.Microseconds())/float64(n), float64(after-before)/float64(n)/1024)
	for _, e := range open {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if left := r.Interfaces(); len(left) > 0 {
		t.Errorf("%d interfaces are still listened on", len(left))
	}
}
