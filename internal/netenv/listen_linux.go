package netenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
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

// Adopt makes a listener, as adopt does, of a listening socket that another
// process opened with Listen, and takes the file over. A socket stays with the
// interface and in the namespace that it was opened for: where those have gone
// since, and others have their names, it is closed, and that is ErrElsewhere.
func Adopt(s Spec, f *os.File, adopt func(*os.File) (net.Listener, error)) (net.Listener, error) {
	raw, err := f.SyscallConn()
	if err == nil {
		var inner error
		err = raw.Control(func(fd uintptr) { inner = s.holds(int(fd)) })
		err = errors.Join(err, inner)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("take over the listener on %s, %s: %w", s.Address, s.Place, err), f.Close())
	}
	return adopt(f)
}

// holds returns an error if a socket is not where s says. Before Linux 5.14 the
// kernel does not tell of which namespace a socket is, and none is taken over.
func (s Spec) holds(fd int) error {
	if s.Interface != "" {
		if name, err := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE); err != nil || name != s.Interface {
			return errors.Join(ErrElsewhere, err) // the kernel keeps the number, and looks for its present name
		}
	}
	if s.Namespace == "" {
		return nil
	}
	is, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return errors.Join(ErrElsewhere, err)
	}
	return Within(s.Namespace, func() error {
		here, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		want, err := unix.GetsockoptUint64(here, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		if err == nil && is != want {
			err = ErrElsewhere
		}
		return errors.Join(err, unix.Close(here))
	})
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
