package control

import (
	"net/netip"

	"openimds/internal/instance"
)

// port is an interface of a host, in which network interfaces of instances end.
type port struct {
	node string
	instance.Attachment
}

// portCaller is an address on a port, as one dialect answers it.
type portCaller struct {
	port
	dialect string
	address netip.Addr
}

// ports are who is attached where.
type ports struct {
	owners  map[port]*instance.Instance
	callers map[portCaller]string
}

func newPorts() ports {
	return ports{map[port]*instance.Instance{}, map[portCaller]string{}}
}

// claim takes the ports of an instance, and says what of them others have:
// nodes would refuse the two, and go on with what they had.
func (p ports) claim(in *instance.Instance) (wrong problems) {
	for i := range in.Interfaces {
		f := &in.Interfaces[i]
		if f.Attachment.Interface == "" {
			continue
		}
		at := port{in.Node, f.Attachment}
		if other := p.owners[at]; other != nil && other.ID != in.ID && other.Network != in.Network {
			wrong.addf("%s of network %s is attached to interface %s, too, and this one is of network %s: an interface belongs to one network",
				other.ID, other.Network, at, in.Network)
			continue
		}
		p.owners[at] = in
		for _, a := range f.Callers() {
			caller := portCaller{at, in.Dialect, a.Unmap().WithZone("")}
			if id := p.callers[caller]; id != "" && id != in.ID {
				wrong.addf("%s calls from %s on interface %s, too: give one of them another address or interface", id, a, at)
			}
			p.callers[caller] = in.ID
		}
	}
	return wrong
}

// String is for people: tap7 of namespace blue of node host-1.
func (p port) String() string {
	text := p.Interface
	if p.Namespace != "" {
		text += " of namespace " + p.Namespace
	}
	if p.node != "" {
		text += " of node " + p.node
	}
	return text
}

// attached reports whether an interface of the instance ends in one of its
// host's.
func attached(in *instance.Instance) bool {
	for i := range in.Interfaces {
		if in.Interfaces[i].Attachment.Interface != "" {
			return true
		}
	}
	return false
}
