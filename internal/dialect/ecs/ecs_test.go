package ecs

import (
	"net/netip"
	"slices"
	"testing"
)

// TestDialect pins what the node decides by.
func TestDialect(t *testing.T) {
	d := New()
	// ECS-ADDR-01, ECS-ADDR-02
	want := []netip.Addr{netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("fd00:100::100:200")}
	if !slices.Equal(d.Addresses, want) {
		t.Errorf("addresses %v", d.Addresses)
	}
	if d.IPv6OptIn {
		t.Error("the IPv6 address answers every instance")
	}
	for _, test := range []struct {
		fact      string
		got, want int
	}{
		{"ECS-TOK-06: no token where one is required", d.Refusals.MissingToken, 403},
		{"ECS-TOK-09: X-Forwarded-For on a read is allowed", d.Refusals.ForwardedRead, 0},
		{"ECS-TOK-17: inexact token path", d.Refusals.InexactTokenPath, 404},
		{"ECS-THR-01, ECS-THR-02, ECS-TOK-10: over the rate", d.Refusals.Throttled, 429},
		{"ECS-FMT-16: Expect is not refused", d.Refusals.Expect100, 0},
		{"ECS-HOP-01: not limited unless it is set", d.DefaultHopLimit, 0},
	} {
		if test.got != test.want {
			t.Errorf("%s: want %d, got %d", test.fact, test.want, test.got)
		}
	}
}
