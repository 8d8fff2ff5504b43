// Package netenv is the Linux plumbing of the data plane: listeners in network
// namespaces and on interfaces, interfaces and namespaces as they come and go,
// link-local addresses put on interfaces and taken back, and what the kernel
// knows of a neighbour. It changes nothing that it cannot name and undo, and
// never moves the process to another namespace.
package netenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
)

// NamespaceDir is where named network namespaces are, as `ip netns` makes them.
const NamespaceDir = "/run/netns"

// A Place is where a listener is: a network namespace and an interface in it.
type Place struct {
	// Namespace is a name below NamespaceDir or the path of a namespace file;
	// empty: the namespace of the process.
	Namespace string
	// Interface is the name of an interface; empty: any.
	Interface string
}

// String is for people: tap7 in namespace blue.
func (p Place) String() string {
	switch {
	case p == Place{}:
		return "every interface"
	case p.Namespace == "":
		return "interface " + p.Interface
	case p.Interface == "":
		return "namespace " + p.Namespace
	}
	return "interface " + p.Interface + " in namespace " + p.Namespace
}

// Clean returns the place with the name of its namespace in its one spelling:
// the path of a named namespace is its name.
func (p Place) Clean() Place {
	p.Namespace = cleanNamespace(p.Namespace)
	return p
}

// cleanNamespace returns the one spelling of a namespace's name or path.
func cleanNamespace(name string) string {
	if !strings.Contains(name, "/") {
		return name
	}
	path := filepath.Clean(name)
	for _, dir := range []string{NamespaceDir, "/var/run/netns"} {
		if base, ok := strings.CutPrefix(path, dir+"/"); ok && !strings.Contains(base, "/") {
			return base
		}
	}
	return path
}

// namespacePath is the file of a namespace.
func namespacePath(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	return filepath.Join(NamespaceDir, name)
}

// Spec says where and how a listener is opened.
type Spec struct {
	Place
	// Address is an IP address and a port. On an interface or in a namespace
	// it may be missing still: the listener works once it is there.
	Address string
	// MinTTL, if not 0, makes the kernel drop packets whose IPv4 TTL or IPv6
	// hop limit is lower: those of machines further away.
	MinTTL int
}

// Key names what a listener's socket depends on: two Specs with one key have
// sockets that can stand in for each other, as long as Adopt agrees.
func (s Spec) Key() string {
	return fmt.Sprintf("%q %q %s %d", s.Namespace, s.Interface, s.Address, s.MinTTL)
}

// Control is what net.ListenConfig.Control is: it is called with the socket
// before that is bound.
type Control = func(network, address string, raw syscall.RawConn) error

// Open opens a listener in the namespace of the calling thread, and calls the
// Controls before it binds. It must not leave the thread.
type Open = func(ctx context.Context, network, address string, more ...Control) (net.Listener, error)

// Errors that a caller may wait out.
var (
	// ErrNoNamespace: there is no such namespace.
	ErrNoNamespace = errors.New("there is no such network namespace")
	// ErrNoInterface: there is no such interface.
	ErrNoInterface = errors.New("there is no such interface")
)

// ErrElsewhere tells of a socket that is not where a Spec says.
var ErrElsewhere = errors.New("the socket is on another interface, or in another namespace, that had the name before")

// A NeedError is something that the process may not do for want of a
// capability.
type NeedError struct {
	// Capability is its name, such as CAP_NET_ADMIN.
	Capability string
	// Why says what it is needed for.
	Why string
	// Err is what the kernel said.
	Err error
}

// Error names the capability, and why.
func (e *NeedError) Error() string {
	return fmt.Sprintf("%s is needed to %s: %v (run as root, or with AmbientCapabilities=%s in the systemd unit)", e.Capability, e.Why, e.Err, e.Capability)
}

// Unwrap returns what the kernel said.
func (e *NeedError) Unwrap() error { return e.Err }

// need makes err a NeedError where the kernel refused for want of a privilege.
func need(err error, capability, why string) error {
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		return &NeedError{capability, why, err}
	}
	return err
}

// explain says what to do about a listener that could not be opened.
func (s Spec) explain(err error) error {
	var known *NeedError
	switch {
	case errors.As(err, &known), errors.Is(err, ErrNoInterface), errors.Is(err, ErrNoNamespace):
		return fmt.Errorf("listen on %s, %s: %w", s.Address, s.Place, err)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s, %s: the address is taken: another listener has it, or the same port on every address or interface (ss -ltnp shows which): %w", s.Address, s.Place, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen on %s, %s: no interface has the address: add it, or let it be attached: %w", s.Address, s.Place, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen on %s, %s: %w", s.Address, s.Place, need(err, "CAP_NET_BIND_SERVICE", "listen on a port below 1024"))
	case errors.Is(err, syscall.EMFILE):
		return fmt.Errorf("listen on %s, %s: every listener needs a file descriptor: raise LimitNOFILE in the systemd unit, or ulimit -n: %w", s.Address, s.Place, err)
	}
	return fmt.Errorf("listen on %s, %s: %w", s.Address, s.Place, err)
}
