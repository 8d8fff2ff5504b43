package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"openimds/internal/handover"
	"openimds/internal/netenv"
	"openimds/internal/wire"
)

// inheritVariable tells a process that it takes over from another.
const inheritVariable = "IMDS_SERVE_INHERITS"

// patience is how long a new process may take for a step: it reads a store.
const patience = time.Minute

// line is the line of processes that an `imds serve` stands in: what it has of
// the one before, and what the next one needs. A nil one is of a service that
// is not replaced.
type line struct {
	log     *slog.Logger
	program string // path, as it was at the start
	notify  string // systemd's socket
	sockets *handover.Sockets
	// old is the process before; nil: there is none, or it has gone.
	old *handover.Predecessor
	// inherits tells that there are sockets, and addresses on interfaces, of
	// a service before.
	inherits bool
	// again tells that the service is to begin anew in this process.
	again bool
	// next is the process that is to take over; nil: none is.
	next *handover.Successor
	hup  chan os.Signal
}

// openLine takes over what there is. SIGHUP calls for a successor from then on.
func openLine(log *slog.Logger) (*line, error) {
	l := &line{log: log, notify: os.Getenv("NOTIFY_SOCKET"), hup: make(chan os.Signal, 1)}
	var err error
	if l.program, err = os.Executable(); err != nil {
		return nil, fmt.Errorf("find the program: %w", err)
	}
	// It may come before everything is up, and must not end the process.
	signal.Notify(l.hup, syscall.SIGHUP)
	l.sockets, l.old, err = handover.Inherit(os.Getenv(inheritVariable))
	l.inherits = l.old != nil
	return l, err
}

// close ends it.
func (l *line) close() { signal.Stop(l.hup) }

// open opens a socket for instances, or takes over that of the service before.
func (l *line) open(ctx context.Context, at netenv.Spec) (net.Listener, error) {
	return l.sockets.Listen("instances "+at.Key(),
		func(f *os.File) (net.Listener, error) { return netenv.Adopt(at, f, wire.Adopt) },
		func() (net.Listener, error) { return netenv.Listen(ctx, at, wire.Listen) })
}

// listen opens a socket of an API likewise.
func (l *line) listen(ctx context.Context, what, address string) (net.Listener, error) {
	open := func() (net.Listener, error) { return new(net.ListenConfig).Listen(ctx, "tcp", address) }
	if l == nil {
		return open()
	}
	return l.sockets.Listen(what+" "+address, func(f *os.File) (net.Listener, error) {
		ln, err := net.FileListener(f)
		return ln, errors.Join(err, f.Close())
	}, open)
}

// called is what a call for a successor comes from.
func (l *line) called() <-chan os.Signal {
	if l == nil {
		return nil
	}
	return l.hup
}

// serving tells the process before that it may end.
func (l *line) serving() {
	if l == nil {
		return
	}
	if err := l.old.Serving(); err != nil {
		l.log.Warn("the old process was not told that this one serves", "err", err)
	}
	l.old = nil
}

// refuse tells the process before why it has to go on by itself.
func (l *line) refuse(why error) { l.old.Refuse(why) }

// start starts a successor. It reports whether that is ready to take over.
func (l *line) start() bool {
	l.log.Info("a new process is to take over", "program", l.program)
	var err error
	l.next, err = l.sockets.Start(handover.Program{
		Path: l.program, Args: os.Args[1:], Env: os.Environ(), Variable: inheritVariable, Patience: patience, Sibling: l.notify != "",
	})
	if err != nil {
		l.log.Error("no new process takes over; this one goes on", "err", err)
	}
	return err == nil
}

// settleTime is how long none of the sockets of the service before was taken
// over before the rest is given up: interfaces are found one by one.
const settleTime = 4 * time.Second

// settle gives up what the service before had and this one does not use.
func (l *line) settle(ctx context.Context, a *netenv.Attacher) {
	for _, key := range l.sockets.Settle(ctx, settleTime) {
		l.log.Info("a listener of the old process is not in use any more", "listener", key)
	}
	if a != nil && ctx.Err() == nil {
		if err := a.Cleanup(); err != nil {
			l.log.Error("addresses that are not needed any more were not taken off their interfaces", "err", err)
		}
	}
}
