package identify_test

import (
	"net/netip"
	"strings"
	"testing"

	"openimds/internal/fault"
	"openimds/internal/identify"
)

// name is a target.
type name string

func (n name) ID() string { return string(n) }

func claim(network, addr string, id name) identify.Claim[name] {
	return identify.Claim[name]{
		Scope: identify.Scope{Dialect: "ec2", Network: network}, Address: netip.MustParseAddr(addr), Target: id,
	}
}

func set(d *identify.Directory[name], claims ...identify.Claim[name]) error {
	p, err := d.Plan(claims)
	if err == nil {
		p.Apply()
	}
	return err
}

func TestFind(t *testing.T) {
	var d identify.Directory[name]
	a := d.Table(identify.Scope{Dialect: "ec2", Network: "a"})
	if _, ok := a.Find(netip.MustParseAddr("10.0.0.1")); ok {
		t.Error("an empty table finds somebody")
	}
	err := set(&d, claim("a", "10.0.0.1", "i-1"), claim("a", "10.0.0.1", "i-1"), claim("a", "2001:db8::1", "i-1"),
		claim("b", "10.0.0.1", "i-2"))
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]name{
		"10.0.0.1": "i-1", "::ffff:10.0.0.1": "i-1", "2001:db8::1": "i-1", "2001:db8::1%eth0": "i-1", "10.0.0.2": "",
	} {
		if got, _ := a.Find(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Find(%s) = %q, want %q", addr, got, want)
		}
	}
	if got, _ := d.Table(identify.Scope{Dialect: "ec2", Network: "b"}).Find(netip.MustParseAddr("10.0.0.1")); got != "i-2" {
		t.Errorf("in network b: %q", got)
	}
	if got := d.Table(identify.Scope{Dialect: "ecs", Network: "a"}).Len(); got != 0 {
		t.Errorf("another dialect sees %d addresses", got)
	}
	if err := set(&d, claim("a", "10.0.0.9", "i-3")); err != nil {
		t.Fatal(err)
	}
	if _, ok := a.Find(netip.MustParseAddr("10.0.0.1")); ok || a.Len() != 1 {
		t.Error("a claim outlived its replacement")
	}
}

func TestConflict(t *testing.T) {
	var d identify.Directory[name]
	if err := set(&d, claim("a", "10.0.0.1", "i-1")); err != nil {
		t.Fatal(err)
	}
	err := set(&d, claim("a", "10.0.0.7", "i-1"), claim("a", "::ffff:10.0.0.7", "i-2"))
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "i-1 and i-2 both call from 10.0.0.7 in network a") {
		t.Errorf("Set: %v", err)
	}
	if got, _ := d.Table(identify.Scope{Dialect: "ec2", Network: "a"}).Find(netip.MustParseAddr("10.0.0.1")); got != "i-1" {
		t.Error("a refused change was applied")
	}
}
