package instance

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValidateAll(t *testing.T) {
	build := func(id, dialect string, n int) *Instance {
		in := valid(dialect)
		in.ID = id
		in.Interfaces[0].MAC = fmt.Sprintf("02:00:5e:10:00:%02x", n)
		in.Sources = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, byte(n)})}
		return in
	}
	tests := []struct {
		name string
		all  func() []*Instance
		want []string
	}{
		{"apart", func() []*Instance {
			return []*Instance{build("i-a", "ec2", 1), nil, build("i-b", "ec2", 2)}
		}, nil},
		{"one address in two dialects", func() []*Instance {
			a, b := build("i-a", "ec2", 1), build("i-b", "ecs", 2)
			b.Sources = a.Sources
			return []*Instance{a, b}
		}, nil},
		{"one address and hardware address in two networks", func() []*Instance {
			a, b := build("i-a", "ec2", 1), build("i-b", "ec2", 1)
			b.Network = "tenant-2"
			return []*Instance{a, b}
		}, nil},
		{"one source", func() []*Instance {
			a, b := build("i-a", "ec2", 1), build("i-b", "ec2", 2)
			b.Sources = append(b.Sources, a.Sources...)
			return []*Instance{a, b}
		}, []string{"instances[1].sources[1]: i-a and i-b both call from 127.0.0.1 in network default: give one of them another address or network"}},
		{"one interface address", func() []*Instance {
			a, b := build("i-a", "ec2", 1), build("i-b", "ec2", 2)
			a.Sources, b.Sources = nil, nil
			b.Interfaces[0].IPv4 = nil
			return []*Instance{a, b}
		}, []string{"instances[1].interfaces[0].ipv6[0]: i-a and i-b both call from 2001:db8::5 in network default: give one of them another address or network"}},
		{"one hardware address", func() []*Instance {
			a, b := build("i-a", "ec2", 1), build("i-b", "ecs", 2)
			b.Interfaces[0].MAC = a.Interfaces[0].MAC
			return []*Instance{a, b}
		}, []string{"instances[1].interfaces[0].mac: i-a and i-b both have the hardware address 02:00:5e:10:00:01 in network default"}},
		{"one interface of two hosts", func() []*Instance {
			a, b := build("i-a", "ec2", 1), build("i-b", "ec2", 1)
			for _, in := range []*Instance{a, b} {
				in.Sources, in.Interfaces[0].Attachment.Interface = nil, "tap7"
			}
			a.Node, b.Node, b.Network = "h-1", "h-2", "tenant-2"
			return []*Instance{a, b}
		}, nil},
		{"one interface of one host, two networks", func() []*Instance {
			a, b := build("i-a", "ec2", 1), build("i-b", "ec2", 2)
			for _, in := range []*Instance{a, b} {
				in.Node, in.Sources, in.Interfaces[0].Attachment.Interface = "h-1", nil, "tap7"
			}
			b.Network = "tenant-2"
			return []*Instance{a, b}
		}, []string{"instances[1].interfaces[0].attachment: i-a of network default and i-b of network tenant-2 both claim interface tap7: an interface belongs to one network"}},
		{"one id", func() []*Instance {
			return []*Instance{build("i-a", "ec2", 1), build("i-b", "ec2", 2), build("i-a", "ecs", 3)}
		}, []string{"instances[2].id: i-a is the id of instances[0] too, expected one that is unique in the file"}},
		{"a broken one", func() []*Instance {
			a := build("", "ec2", 1)
			b := build("i-b", "ec2", 1)
			b.Interfaces[0].MAC = "02:00:5e:10:00:02"
			return []*Instance{a, b}
		}, []string{
			"instances[0].id: is required",
			"instances[1].sources[0]: instances[0] and i-b both call from 127.0.0.1 in network default: give one of them another address or network",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, p := range ValidateAll(tt.all()) {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
