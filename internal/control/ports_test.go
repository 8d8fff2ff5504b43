package control_test

import (
	"net/netip"
	"strings"
	"testing"

	"openimds/internal/config"
	"openimds/internal/control"
	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/state"
)

// tapped is an instance whose one network interface ends in one of a host.
func tapped(id, dialect, network, node, mac, address string, at instance.Attachment) *state.Instance {
	in := instance.Instance{
		ID: id, Dialect: dialect, Network: network, Node: node, Region: "r-1", Zone: "r-1a", Type: "t", Image: instance.Image{ID: "ami-0123456789abcdef0"},
		Account: "123456789012", Interfaces: []instance.Interface{{
			ID: "eni-" + strings.TrimPrefix(id, "i-"), MAC: mac, IPv4: []netip.Addr{netip.MustParseAddr(address)},
			Subnet: instance.Subnet{ID: "subnet-a"}, VPC: instance.VPC{ID: "vpc-a"}, Attachment: at,
		}},
	}
	if dialect == instance.DialectECS {
		in.Account = config.Samples()[0].Account
	}
	return &state.Instance{Spec: in}
}

// An instance that a node could not tell from another on an interface of its
// host is refused where it is put, and the message names both.
func TestPutAttached(t *testing.T) {
	tap7 := instance.Attachment{Interface: "tap7"}
	const mac, other = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
	for name, tt := range map[string]struct {
		second *state.Instance
		wrong  string // empty: it is taken
	}{
		"another interface": {tapped("i-b", "ec2", "blue", "h-1", other, "10.0.0.5", instance.Attachment{Interface: "tap8"}), ""},
		"another address":   {tapped("i-b", "ec2", "blue", "h-1", other, "10.0.0.6", tap7), ""},
		"another dialect":   {tapped("i-b", "ecs", "blue", "h-1", other, "10.0.0.5", tap7), ""},
		"another host":      {tapped("i-b", "ec2", "green", "h-2", mac, "10.0.0.5", tap7), ""},
		"another namespace": {tapped("i-b", "ec2", "green", "h-1", mac, "10.0.0.5", instance.Attachment{Interface: "tap7", Namespace: "n"}), ""},
		"one address":       {tapped("i-b", "ec2", "blue", "h-1", other, "10.0.0.5", tap7), "i-a calls from 10.0.0.5 on interface tap7 of node h-1, too"},
		"two networks": {
			tapped("i-b", "ec2", "green", "h-1", other, "10.0.0.6", tap7),
			"i-a of network blue is attached to interface tap7 of node h-1, too, and this one is of network green",
		},
		"two networks, two dialects": {
			tapped("i-b", "ecs", "green", "h-1", other, "10.0.0.6", tap7),
			"i-a of network blue is attached to interface tap7 of node h-1, too, and this one is of network green",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			put := func(all ...*state.Instance) error {
				resources := make([]control.Resource, len(all))
				for i, r := range all {
					resources[i] = control.Resource{Kind: control.KindInstances, Record: r}
				}
				_, err := b.Apply(t.Context(), theOperator, resources)
				return err
			}
			first := tapped("i-a", "ec2", "blue", "h-1", mac, "10.0.0.5", tap7)
			refused := func(how string, err error) {
				t.Helper()
				if tt.wrong == "" && err != nil {
					t.Errorf("%s: %v", how, err)
				}
				if tt.wrong != "" && (fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), tt.wrong)) {
					t.Errorf("%s: %v, want %q", how, err, tt.wrong)
				}
			}
			dry := theOperator
			dry.DryRun = true
			_, err := b.Apply(t.Context(), dry, []control.Resource{
				{Kind: control.KindInstances, Record: first}, {Kind: control.KindInstances, Record: tt.second},
			})
			refused("together", err)
			if err := put(first); err != nil {
				t.Fatal(err)
			}
			refused("one after the other", put(tt.second))
			if err := put(first); err != nil {
				t.Errorf("the first again: %v", err)
			}
		})
	}
}

// A path and a name of one namespace are one.
func TestPutAttachedByPath(t *testing.T) {
	b := newBed(t)
	for i, tt := range []struct {
		namespace string
		ok        bool
	}{{"blue", true}, {"/run/netns/blue", false}, {"/var/run/netns/blue/", false}, {"/run/netns/../netns/blue", false}, {"/proc/7/ns/net", true}} {
		in := tapped("i-"+string(rune('a'+i)), "ec2", "default", "", "02:00:00:00:00:1"+string(rune('0'+i)), "10.0.0.5", instance.Attachment{Interface: "tap7", Namespace: tt.namespace})
		_, err := b.Apply(t.Context(), theOperator, []control.Resource{{Kind: control.KindInstances, Record: in}})
		if ok := err == nil; ok != tt.ok || !ok && !strings.Contains(err.Error(), "i-a calls from 10.0.0.5 on interface tap7 of namespace blue") {
			t.Errorf("%s: %v", tt.namespace, err)
		}
	}
}
