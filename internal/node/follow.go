package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"sync"
	"time"

	"openimds/internal/fault"
	"openimds/internal/netenv"
)

// retryListen is how often a listener is tried again that could not be opened.
const retryListen = 5 * time.Second

// Follow listens wherever the patterns of l's Namespace and Interface match,
// serves there, and stops where the interface or the namespace goes. What does
// not exist yet is waited for. A listener that cannot be opened is told of,
// once, and tried again; the others are not concerned.
//
// Follow ends with ctx and closes its listeners then; connections live on until
// Shutdown. It returns an error at once for what time cannot mend: a rule that
// is wrong, or a capability that the process lacks.
func (n *Node) Follow(ctx context.Context, l Listener) error {
	if _, err := n.service(l.Dialect); err != nil {
		return err
	}
	if _, err := netip.ParseAddrPort(l.Address); err != nil {
		return fault.New(fault.Invalid, "listen on %q: want an IP address and a port, such as 169.254.169.254:80", l.Address)
	}
	if err := l.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &follower{Node: n, rule: l, open: map[netenv.Place]*Endpoint{}, owed: map[netenv.Place]string{}, cancel: cancel}
	defer f.end()
	f.tasks.Go(func() { f.retry(ctx) })
	err := netenv.Watch(ctx, netenv.Watching{
		Rule: netenv.Rule{Namespace: l.Namespace, Interface: l.Interface}, Logger: n.log.With("dialect", l.Dialect, "address", l.Address),
	}, func(c netenv.Change) { f.change(ctx, c) })
	cancel()
	f.mu.Lock()
	err = errors.Join(err, f.failed)
	f.mu.Unlock()
	if err != nil {
		return fmt.Errorf("listen on %s by a rule: %w", l.Address, err)
	}
	return nil
}

// follower is a running Follow.
type follower struct {
	*Node
	rule   Listener
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu     sync.Mutex // guards the rest
	open   map[netenv.Place]*Endpoint
	owed   map[netenv.Place]string // places that are there, and why they have no listener
	failed error                   // why to give up
}

func (f *follower) change(ctx context.Context, c netenv.Change) {
	if !f.gate.enter(ctx) {
		return // end closes all
	}
	defer f.gate.leave()
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.Gone {
		delete(f.owed, c.Place)
		if e := f.open[c.Place]; e != nil {
			delete(f.open, c.Place)
			f.close(c.Place, e)
			f.log.Debug("listener closed: its place is gone", "place", c.String(), "dialect", f.rule.Dialect)
		}
		f.detach(c.Place)
		return
	}
	f.try(ctx, c.Place)
}

// detach takes back what attach did. What went with the interface is no
// trouble.
func (f *follower) detach(at netenv.Place) {
	if !f.rule.Attach {
		return
	}
	if err := f.cfg.Attacher.Detach(at, f.address()); err != nil {
		f.log.Warn("a link-local address was not taken back", "place", at.String(), "err", err)
	}
}

// attach puts the rule's address on an interface.
func (f *follower) attach(at netenv.Place) error {
	if f.cfg.Attacher == nil {
		return fault.New(fault.Invalid, "nothing here can attach addresses: give the service a folder to keep account of them")
	}
	return f.cfg.Attacher.Attach(at, f.address())
}

// address is the one that the rule listens on.
func (f *follower) address() netip.Addr {
	a, _ := netip.ParseAddrPort(f.rule.Address) // checked by Listen
	return a.Addr()
}

// try opens the listener of a place. The lock is held.
func (f *follower) try(ctx context.Context, at netenv.Place) {
	l := f.rule
	l.Namespace, l.Interface = at.Namespace, at.Interface
	e, err := f.listenAt(ctx, l)
	if err == nil {
		delete(f.owed, at)
		f.open[at] = e
		f.log.Debug("listener opened", "place", at.String(), "dialect", l.Dialect, "address", l.Address)
		f.tasks.Go(func() {
			if err := f.Serve(e); err != nil && !errors.Is(err, net.ErrClosed) {
				f.log.Error("a listener ended", "place", at.String(), "dialect", l.Dialect, "err", err)
			}
		})
		return
	}
	if _, lacks := errors.AsType[*netenv.NeedError](err); lacks || fault.KindOf(err) == fault.Invalid {
		f.failed = err
		f.cancel()
		return
	}
	if f.owed[at] != err.Error() {
		f.log.Error("a listener cannot be opened; it is tried again", "place", at.String(), "dialect", l.Dialect, "err", err)
	}
	f.owed[at] = err.Error()
}

// listenAt puts the address in place and opens the listener.
func (f *follower) listenAt(ctx context.Context, l Listener) (*Endpoint, error) {
	if l.Attach {
		if err := f.attach(l.place()); err != nil {
			return nil, err
		}
	}
	return f.Listen(ctx, l)
}

// retry opens what could not be opened, until ctx ends.
func (f *follower) retry(ctx context.Context) {
	tick := time.NewTicker(retryListen)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !f.gate.enter(ctx) {
			return
		}
		f.mu.Lock()
		for at := range f.owed {
			f.try(ctx, at)
		}
		f.mu.Unlock()
		f.gate.leave()
	}
}

// close closes a listener whose place is gone, or is not followed any more.
func (f *follower) close(at netenv.Place, e *Endpoint) {
	if err := e.Close(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, fs.ErrClosed) {
		f.log.Warn("a listener did not close as it should", "place", at.String(), "err", err)
	}
}

// end closes all listeners and waits for what was started.
func (f *follower) end() {
	f.mu.Lock()
	for at, e := range f.open {
		f.close(at, e)
		f.detach(at)
	}
	f.mu.Unlock()
	f.tasks.Wait()
}
