//go:build !linux

package netenv

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
)

var errLinux = errors.New("network namespaces and interfaces need Linux")

// Within runs f; elsewhere than on Linux there are no namespaces.
func Within(namespace string, f func() error) error {
	if namespace != "" {
		return errLinux
	}
	return f()
}

// Listen opens a listener; elsewhere than on Linux not in a namespace or on an
// interface.
func Listen(ctx context.Context, s Spec, open Open) (net.Listener, error) {
	if s.Place != (Place{}) || s.MinTTL != 0 {
		return nil, s.explain(errLinux)
	}
	ln, err := open(ctx, "tcp", s.Address)
	if err != nil {
		return nil, s.explain(err)
	}
	return ln, nil
}

// Adopt is adopt; elsewhere than on Linux no listener is on an interface.
func Adopt(_ Spec, f *os.File, adopt func(*os.File) (net.Listener, error)) (net.Listener, error) {
	return adopt(f)
}

// Watch needs Linux.
func Watch(context.Context, Watching, func(Change)) error { return errLinux }

// OpenNeighbours needs Linux.
func OpenNeighbours(Place) (*Neighbours, error) { return nil, errLinux }

// OpenAttacher needs Linux.
func OpenAttacher(Attaching) (*Attacher, error) { return nil, errLinux }

// Attach needs Linux.
func (a *Attacher) Attach(Place, netip.Addr) error { return errLinux }

// Detach needs Linux.
func (a *Attacher) Detach(Place, netip.Addr) error { return errLinux }

// Leave needs Linux.
func (a *Attacher) Leave() {}

// Return needs Linux.
func (a *Attacher) Return() error { return errLinux }

// Cleanup needs Linux.
func (a *Attacher) Cleanup() error { return errLinux }
