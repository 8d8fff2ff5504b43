package identify_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"openimds/internal/fault"
	"openimds/internal/identify"
)

// where are the scopes that the claims below are about: two networks, and two
// interfaces, one of them served by two dialects.
var where = []identify.Scope{
	{Dialect: "ec2", Network: "a"}, {Dialect: "ec2", Network: "b"},
	{Dialect: "ec2", Interface: "tap0"}, {Dialect: "ecs", Interface: "tap0"}, {Dialect: "ec2", Interface: "tap0", Namespace: "n"},
}

// claims draws those of one target: few addresses, so that they clash, and now
// and then one twice.
func claims(target name, most int) *rapid.Generator[[]identify.Claim[name]] {
	return rapid.Custom(func(t *rapid.T) []identify.Claim[name] {
		network := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "network")
		all := make([]identify.Claim[name], rapid.IntRange(0, most).Draw(t, "claims"))
		for i := range all {
			a := netip.AddrFrom4([4]byte{10, 0, byte(rapid.IntRange(0, 1).Draw(t, "third")), byte(rapid.IntRange(0, 7).Draw(t, "fourth"))})
			if rapid.Bool().Draw(t, "mapped") {
				a = netip.AddrFrom16(a.As16())
			}
			all[i] = identify.Claim[name]{Scope: rapid.SampledFrom(where).Draw(t, "scope"), Address: a, Target: target}
			if all[i].Scope.Interface != "" {
				all[i].Network = network
			}
		}
		return all
	})
}

// A change of a few claims is refused where all of them together would be, and
// leads to the same.
func TestChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var step identify.Directory[name]
		present := map[name][]identify.Claim[name]{}
		for range rapid.IntRange(1, 20).Draw(t, "changes") {
			next, gone, come := map[name][]identify.Claim[name]{}, []identify.Claim[name](nil), []identify.Claim[name](nil)
			for id, c := range present {
				next[id] = c
			}
			for range rapid.IntRange(1, 3).Draw(t, "targets") {
				id := name(fmt.Sprint("i-", rapid.IntRange(0, 5).Draw(t, "id")))
				next[id] = claims(id, 4).Draw(t, "claims")
			}
			for id, c := range next {
				if !slices.Equal(c, present[id]) {
					gone, come = append(gone, present[id]...), append(come, c...)
				}
			}
			var all []identify.Claim[name]
			for _, c := range next {
				all = append(all, c...)
			}
			var whole identify.Directory[name]
			want := set(&whole, all...)
			plan, got := step.Change(gone, come)
			if (want == nil) != (got == nil) || fault.KindOf(want) != fault.KindOf(got) {
				t.Fatalf("a change: %v; all at once: %v", got, want)
			}
			if got != nil {
				continue
			}
			plan.Apply()
			present = next
			same(t, &whole, &step)
		}
	})
}

func same(t *rapid.T, want, got *identify.Directory[name]) {
	for _, s := range where {
		w, g := want.Table(s), got.Table(s)
		if w.Len() != g.Len() {
			t.Fatalf("%s: %d addresses, want %d", s, g.Len(), w.Len())
		}
		for third := range 2 {
			for fourth := range 8 {
				a := netip.AddrFrom4([4]byte{10, 0, byte(third), byte(fourth)})
				x, known := w.Find(a)
				y, found := g.Find(a)
				if x != y || known != found {
					t.Fatalf("%s %s: %q, want %q", s, a, y, x)
				}
			}
		}
	}
}

// A table grows and shrinks by parts, and loses nobody.
func TestParts(t *testing.T) {
	var d identify.Directory[name]
	const most = 5000
	table := d.Table(identify.Scope{Dialect: "ec2", Network: "a"})
	at := func(i int) identify.Claim[name] {
		c := claim("a", "10.0.0.0", name(fmt.Sprint("i-", i)))
		if i%2 == 0 {
			// Nothing but the network's part differs.
			c.Address = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, byte(i >> 8), byte(i), 15: 1})
		} else {
			c.Address = netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
		}
		return c
	}
	change := func(gone, come []identify.Claim[name]) {
		t.Helper()
		p, err := d.Change(gone, come)
		if err != nil {
			t.Fatal(err)
		}
		p.Apply()
	}
	sees := func(from, to int) {
		t.Helper()
		if table.Len() != to-from {
			t.Errorf("%d callers, want %d", table.Len(), to-from)
		}
		for i := range most {
			c := at(i)
			if got, ok := table.Find(c.Address); ok != (i >= from && i < to) || ok && got != c.Target {
				t.Fatalf("%d of %d to %d: %q %t", i, from, to, got, ok)
			}
		}
	}
	for i := range most {
		change(nil, []identify.Claim[name]{at(i)})
	}
	sees(0, most)
	for i := range most - 1 {
		change([]identify.Claim[name]{at(i)}, nil)
		if i == most/2 {
			sees(i+1, most)
		}
	}
	sees(most-1, most)
	change([]identify.Claim[name]{at(most - 1)}, nil)
	sees(0, 0)
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := full(b, n)
			table := d.Table(identify.Scope{Dialect: "ec2", Network: "a"})
			a := netip.AddrFrom4([4]byte{10, 0, 0, 0})
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := table.Find(a); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
}

// What one change costs among many.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := full(b, n)
			c := []identify.Claim[name]{claim("a", "192.0.2.1", "i-new")}
			for b.Loop() {
				for _, way := range [][2][]identify.Claim[name]{{nil, c}, {c, nil}} {
					p, err := d.Change(way[0], way[1])
					if err != nil {
						b.Fatal(err)
					}
					p.Apply()
				}
			}
		})
	}
}

// full returns a directory with n callers in one network.
func full(b *testing.B, n int) *identify.Directory[name] {
	b.Helper()
	var d identify.Directory[name]
	all := make([]identify.Claim[name], n)
	for i := range all {
		all[i] = claim("a", "10.0.0.0", name(fmt.Sprint("i-", i)))
		all[i].Address = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	}
	if err := set(&d, all...); err != nil {
		b.Fatal(err)
	}
	return &d
}
