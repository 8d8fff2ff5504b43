package netenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen opens a listener in a namespace and on an interface. It fails with
// ErrNoNamespace or ErrNoInterface where one is missing, and with a NeedError
// where the process lacks a capability.
func Listen(ctx context.Context, s Spec, open Open) (net.Listener, error) {
	if _, err := overIPv6(s.Address); err != nil && s.Place != (Place{}) {
		return nil, s.explain(err) // a name would be looked up, and in another namespace
	}
	var ln net.Listener
	err := Within(s.Namespace, func() (err error) {
		ln, err = open(ctx, "tcp", s.Address, s.control)
		return err
	})
	if err != nil {
		return nil, s.explain(err)
	}
	return ln, nil
}

// control sets what must be set before the socket is bound. What it sets holds
// for accepted connections, too.
func (s Spec) control(_, _ string, raw syscall.RawConn) error {
	if s.Place == (Place{}) && s.MinTTL == 0 {
		return nil
	}
	var inner error
	err := raw.Control(func(fd uintptr) { inner = s.set(int(fd)) })
	return errors.Join(err, inner)
}

func (s Spec) set(fd int) error {
	if s.Interface != "" {
		// Only packets that came in there reach the socket, and answers leave
		// there whatever the routes say. Two connections with the same four
		// addresses on two interfaces are two connections.
		err := unix.BindToDevice(fd, s.Interface)
		if errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("%s: %w", s.Interface, ErrNoInterface)
		}
		if err != nil {
			return fmt.Errorf("bind a socket to %s: %w", s.Place, need(err, "CAP_NET_RAW", "bind a socket to an interface"))
		}
	}
	six, err := overIPv6(s.Address)
	if err != nil {
		return err
	}
	if s.Place != (Place{}) {
		// The address may come after the listener, and may be taken away and
		// put back without one noticing.
		if six {
			err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
		} else {
			err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
		}
		if err != nil {
			return fmt.Errorf("let a socket be bound before its address is there: %w", err)
		}
	}
	if s.MinTTL == 0 {
		return nil
	}
	if six {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT, s.MinTTL)
	} else {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MINTTL, s.MinTTL)
	}
	if err != nil {
		return fmt.Errorf("drop packets with a TTL below %d: %w", s.MinTTL, err)
	}
	return nil
}

func overIPv6(address string) (bool, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false, err
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return false, fmt.Errorf("%q is no IP address: %w", host, err)
	}
	return a.Is6() && !a.Is4In6(), nil
}
