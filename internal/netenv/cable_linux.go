package netenv

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Plug makes the pair of interfaces and sets both up. It goes with either
// namespace, or by Unplug.
func Plug(c Cable) error {
	if c.Host.Namespace == "" || c.Guest.Namespace == "" {
		return errors.New("connect two namespaces: neither may be that of the process")
	}
	guest, err := os.Open(namespacePath(c.Guest.Namespace))
	if err != nil {
		return fmt.Errorf("connect two namespaces: %w", err)
	}
	defer guest.Close()
	veth := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: c.Guest.Interface, PeerNamespace: netlink.NsFd(guest.Fd())}
	veth.Name = c.Host.Interface
	if c.MAC != "" {
		if veth.PeerHardwareAddr, err = net.ParseMAC(c.MAC); err != nil {
			return err
		}
	}
	err = at(c.Host.Namespace, func(h *netlink.Handle) error {
		if err := h.LinkAdd(veth); err != nil {
			return fmt.Errorf("make a pair of interfaces: %w", need(err, "CAP_NET_ADMIN", "make an interface"))
		}
		return up(h, c.Host.Interface, c.HostAddresses, nil)
	})
	if err == nil {
		err = at(c.Guest.Namespace, func(h *netlink.Handle) error { return up(h, c.Guest.Interface, c.Addresses, c.OnLink) })
	}
	if err != nil {
		return fmt.Errorf("connect %s and %s: %w", c.Host, c.Guest, err)
	}
	return nil
}

// Unplug removes an interface, and with it the other end.
func Unplug(p Place) error {
	return at(p.Namespace, func(h *netlink.Handle) error {
		link, err := h.LinkByName(p.Interface)
		if err != nil {
			return fmt.Errorf("remove %s: %w", p, err)
		}
		return h.LinkDel(link)
	})
}

// SetUp sets an interface up, such as lo in a new namespace.
func SetUp(p Place) error {
	return at(p.Namespace, func(h *netlink.Handle) error { return up(h, p.Interface, nil, nil) })
}

// Via adds a route by way of a gateway.
func Via(p Place, to netip.Prefix, gateway, source netip.Addr) error {
	return at(p.Namespace, func(h *netlink.Handle) error {
		link, err := h.LinkByName(p.Interface)
		if err != nil {
			return fmt.Errorf("route over %s: %w", p, err)
		}
		return h.RouteReplace(&netlink.Route{
			Family: familyOf(to.Addr()), LinkIndex: link.Attrs().Index, Dst: prefix(to), Gw: gateway.AsSlice(), Src: source.AsSlice(), Priority: 1, Flags: int(netlink.FLAG_ONLINK),
		})
	})
}

// Forward makes a namespace hand on what comes for an address behind one of its
// interfaces, and answer for it on another one.
func Forward(namespace, outer, inner string, addr netip.Addr) error {
	return at(namespace, func(h *netlink.Handle) error {
		in, err := h.LinkByName(inner)
		if err != nil {
			return err
		}
		out, err := h.LinkByName(outer)
		if err != nil {
			return err
		}
		settings := map[string]string{"net/ipv4/ip_forward": "1", path.Join("net/ipv4/conf", outer, "proxy_arp"): "1"}
		if addr.Is6() {
			settings = map[string]string{"net/ipv6/conf/all/forwarding": "1", path.Join("net/ipv6/conf", outer, "proxy_ndp"): "1"}
			err := h.NeighAdd(&netlink.Neigh{LinkIndex: out.Attrs().Index, Family: unix.AF_INET6, Flags: netlink.NTF_PROXY, IP: addr.AsSlice()})
			if err != nil {
				return fmt.Errorf("answer for %s: %w", addr, err)
			}
		}
		for name, value := range settings {
			if err := write(name, value); err != nil {
				return err
			}
		}
		one := netip.PrefixFrom(addr, addr.BitLen())
		return h.RouteReplace(&netlink.Route{Family: familyOf(addr), LinkIndex: in.Attrs().Index, Dst: prefix(one), Scope: unix.RT_SCOPE_LINK})
	})
}

// at calls f with a netlink socket in a namespace, on a thread that is there.
func at(namespace string, f func(*netlink.Handle) error) error {
	return Within(namespace, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("netlink: %w", err)
		}
		defer h.Close()
		return f(h)
	})
}

func up(h *netlink.Handle, name string, addresses, onLink []netip.Prefix) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	for _, a := range addresses {
		x := &netlink.Addr{IPNet: prefix(a)}
		if a.Addr().Is6() {
			x.Flags = unix.IFA_F_NODAD
		}
		if err := h.AddrAdd(link, x); err != nil {
			return fmt.Errorf("give %s to %s: %w", a, name, err)
		}
	}
	for _, to := range onLink {
		r := &netlink.Route{Family: familyOf(to.Addr()), LinkIndex: link.Attrs().Index, Dst: prefix(to), Scope: unix.RT_SCOPE_LINK}
		if err := h.RouteAppend(r); err != nil {
			return fmt.Errorf("route %s to %s: %w", to, name, err)
		}
	}
	return nil
}

func prefix(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
