//go:build !linux

package handover

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

var errLinux = errors.New("a process is replaced by another on Linux alone: stop it and start it again")

// Sockets opens listening sockets; elsewhere than on Linux none is inherited.
type Sockets struct{}

// Listen returns what open opens.
func (s *Sockets) Listen(_ string, _ func(*os.File) (net.Listener, error), open func() (net.Listener, error)) (net.Listener, error) {
	return open()
}

// Settle does nothing: nothing was inherited.
func (s *Sockets) Settle(context.Context, time.Duration) []string { return nil }

// Again needs Linux.
func (s *Sockets) Again() (*Sockets, error) { return nil, errLinux }

// Inherit inherits nothing.
func Inherit(string) (*Sockets, *Predecessor, error) { return &Sockets{}, nil, nil }

// Predecessor needs Linux. Nil: there is none.
type Predecessor struct{}

// Ready does nothing.
func (p *Predecessor) Ready() error { return nil }

// Serving does nothing.
func (p *Predecessor) Serving() error { return nil }

// Refuse does nothing.
func (p *Predecessor) Refuse(error) {}

// Program is what an old process starts in its place.
type Program struct {
	Path      string
	Args, Env []string
	Variable  string
	Patience  time.Duration
	Sibling   bool
}

// Successor needs Linux.
type Successor struct{}

// Start needs Linux.
func (s *Sockets) Start(Program) (*Successor, error) { return nil, errLinux }

// Release needs Linux.
func (n *Successor) Release() error { return errLinux }

// PID needs Linux.
func (n *Successor) PID() int { return 0 }

// End needs Linux.
func (n *Successor) End() {}
