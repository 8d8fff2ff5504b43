package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a Server is made of. Only Handler must be set.
//
// Time limits go by a coarse clock: a connection is cut at its limit or
// before it, by an eighth of the shortest limit at most.
type Config struct {
	// Handler answers.
	Handler Handler
	// Logger gets what an operator must know; nothing by default. It never
	// gets any part of a request.
	Logger *slog.Logger
	// HeaderTimeout is how long a head may take, from accept or, on a
	// kept-alive connection, from its first byte. 5 s by default and at most
	// (SEC-28).
	HeaderTimeout time.Duration
	// BodyTimeout is how long the body of a PUT may take after its head; 1 s
	// by default.
	BodyTimeout time.Duration
	// WriteTimeout is how long a client may take to accept an answer; 10 s by
	// default.
	WriteTimeout time.Duration
	// IdleTimeout is how long a kept-alive connection may be idle; 60 s by
	// default.
	IdleTimeout time.Duration
	// MaxConns is how many connections may be open at once, over all
	// listeners; 16,384 by default. More are closed unanswered.
	MaxConns int
	// Portable serves every connection on a goroutine of its own from the
	// start, as on systems other than Linux.
	Portable bool
}

const (
	maxHeaderTimeout = 5 * time.Second
	lingerTimeout    = time.Second // see conn.linger
	lingerBytes      = 256 << 10
	freshGrace       = 100 * time.Millisecond // see roster.drain
	maxPause         = 100 * time.Millisecond // between attempts to accept
	quietTime        = 10 * time.Second       // after which an accept error is news
)

// Server serves connections: one goroutine for each, but on Linux for those
// that end with their first answer. Its methods are safe for concurrent use.
type Server struct {
	handler  Handler
	portable bool
	log      *slog.Logger
	limits   [phases]time.Duration
	roster   roster
	ledger   ledger
	conns    sync.Pool // of *conn
	large    sync.Pool // of *[largeBuffer]byte

	draining atomic.Bool   // no connection is kept from now on
	stop     chan struct{} // closed when draining starts
	loops    sync.WaitGroup

	mu        sync.Mutex // guards what follows, and the start of draining
	listeners map[net.Listener]struct{}
}

// Stats are figures of a Server.
type Stats struct {
	Accepted uint64 // connections, since the start
	Refused  uint64 // of these, closed because MaxConns were open
	Open     int64  // connections now
}

// NewServer returns a server that listens nowhere yet.
func NewServer(cfg Config) *Server {
	limit := func(d, preset time.Duration) time.Duration {
		if d <= 0 {
			return preset
		}
		return d
	}
	s := &Server{
		handler:   cfg.Handler,
		portable:  cfg.Portable,
		log:       cfg.Logger,
		stop:      make(chan struct{}),
		listeners: map[net.Listener]struct{}{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	header := min(limit(cfg.HeaderTimeout, maxHeaderTimeout), maxHeaderTimeout)
	s.limits = [phases]time.Duration{
		fresh:     header,
		idle:      limit(cfg.IdleTimeout, 60*time.Second),
		inHead:    header,
		inBody:    limit(cfg.BodyTimeout, time.Second),
		inAnswer:  limit(cfg.WriteTimeout, 10*time.Second),
		lingering: lingerTimeout,
	}
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = 16384
	}
	s.roster.init(cfg.MaxConns, s.limits)
	s.ledger.init(cfg.Handler)
	s.conns.New = func() any { return newConn(s) }
	s.large.New = func() any { return new([largeBuffer]byte) }
	return s
}

// Serve accepts connections from ln until Shutdown, and returns nil then. It
// closes ln. When ln is closed by somebody else, it returns the error of that,
// and ln's connections live on; other errors it outlasts. Handlers find tag in
// Conn.Listener.
func (s *Server) Serve(ln net.Listener, tag any) error {
	defer ln.Close()
	if !s.enlist(ln) {
		return nil
	}
	defer s.delist(ln)
	var pause time.Duration
	var last time.Time // of an error
	for {
		done, err := s.acceptInline(ln, tag)
		if !done {
			var nc net.Conn
			if nc, err = ln.Accept(); err == nil {
				pause = 0
				s.start(nc, tag)
				continue
			}
		}
		if s.draining.Load() {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept connections: %w", err)
		}
		// Mostly no file descriptor is left, and the end of some connection
		// helps. One record for all that follow each other.
		now := time.Now()
		if now.Sub(last) > quietTime {
			s.log.Error("no connection can be accepted; the server goes on trying",
				"listener", ln.Addr().String(), "err", err)
		}
		last = now
		pause = min(max(2*pause, time.Millisecond), maxPause)
		s.sleep(pause)
	}
}

// enlist makes Shutdown close ln and wait for its Serve. It is false when it
// is too late for that.
func (s *Server) enlist(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.listeners[ln] = struct{}{}
	s.loops.Add(1)
	return true
}

func (s *Server) delist(ln net.Listener) {
	s.mu.Lock()
	delete(s.listeners, ln)
	s.mu.Unlock()
	s.loops.Done()
}

// start begins to serve a connection, or closes it.
func (s *Server) start(nc net.Conn, tag any) {
	c := s.conns.Get().(*conn)
	c.bind(nc, tag)
	if !s.roster.add(c) {
		_ = nc.Close() // nothing was promised to it
		c.unbind()
		s.conns.Put(c)
		return
	}
	go c.run()
}

// sleep waits, but not for longer than until Shutdown.
func (s *Server) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.stop:
	}
}

// Shutdown stops accepting, closes idle connections and waits for the answers
// that are under way. When ctx ends before they do, their connections are cut,
// and ctx's error is returned. In any case nothing of the server runs any more
// when Shutdown returns.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.draining.CompareAndSwap(false, true) {
		close(s.stop)
		for ln := range s.listeners {
			_ = ln.Close() // it is being abandoned
		}
	}
	s.mu.Unlock()
	s.loops.Wait()

	empty := s.roster.drain()
	var err error
	select {
	case <-empty:
	case <-ctx.Done():
		err = fmt.Errorf("wait for running answers: %w", context.Cause(ctx))
		s.roster.cut()
		<-empty
	}
	s.roster.close()
	s.ledger.close()
	return err
}

// Stats returns the server's figures.
func (s *Server) Stats() Stats { return s.roster.stats() }
