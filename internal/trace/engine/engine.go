// Package engine observes metadata connections: which process makes one, and
// what is sent over it. There are four engines, from the best down; Open takes
// the first that the machine permits.
//
//	cgrich    eBPF; the process is described in full when it connects
//	cgroup    eBPF with stable interfaces alone (no BTF, strict lockdown)
//	tpcgperf  eBPF for kernels before 5.8
//	afpacket  packet sockets and /proc: no eBPF, weak at short-lived processes
//
// All of them only observe, and leave nothing behind when the process ends.
package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"openimds/internal/trace/record"
)

// Names of the engines, from the best down.
var Names = []string{"cgrich", "cgroup", "tpcgperf", "afpacket"}

// Limits of Options.
const (
	MaxPorts = 4
	MaxIPv4  = 8
	MaxIPv6  = 4
)

// Options say what to observe.
type Options struct {
	// Targets are addresses of metadata services, at most MaxIPv4 and MaxIPv6.
	Targets []netip.Addr
	// Ports of the services, at most MaxPorts.
	Ports []uint16
	// Answers are observed too, for their status.
	Answers bool
	// Log gets what is worth knowing about the set-up.
	Log *slog.Logger
}

// Check says what is wrong with the options.
func (o Options) Check() error {
	v4, v6 := o.split()
	switch {
	case len(v4)+len(v6) == 0 || len(o.Ports) == 0:
		return errors.New("no address or no port to observe")
	case len(v4) > MaxIPv4 || len(v6) > MaxIPv6 || len(o.Ports) > MaxPorts:
		return fmt.Errorf("at most %d IPv4 addresses, %d IPv6 addresses and %d ports can be observed", MaxIPv4, MaxIPv6, MaxPorts)
	}
	return nil
}

func (o Options) split() (v4, v6 []netip.Addr) {
	for _, a := range o.Targets {
		if a = a.Unmap(); a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	return v4, v6
}

// watched reports whether a connection's peer is to be observed.
func (o Options) watched(peer netip.AddrPort) bool {
	for _, p := range o.Ports {
		if p != peer.Port() {
			continue
		}
		for _, a := range o.Targets {
			if a.Unmap() == peer.Addr().Unmap() {
				return true
			}
		}
	}
	return false
}

// Engine is an observer at work.
type Engine interface {
	// Name is one of Names.
	Name() string
	// Read waits for the next record. It returns io.EOF when the engine was
	// stopped and all records have been read, and another error for a record
	// that cannot be read, after which it can be called again. One goroutine
	// reads.
	Read() (record.Record, error)
	// Counts tells what was lost so far.
	Counts() Counts
	// Stop ends observing, while another goroutine reads.
	Stop() error
	// Close removes everything. Nobody reads any more.
	Close() error
}

// Counts are what an engine could not tell, since it was opened.
type Counts struct {
	// Lost are records for which there was no room: connects, pieces of
	// requests, answers.
	LostConnects, LostRequests, LostAnswers uint64
	// Unknown are packets of a connection whose process is not known.
	Unknown uint64
	// Cut are segments that were larger than what is copied.
	Cut uint64
}

// Attempt is what became of trying an engine.
type Attempt struct {
	Engine string
	// Err says why it is not possible; nil: it is.
	Err error
}

// Unavailable is the error of Open when no engine that was asked for works.
type Unavailable struct{ Attempts []Attempt }

// Error says for each engine why it does not work.
func (u *Unavailable) Error() string {
	var b strings.Builder
	b.WriteString("cannot observe here")
	for _, a := range u.Attempts {
		fmt.Fprintf(&b, "\n  %s: %v", a.Engine, a.Err)
	}
	return b.String()
}
