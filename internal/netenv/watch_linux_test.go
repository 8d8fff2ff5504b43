package netenv_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"openimds/internal/netenv"
	"openimds/internal/testnet"
)

// places is what a Watch has told.
type places struct {
	mu      sync.Mutex
	there   map[netenv.Place]bool
	history []string
	log     bytes.Buffer
}

func (p *places) change(c netenv.Change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sign := "+"
	if c.Gone {
		sign = "-"
		if !p.there[c.Place] {
			sign = "- without a + "
		}
		delete(p.there, c.Place)
	} else {
		if p.there[c.Place] {
			sign = "+ twice "
		}
		p.there[c.Place] = true
	}
	p.history = append(p.history, sign+filepath.Base(c.Namespace)+"/"+c.Interface)
}

// Write takes the log.
func (p *places) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *places) names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for at := range p.there {
		all = append(all, filepath.Base(at.Namespace)+"/"+at.Interface)
	}
	slices.Sort(all)
	return all
}

// want waits until exactly these places are there.
func (p *places) want(t *testing.T, names ...string) {
	t.Helper()
	slices.Sort(names)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if slices.Equal(p.names(), names) {
			return
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t.Fatalf("there are %v, want %v; history %v; log\n%s", p.there, names, p.history, p.log.String())
}

// watch runs a Watch until the test ends.
func watch(t *testing.T, r netenv.Rule) *places {
	t.Helper()
	p := &places{there: map[netenv.Place]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- netenv.Watch(ctx, netenv.Watching{Rule: r, Logger: testnet.Logger(p, nil)}, p.change)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("watch %s: %v", r, err)
		}
		for _, h := range p.history {
			if strings.Contains(h, " ") {
				t.Errorf("told %q in %v", h, p.history)
			}
		}
	})
	return p
}

func TestWatchInterfaces(t *testing.T) {
	ns := testnet.NewNamespace(t)
	base := filepath.Base(ns.Path)
	p := watch(t, netenv.Rule{Namespace: ns.Path, Interface: "tap[0-9]*"})
	p.want(t)
	ns.IP(t, "tuntap add tap0 mode tap", "tuntap add other mode tap", "link set other up")
	p.want(t)
	ns.IP(t, "link set tap0 up")
	p.want(t, base+"/tap0")
	ns.IP(t, "tuntap add tap1 mode tap", "link set tap1 up")
	p.want(t, base+"/tap0", base+"/tap1")
	ns.IP(t, "link set tap0 down")
	p.want(t, base+"/tap1")
	ns.IP(t, "link set tap0 name tap9", "link set tap9 up")
	p.want(t, base+"/tap1", base+"/tap9")
	ns.IP(t, "link set tap9 down", "link set tap9 name out9", "link set out9 up", "link delete tap1")
	p.want(t)
	ns.IP(t, "tuntap add tap1 mode tap", "link set tap1 up")
	p.want(t, base+"/tap1")
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := strings.Count(p.log.String(), "nothing of this rule exists yet"); n != 1 {
		t.Errorf("it was said %d times that nothing is there:\n%s", n, p.log.String())
	}
}

// Many come and go at once, faster than they are told of.
func TestWatchManyInterfaces(t *testing.T) {
	ns := testnet.NewNamespace(t)
	base := filepath.Base(ns.Path)
	p := watch(t, netenv.Rule{Namespace: ns.Path, Interface: "v*"})
	var add, del strings.Builder
	var want []string
	for i := range 300 {
		fmt.Fprintf(&add, "link add v%d up type veth peer name w%d\n", i, i)
		if i%3 == 0 {
			want = append(want, fmt.Sprintf("%s/v%d", base, i))
			continue
		}
		fmt.Fprintf(&del, "link delete v%d\n", i)
	}
	batch := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(batch, []byte(add.String()+del.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ns.IP(t, "-batch "+batch)
	p.want(t, want...)
}

// bind gives a namespace a name in a folder, as `ip netns add` does in its own.
func bind(t *testing.T, ns *testnet.Namespace, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // the file is seen before it is a namespace
	if err := unix.Mount(ns.Path, file, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unbind(t, file) })
}

func unbind(t *testing.T, file string) {
	t.Helper()
	if err := unix.Unmount(file, unix.MNT_DETACH); err != nil {
		return // done already
	}
	if err := os.Remove(file); err != nil {
		t.Error(err)
	}
}

func TestWatchNamespaces(t *testing.T) {
	dir := t.TempDir()
	a, b := testnet.NewNamespace(t), testnet.NewNamespace(t)
	a.IP(t, "link add tap0 up type veth peer name peer0")
	b.IP(t, "link add tap0 up type veth peer name peer0")
	all := watch(t, netenv.Rule{Namespace: dir + "/tenant-*"})
	taps := watch(t, netenv.Rule{Namespace: dir + "/tenant-*", Interface: "tap*"})
	one := watch(t, netenv.Rule{Namespace: dir + "/tenant-b", Interface: "tap0"})
	want := func(names ...string) {
		t.Helper()
		var spaces, ifaces, ones []string
		for _, n := range names {
			spaces, ifaces = append(spaces, n+"/"), append(ifaces, n+"/tap0")
			if n == "tenant-b" {
				ones = append(ones, n+"/tap0")
			}
		}
		all.want(t, spaces...)
		taps.want(t, ifaces...)
		one.want(t, ones...)
	}
	want()
	bind(t, a, dir+"/tenant-a")
	bind(t, b, dir+"/other")
	want("tenant-a")
	bind(t, b, dir+"/tenant-b")
	want("tenant-a", "tenant-b")
	unbind(t, dir+"/tenant-a")
	want("tenant-b")
	bind(t, a, dir+"/tenant-a")
	want("tenant-a", "tenant-b")
}

// The directory may come later than the rule.
func TestWatchDirectoryToCome(t *testing.T) {
	dir := t.TempDir() + "/later"
	a := testnet.NewNamespace(t)
	p := watch(t, netenv.Rule{Namespace: dir + "/*"})
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	bind(t, a, dir+"/x")
	p.want(t, "x/")
}

func TestWatchRefused(t *testing.T) {
	for _, r := range []netenv.Rule{{Interface: "tap["}, {Namespace: "a*/b"}, {Namespace: `x\`}} {
		if err := netenv.Watch(t.Context(), netenv.Watching{Rule: r}, nil); err == nil {
			t.Errorf("%+v is accepted", r)
		}
	}
}
