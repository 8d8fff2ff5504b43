package wire

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"sync/atomic"
)

const (
	smallBuffer = 2 << 10  // holds every honest message
	largeBuffer = 16 << 10 // holds every acceptable message

	// fairTurns is how often a connection does something before others may.
	fairTurns = 32

	// keepOut is the capacity of Exchange.Out that is kept for the next answer.
	keepOut = 32 << 10
)

// The larger buffer must never be full with an unfinished message.
const _ = uint(largeBuffer - maxMessage - 1)

// conn is one connection and all the memory it needs. It is used again for
// others.
type conn struct {
	s    *Server
	info Conn
	x    Exchange
	link link

	nc  net.Conn
	tcp *net.TCPConn // nc, where it is one

	// buf is small, or comes from Server.large. What was read and not yet
	// consumed is buf[r:w].
	buf   []byte
	r, w  int
	small [smallBuffer]byte
	large *[largeBuffer]byte

	phase  phase
	opened bool // Handler.Open has admitted it
	dead   bool // was told to end
	broken bool // Handler has panicked: its memory is not used again

	term  atomic.Int64 // a term
	place int          // in roster.conns; guarded by roster.mu
}

func newConn(s *Server) *conn {
	c := &conn{s: s}
	c.buf = c.small[:]
	c.x.Conn = &c.info
	c.x.Request.Headers = make([]Header, 0, 16)
	c.x.Out = make([]byte, 0, 1024)
	c.link.init(c)
	return c
}

// bind makes c the connection nc.
func (c *conn) bind(nc net.Conn, tag any) {
	c.nc = nc
	c.tcp, _ = nc.(*net.TCPConn)
	c.info = Conn{Peer: addrPort(nc.RemoteAddr()), Local: addrPort(nc.LocalAddr()), Listener: tag}
	c.r, c.w = 0, 0
	c.opened, c.dead = false, false
	c.term.Store(0)
}

// unbind forgets the connection.
func (c *conn) unbind() {
	c.shrink()
	c.link.reset()
	c.nc, c.tcp, c.info = nil, nil, Conn{}
}

// addrPort is zero for an address that is no IP address and port.
func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return netip.AddrPort{}
	}
	p := t.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// run serves the connection to its end.
func (c *conn) run() {
	c.serve()
	_ = c.nc.Close() // nobody is left to be told
	if c.opened {
		c.closed()
	}
	c.s.roster.remove(c)
	c.unbind()
	if !c.broken {
		c.s.conns.Put(c)
	}
}

func (c *conn) closed() {
	defer c.catch()
	c.s.handler.Closed(&c.info)
}

// serve answers message after message. When it returns, the connection is to
// be closed.
func (c *conn) serve() {
	defer c.catch()
	if !c.s.handler.Open(&c.info) {
		return
	}
	c.opened = true
	for turn := 1; ; turn++ {
		// A client that has always sent its next request already would keep a
		// processor to itself for as long as the runtime lets it.
		if turn%fairTurns == 0 {
			runtime.Gosched()
		}
		n, missing := 0, head
		if c.r < c.w {
			n, missing = c.x.take(c.buf[c.r:c.w])
		}
		if missing != nothing {
			if c.await(missing) {
				continue
			}
			if missing != body {
				return
			}
			c.x.refuse(statusBad) // SEC-23
		}
		c.r += n
		if !c.answer() {
			return
		}
	}
}

// catch ends the panic of a Handler, which costs the connection and no other.
// The record must not hold what the client sent, so it holds the value that
// was panicked with only where it comes from the runtime.
func (c *conn) catch() {
	v := recover()
	if v == nil {
		return
	}
	c.broken = true
	what := fmt.Sprintf("%T", v)
	if err, ok := v.(runtime.Error); ok {
		what = err.Error()
	}
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	var stack []string
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		stack = append(stack, f.Function+":"+strconv.Itoa(f.Line))
	}
	c.s.log.Error("a handler panicked; its connection is closed", "panic", what, "stack", stack)
}

// await reads more of a message that lacks a part. It is false when no more
// will come, or not in time.
func (c *conn) await(missing part) bool {
	switch {
	case missing == body:
		if c.phase != inBody {
			c.enter(inBody)
		}
	case c.r < c.w:
		switch c.phase {
		case fresh:
			c.turn(inHead)
		case inHead:
		default:
			c.enter(inHead)
		}
	case c.phase != fresh:
		c.enter(idle)
		// Either this is seen, or the roster sees that c is idle.
		if c.s.draining.Load() {
			return false
		}
	}
	c.room()
	n, err := c.nc.Read(c.buf[c.w:])
	c.w += n
	return n > 0 || err == nil
}

// room makes room for reading.
func (c *conn) room() {
	switch {
	case c.r == c.w:
		c.shrink()
	case c.w < len(c.buf):
	case c.r > 0:
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	default:
		c.large = c.s.large.Get().(*[largeBuffer]byte)
		copy(c.large[:], c.buf)
		c.buf = c.large[:]
	}
}

// shrink goes back to the small buffer and drops what was read.
func (c *conn) shrink() {
	c.r, c.w = 0, 0
	if c.large != nil {
		c.s.large.Put(c.large)
		c.buf, c.large = c.small[:], nil
	}
}

// answer answers the message that was taken, and reports whether the
// connection goes on.
func (c *conn) answer() bool {
	x := &c.x
	if c.s.draining.Load() {
		x.Request.Close = true
	}
	keep := x.answer(c.s.handler)
	if x.Delay > 0 {
		c.enterFor(held, never)
		c.s.sleep(x.Delay)
	}
	switch {
	case x.Abort:
		c.abort()
		return false
	case len(x.Out) == 0:
		return false
	}
	c.enter(inAnswer)
	err := c.link.send(x.Out, x.HopLimit, !keep)
	if cap(x.Out) > keepOut {
		x.Out = nil
	}
	if err != nil {
		return false
	}
	if !keep && (x.Malformed != 0 || x.unread || c.r < c.w || c.w == len(c.buf)) {
		c.linger()
	}
	return keep && !c.dead
}

// abort makes the close that follows a reset.
func (c *conn) abort() {
	if c.tcp != nil {
		_ = c.tcp.SetLinger(0) // else the close is an orderly one
	}
}

// linger gives the client time to read the answer although it has sent, or is
// sending, what nobody reads: closing now would reset the connection, and the
// answer could be lost. What comes is dropped, within bounds.
func (c *conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.enter(lingering)
	if c.dead {
		c.s.roster.unlock(c)
	}
	for left := lingerBytes; left > 0; {
		n, err := c.nc.Read(c.buf)
		if err != nil {
			return
		}
		left -= n
	}
}
