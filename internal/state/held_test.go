package state_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"openimds/internal/instance"
	"openimds/internal/state"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
)

// holder draws one of a few instances with few addresses and blocks.
func holder(t *rapid.T) *state.Instance {
	pick := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
	addresses := func(label string) (all []netip.Addr) {
		for _, n := range rapid.SliceOfN(rapid.ByteRange(0, 40), 0, 3).Draw(t, label) {
			all = append(all, netip.AddrFrom4([4]byte{10, 0, 0, n}))
		}
		return all
	}
	in := &state.Instance{Spec: instance.Instance{
		ID: fmt.Sprint("i-", rapid.IntRange(0, 5).Draw(t, "id")), Dialect: pick("dialect", "ec2", "ecs"), Network: pick("network", "", "default", "b"),
		State: pick("state", "running", "stopped", "terminated"), Sources: addresses("sources"),
	}}
	for range rapid.IntRange(0, 2).Draw(t, "interfaces") {
		f := instance.Interface{IPv4: addresses("addresses")}
		for _, p := range addresses("public") {
			f.Public = append(f.Public, instance.PublicIPv4{Address: p})
		}
		for _, n := range rapid.SliceOfN(rapid.ByteRange(2, 4), 0, 2).Draw(t, "blocks") {
			f.IPv4Prefixes = append(f.IPv4Prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, n << 4}), 28))
		}
		in.Spec.Interfaces = append(in.Spec.Interfaces, f)
	}
	return in
}

// What is held is what a look at all instances finds, whatever happened to them
// before and since it was first asked.
func TestHeld(t *testing.T) {
	block := netip.MustParsePrefix("10.0.0.0/26")
	rapid.Check(t, func(t *rapid.T) {
		store := memstore.New(memstore.Config{})
		defer store.Close()
		db, err := state.Open(t.Context(), store, testnet.Quiet())
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for range rapid.IntRange(1, 12).Draw(t, "changes") {
			put := rapid.SliceOfN(rapid.Custom(holder), 0, 2).Draw(t, "put")
			gone := rapid.IntRange(0, 9).Draw(t, "removed")
			err := db.Update(t.Context(), func(tx *state.Tx) error {
				for _, in := range put {
					if err := state.Save(tx, db.Instances, in.Spec.ID, in); err != nil {
						return err
					}
				}
				state.Remove(tx, db.Instances, fmt.Sprint("i-", gone))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if rapid.Bool().Draw(t, "look") {
				looks(t, db, block)
			}
		}
		looks(t, db, block)
	})
}

func looks(t *rapid.T, db *state.DB, block netip.Prefix) {
	for _, dialect := range []string{"ec2", "ecs"} {
		for _, network := range []string{"default", "b"} {
			held := db.Held(dialect, network)
			taken, blocks := map[netip.Addr]bool{}, []netip.Prefix{}
			db.Instances.All(func(in *state.Instance) bool {
				s := &in.Spec
				if s.Dialect != dialect || s.Network != network && (s.Network != "" || network != "default") || s.State == "terminated" {
					return false
				}
				all := slices.Clone(s.Sources)
				for _, f := range s.Interfaces {
					all, blocks = append(all, f.IPv4...), append(blocks, f.IPv4Prefixes...)
					for _, p := range f.Public {
						all = append(all, p.Address)
					}
				}
				for _, a := range all {
					taken[a] = true
				}
				return false
			})
			from := netip.AddrFrom4([4]byte{10, 0, 0, rapid.ByteRange(0, 5).Draw(t, "from")})
			first := from
			for block.Contains(first) && taken[first] {
				first = first.Next()
			}
			if got := held.Free(block, from); got != first {
				t.Fatalf("the first free address from %s is %s, want %s of %v", from, got, first, taken)
			}
			for a := block.Addr(); block.Contains(a); a = a.Next() {
				covered := slices.ContainsFunc(blocks, func(p netip.Prefix) bool { return p.Contains(a) })
				if held.Has(a) != taken[a] || held.Covers(a) != covered {
					t.Fatalf("%s: has %t, covers %t; want %t, %t", a, held.Has(a), held.Covers(a), taken[a], covered)
				}
				for _, bits := range []int{28, 30, 32} {
					p, _ := a.Prefix(bits)
					skip := func(a netip.Addr) bool { return a.As4()[3]%2 == 1 }
					overlaps := slices.ContainsFunc(blocks, p.Overlaps)
					for one := range taken {
						overlaps = overlaps || p.Contains(one) && !skip(one)
					}
					if got := held.Overlaps(p, skip); got != overlaps {
						t.Fatalf("%s overlaps: %t, want %t", p, got, overlaps)
					}
				}
			}
		}
	}
}
