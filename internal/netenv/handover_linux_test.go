package netenv_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"openimds/internal/netenv"
	"openimds/internal/testnet"
	"openimds/internal/wire"
)

// duplicate is what another process would be given of a listener.
func duplicate(t *testing.T, ln net.Listener) *os.File {
	t.Helper()
	f, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A socket is taken over where it is, and not where another interface or
// namespace has the name that its own had.
func TestAdopt(t *testing.T) {
	b := newBed(t)
	folder := t.TempDir()
	other, name := testnet.NewNamespace(t), folder+"/blue"
	if err := os.Symlink(b.host.Path, name); err != nil {
		t.Fatal(err)
	}
	open := func(s netenv.Spec) *os.File {
		t.Helper()
		ln, err := netenv.Listen(t.Context(), s, plain)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		return duplicate(t, ln)
	}
	adopt := func(s netenv.Spec, f *os.File, want error) {
		t.Helper()
		ln, err := netenv.Adopt(s, f, wire.Adopt)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", s.Key(), err, want)
		}
		if err == nil {
			_ = ln.Close()
		} else if f.Close() == nil {
			t.Errorf("%s: the file is left open", s.Key())
		}
	}
	tap := netenv.Spec{Place: b.tap(0), Address: metadata}
	six := netenv.Spec{Place: b.tap(0), Address: "[fd00:ec2::254]:80"}
	wide := netenv.Spec{Place: netenv.Place{Namespace: name}, Address: metadata}
	own := netenv.Spec{Address: "127.0.0.1:0"}
	for _, s := range []netenv.Spec{tap, six, wide, own} {
		adopt(s, open(s), nil)
	}
	adopt(netenv.Spec{Place: b.tap(1), Address: metadata}, open(tap), netenv.ErrElsewhere)
	adopt(tap, open(wide), netenv.ErrElsewhere)
	old, old6 := open(tap), open(six)
	b.host.IP(t, "link del tap0")
	testnet.Veth(t, b.host, "tap0", b.guests[0], "eth0")
	adopt(tap, old, netenv.ErrElsewhere)
	adopt(six, old6, netenv.ErrElsewhere)
	adopt(tap, open(tap), nil)
	oldWide := open(wide)
	if err := errors.Join(os.Remove(name), os.Symlink(other.Path, name)); err != nil {
		t.Fatal(err)
	}
	adopt(wide, oldWide, netenv.ErrElsewhere)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	adopt(wide, open(netenv.Spec{Place: netenv.Place{Namespace: other.Path}, Address: metadata}), netenv.ErrNoNamespace)
}

// plain opens listeners that can be duplicated.
var plain netenv.Open = func(ctx context.Context, network, address string, more ...netenv.Control) (net.Listener, error) {
	return (&net.ListenConfig{Control: more[0]}).Listen(ctx, network, address)
}

// A process whose successor did not take over has its own back, and takes back
// what the other did.
func TestReturn(t *testing.T) {
	b := newBed(t)
	before := state(t, b.host)
	dir := t.TempDir()
	old := attacher(t, dir)
	attach := func(a *netenv.Attacher, tap int) {
		t.Helper()
		if err := a.Attach(b.tap(tap), ec2Address); err != nil {
			t.Fatal(err)
		}
	}
	attach(old, 0)
	old.Leave()
	if err := old.Attach(b.tap(1), ec2Address); err == nil {
		t.Error("it attaches although another has taken over")
	}
	if err := old.Cleanup(); err != nil {
		t.Error(err)
	}
	next := attacher(t, dir)
	attach(next, 0)
	attach(next, 1)

	if err := old.Return(); err != nil {
		t.Fatal(err)
	}
	listen(t, "here", netenv.Spec{Place: b.tap(0), Address: metadata})
	if got := hear(t, b.guests[0], netip.AddrPort{}, metadata); got != "here" {
		t.Errorf("it is %q", got)
	}
	attach(old, 1)
	for i := range 2 {
		if err := old.Detach(b.tap(i), ec2Address); err != nil {
			t.Error(err)
		}
	}
	if d := differences(before, state(t, b.host)); d != "" {
		t.Errorf("left behind:\n%s", d)
	}
	// What the other did and nobody needs goes, too.
	attach(old, 0)
	old.Leave()
	attach(attacher(t, dir), 1)
	if err := errors.Join(old.Return(), old.Cleanup()); err != nil {
		t.Error(err)
	}
	out, err := b.host.Exec(t.Context(), nil, "ip", "-o", "-4", "address")
	if err != nil || !strings.Contains(out, "tap0") || strings.Contains(out, "tap1") {
		t.Errorf("%v\n%s", err, out)
	}
}
