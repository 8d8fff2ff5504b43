package wire

import (
	"sync"
	"sync/atomic"
	"time"
)

// A phase is what a connection is doing. Each has a limit of time.
type phase uint8

const (
	fresh     phase = iota // accepted, no byte yet
	idle                   // kept alive, no byte of the next message yet
	inHead                 // in the midst of a head
	inBody                 // in the midst of a body
	inAnswer               // writing
	lingering              // answered and closing
	held                   // delayed on purpose
	phases
)

// A term is when a connection's phase has to end: nanoseconds of the roster's
// clock and, in the low bits, the phase.
type term int64

const (
	phaseBits = 3
	// expired is the term of a connection that was told to end.
	expired term = -1
	never        = time.Duration(1<<59 - 1)
)

func (t term) phase() phase                 { return phase(t & (1<<phaseBits - 1)) }
func (t term) at() time.Duration            { return time.Duration(t >> phaseBits) }
func (t term) as(p phase) term              { return t&^(1<<phaseBits-1) | term(p) }
func termOf(at time.Duration, p phase) term { return term(at)<<phaseBits | term(p) }

// roster knows all connections and cuts those whose term is over. A connection
// that changes phase stores a word; no timer is set, and no clock is read. One
// goroutine looks at all of them now and then, while there are any.
type roster struct {
	tick  time.Duration
	most  int
	epoch time.Time
	now   atomic.Int64 // nanoseconds since epoch when the sweeper last looked

	sweeper sync.WaitGroup
	stop    chan struct{} // ends the sweeper

	mu       sync.Mutex // guards what follows, conn.place, and conn.nc of conns
	conns    []*conn
	sweeping bool
	draining bool
	killed   bool          // all connections were cut
	empty    chan struct{} // closed when draining and no connection is left
	accepted uint64
	refused  uint64
}

// init readies a roster of at most most connections.
func (r *roster) init(most int, limits [phases]time.Duration) {
	r.most, r.epoch = most, time.Now()
	r.tick = time.Second
	for _, d := range limits {
		if d > 0 {
			r.tick = min(r.tick, d)
		}
	}
	r.tick = max(r.tick/16, time.Millisecond)
	r.stop, r.empty = make(chan struct{}), make(chan struct{})
}

// add takes c up as a fresh connection. It is false when there are too many
// already.
func (r *roster) add(c *conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accepted++
	if len(r.conns) >= r.most {
		r.refused++
		return false
	}
	if !r.sweeping {
		r.sweeping = true
		r.now.Store(int64(time.Since(r.epoch)))
		r.sweeper.Go(r.sweep)
	}
	c.place = len(r.conns)
	r.conns = append(r.conns, c)
	c.enter(fresh)
	return true
}

// remove forgets c.
func (r *roster) remove(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := len(r.conns) - 1
	moved := r.conns[last]
	r.conns[c.place], moved.place = moved, c.place
	r.conns[last] = nil
	r.conns = r.conns[:last]
	if last == 0 && r.draining {
		close(r.empty)
	}
}

// sweep cuts connections until there are none.
func (r *roster) sweep() {
	t := time.NewTicker(r.tick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-r.stop:
			return
		}
		if !r.look() {
			return
		}
	}
}

// look cuts the connections whose term is over, or will be before the next
// look. It is false when there are none at all.
func (r *roster) look() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Since(r.epoch)
	r.now.Store(int64(now))
	if len(r.conns) == 0 {
		r.sweeping = false
		return false
	}
	for _, c := range r.conns {
		if t := term(c.term.Load()); t.at() <= now+r.tick || c.left(t) {
			c.expire(t, past)
		}
	}
	return true
}

// left reports whether an idle connection waits in vain, since its client has
// ended it right behind its last request. The poller told of both at once, and
// a read that leaves the request nothing is not followed by another.
func (c *conn) left(t term) bool {
	return t.phase() == idle && c.unsure.Swap(false) && c.own.ended()
}

// drain ends the connections that wait for nothing in particular. A fresh one
// may have a request in the socket already, and is given a moment to show it.
// The channel is closed once all connections have ended.
func (r *roster) drain() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.draining {
		r.draining = true
		if len(r.conns) == 0 {
			close(r.empty)
		}
	}
	for _, c := range r.conns {
		switch t := term(c.term.Load()); t.phase() {
		case idle:
			c.expire(t, past)
		case fresh:
			c.expire(t, time.Now().Add(freshGrace))
		}
	}
	return r.empty
}

// cut ends all connections whatever they do.
func (r *roster) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.killed = true
	for _, c := range r.conns {
		_ = c.nc.SetDeadline(past) // fails only where it is closed already
	}
}

// unlock lets c, which was told to end, read once more, unless all were cut.
func (r *roster) unlock(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.killed {
		_ = c.nc.SetReadDeadline(time.Time{}) // a read will tell
	}
}

// close waits for the sweeper. No connection may be left.
func (r *roster) close() {
	r.mu.Lock()
	select {
	case <-r.stop:
	default:
		close(r.stop)
	}
	r.mu.Unlock()
	r.sweeper.Wait()
}

func (r *roster) stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Stats{Accepted: r.accepted, Refused: r.refused, Open: int64(len(r.conns))}
}

// past is a deadline that makes reads and writes return at once.
var past = time.Unix(1, 0)

// enter begins a phase. The limit of the phase counts from now.
func (c *conn) enter(p phase) {
	c.enterFor(p, c.s.limits[p])
}

func (c *conn) enterFor(p phase, limit time.Duration) {
	c.phase = p
	if t := termOf(time.Duration(c.s.roster.now.Load())+limit, p); c.term.Swap(int64(t)) == int64(expired) {
		c.dead = true
	}
}

// turn makes the phase p and leaves its term as it is.
func (c *conn) turn(p phase) {
	c.phase = p
	if t := c.term.Load(); t != int64(expired) {
		c.term.CompareAndSwap(t, int64(term(t).as(p)))
	}
}

// expire tells c to end if its term is still t: what it does now, it may do
// until deadline. The roster's lock is held.
func (c *conn) expire(t term, deadline time.Time) {
	if t == expired || !c.term.CompareAndSwap(int64(t), int64(expired)) {
		return
	}
	// What fails here is closed already.
	if t.phase() == inAnswer {
		_ = c.nc.SetWriteDeadline(deadline)
	} else {
		_ = c.nc.SetReadDeadline(deadline)
	}
}
