package node

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"openimds/internal/fault"
	"openimds/internal/identify"
	"openimds/internal/instance"
	"openimds/internal/token"
)

// anInstance draws one of a few instances, which want the same few addresses.
func anInstance(t *rapid.T) *instance.Instance {
	pick := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
	addresses := func(label string) (all []netip.Addr) {
		for _, n := range rapid.SliceOfNDistinct(rapid.ByteRange(1, 6), 0, 2, rapid.ID[byte]).Draw(t, label) {
			all = append(all, netip.AddrFrom4([4]byte{10, 0, 0, n}))
		}
		return all
	}
	in := &instance.Instance{
		ID: fmt.Sprint("i-", rapid.IntRange(0, 7).Draw(t, "id")), Dialect: pick("dialect", "ec2", "ec2", "ecs"), Network: pick("network", "a", "b"),
		State: pick("state", "running", "running", "stopped"), Interfaces: make([]instance.Interface, rapid.IntRange(0, 2).Draw(t, "interfaces")),
		Generation: rapid.Uint64Range(0, 1).Draw(t, "generation"),
	}
	if rapid.Bool().Draw(t, "by source") {
		in.Sources = addresses("sources")
	}
	for i := range in.Interfaces {
		f := &in.Interfaces[i]
		f.MAC, f.IPv4 = pick("mac", "02:00:00:00:00:01", "02:00:00:00:00:02"), addresses("addresses")
		f.Attachment.Interface = pick("tap", "", "tap0", "tap1")
	}
	return in
}

// found is who is found where.
func found(n *Node) map[string]string {
	all := map[string]string{}
	macs := []string{"02:00:00:00:00:01", "02:00:00:00:00:02"}
	for _, scope := range []identify.Scope{
		{Dialect: "ec2", Network: "a"}, {Dialect: "ec2", Network: "b"}, {Dialect: "ecs", Network: "a"}, {Dialect: "ecs", Network: "b"},
		{Dialect: "ec2", Interface: "tap0"}, {Dialect: "ec2", Interface: "tap1"}, {Dialect: "ecs", Interface: "tap0"}, {Dialect: "ecs", Interface: "tap1"},
	} {
		var addresses []netip.Addr
		for i := range byte(8) {
			addresses = append(addresses, netip.AddrFrom4([4]byte{10, 0, 0, i}))
		}
		for _, mac := range macs {
			f := instance.Interface{MAC: mac, Attachment: instance.Attachment{Interface: "tap0"}}
			addresses = append(addresses, f.Callers()...)
		}
		for _, a := range addresses {
			if g, ok := n.caller.Table(scope).Find(a); ok {
				in := g.snap.Load().in
				all[fmt.Sprint(scope, " ", a)] = fmt.Sprint(in.ID, " ", in.Generation)
			}
		}
		if n := n.caller.Table(scope).Len(); n > 0 {
			all[scope.String()] = fmt.Sprint(n)
		}
	}
	return all
}

// Whatever is changed step by step is as if all of it had been set, and what is
// refused changes nothing.
func TestUpdateIsSet(t *testing.T) {
	ring := token.NewRing(token.Secrets{})
	rapid.Check(t, func(t *rapid.T) {
		step := New(Config{Ring: ring})
		present := map[string]*instance.Instance{}
		for range rapid.IntRange(1, 15).Draw(t, "changes") {
			put := rapid.SliceOfN(rapid.Custom(anInstance), 0, 3).Draw(t, "put")
			var removed []string
			for _, id := range rapid.SliceOfN(rapid.IntRange(0, 7), 0, 2).Draw(t, "removed") {
				removed = append(removed, fmt.Sprint("i-", id))
			}
			next := map[string]*instance.Instance{}
			for id, in := range present {
				next[id] = in
			}
			for _, in := range put {
				next[in.ID] = in
			}
			for _, id := range removed {
				delete(next, id)
			}
			var all []*instance.Instance
			for _, in := range next {
				all = append(all, in)
			}
			whole, before := New(Config{Ring: ring}), found(step)
			want, got := whole.Set(all), step.Update(put, removed)
			if fault.KindOf(want) != fault.KindOf(got) || (want == nil) != (got == nil) {
				t.Fatalf("Update: %v; Set: %v", got, want)
			}
			expected := before
			if got == nil {
				present, expected = next, found(whole)
			}
			if now := found(step); fmt.Sprint(now) != fmt.Sprint(expected) {
				t.Fatalf("found\n%v, want\n%v", now, expected)
			}
			var ids, known []string
			for id := range present {
				ids = append(ids, id)
			}
			for _, u := range step.Usages() {
				known = append(known, u.Instance)
			}
			if slices.Sort(ids); !slices.Equal(ids, known) {
				t.Fatalf("there are %v, want %v", known, ids)
			}
		}
	})
}
