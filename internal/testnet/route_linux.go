package testnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// LocalRoute makes the IPv4 address addr local to the loopback interface until
// the test ends: a server can bind it, and a client of it is seen as coming
// from src, an address in 127.0.0.0/8. The route belongs to the namespace, so
// tests that want different sources for one address do not run in parallel.
func LocalRoute(t testing.TB, addr, src netip.Addr) {
	t.Helper()
	RequireIsolated(t)
	if err := route(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, addr, src); err != nil {
		t.Fatalf("route %s to the loopback interface: %v", addr, err)
	}
	t.Cleanup(func() {
		if err := route(unix.RTM_DELROUTE, 0, addr, src); err != nil {
			t.Errorf("remove the route of %s: %v", addr, err)
		}
	})
}

// linkUp is `ip link set NAME up`.
func linkUp(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return os.NewSyscallError("get interface flags", err)
	}
	if req.Uint16()&unix.IFF_UP != 0 {
		return nil
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	return os.NewSyscallError("set interface flags", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req))
}

// route is `ip route replace|del local ADDR dev lo table local src SRC`.
func route(kind, flags uint16, addr, src netip.Addr) error {
	if !addr.Is4() || !src.Is4() || !src.IsLoopback() {
		return fmt.Errorf("want an IPv4 address and an IPv4 loopback source, have %s and %s", addr, src)
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	msg := routeMessage(kind, flags, addr, src, uint32(lo.Index))
	if err := unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return os.NewSyscallError("recvfrom", err)
	}
	if n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return errors.New("netlink: no acknowledgement")
	}
	if errno := -int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); errno != 0 {
		return os.NewSyscallError("netlink", unix.Errno(errno))
	}
	return nil
}

// routeMessage is a netlink message for a route of type local to addr, with
// the preferred source src: header, struct rtmsg, attributes.
func routeMessage(kind, flags uint16, addr, src netip.Addr, link uint32) []byte {
	b := make([]byte, 4, 64) // the length, filled in last
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	b = binary.NativeEndian.AppendUint32(b, 1) // sequence
	b = binary.NativeEndian.AppendUint32(b, 0) // the kernel knows who we are
	b = append(b, unix.AF_INET, uint8(addr.BitLen()), 0, 0,
		unix.RT_TABLE_LOCAL, unix.RTPROT_BOOT, unix.RT_SCOPE_HOST, unix.RTN_LOCAL)
	b = binary.NativeEndian.AppendUint32(b, 0) // rtm_flags
	attribute := func(kind uint16, value []byte) {
		b = binary.NativeEndian.AppendUint16(b, uint16(4+len(value)))
		b = binary.NativeEndian.AppendUint16(b, kind)
		b = append(b, value...) // four bytes each, so nothing to align
	}
	attribute(unix.RTA_DST, addr.AsSlice())
	attribute(unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, link))
	attribute(unix.RTA_PREFSRC, src.AsSlice())
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	return b
}
