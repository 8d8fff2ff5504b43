package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"openimds/internal/systemd"
)

// guestDrain is how long running answers to instances may take when a new
// process waits: all others wait that long, too.
const guestDrain = time.Second

// handOver ends the service for the process that is ready to take over: first
// the APIs, as long as running answers take, while instances are still served;
// then these; then the store, which only one process can have. Whoever comes
// meanwhile waits in the sockets. If the new process does not serve then, line
// has the sockets for a service of this process, which is to begin anew.
func (s *service) handOver(web *http.Server, served <-chan struct{}, stopTasks, stopFollowing func()) error {
	l := s.line
	spare, err := l.sockets.Again()
	if err != nil {
		l.next.End()
		return err
	}
	s.ready.Store(false)
	stopTasks()
	end, stop := context.WithTimeout(context.Background(), shutdownTime)
	defer stop()
	// Every connection that was accepted is counted once accepting has ended.
	// Shutdown would drop requests that it did not find begun: they end by
	// themselves before.
	_ = s.control.Close()
	<-served
	web.SetKeepAlivesEnabled(false)
	for s.callers.Load() > 0 && end.Err() == nil {
		time.Sleep(2 * time.Millisecond)
	}
	if s.fleet != nil {
		err = errors.Join(err, s.fleet.shutdown(end))
	}
	if late := web.Shutdown(end); late != nil {
		err = errors.Join(err, late, web.Close())
	}
	if s.attacher != nil {
		s.attacher.Leave()
	}
	stopFollowing()
	end, stop = context.WithTimeout(context.Background(), guestDrain)
	defer stop()
	err = errors.Join(err, s.node.Shutdown(end))
	s.running.Wait()
	if err = errors.Join(err, s.plane.close()); err != nil {
		s.log.Warn("not everything ended as it should before the new process takes over", "err", err)
	}
	if err := l.next.Release(); err != nil {
		l.log.Error("the new process did not take over; this one begins anew", "err", err)
		l.sockets, l.inherits, l.again = spare, true, true
		return nil
	}
	s.tell(systemd.MainPID(l.next.PID()))
	l.log.Info("the new process has taken over", "pid", l.next.PID())
	return nil
}

// serveAPIs answers on the control address, and closes served once it accepts
// nothing any more.
func (s *service) serveAPIs(web *http.Server, served chan<- struct{}) {
	defer close(served)
	web.ConnState = func(_ net.Conn, is http.ConnState) {
		switch is {
		case http.StateNew:
			s.callers.Add(1)
		case http.StateClosed, http.StateHijacked:
			s.callers.Add(-1)
		}
	}
	err := web.Serve(s.control)
	if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		s.failed <- fmt.Errorf("serve %s: %w", s.control.Addr(), err)
	}
}
