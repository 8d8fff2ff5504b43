package wire

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
)

// errWait is what an operation returns that would have to wait on a goroutine
// which must not.
var errWait = errors.New("it would have to wait")

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

	nc   net.Conn
	sock socket // nc, where it is one
	own  inlineConn

	// buf is small, or comes from Server.large. What was read and not yet
	// consumed is buf[r:w].
	buf   []byte
	r, w  int
	small [smallBuffer]byte
	large *[largeBuffer]byte

	phase    phase
	opened   bool // Handler.Open has admitted it
	prefaced bool // what comes before the first message has been read
	dead     bool // was told to end
	broken   bool // Handler has panicked: its memory is not used again

	// inline: serve must not wait. Where it would have to, it returns with waits
	// set, and rest tells what is left of an answer that was made. accepting:
	// what is more, serve runs on the goroutine that accepts.
	inline, accepting, waits, keep bool
	rest                           rest
	step                           func(fd uintptr) bool // readable, bound once

	// short: the last read has left nothing behind it but, perhaps, the
	// client's end. unsure asks the roster to look for that.
	short  bool
	unsure atomic.Bool

	term  atomic.Int64 // a term
	place int          // in roster.conns; guarded by roster.mu
}

// socket is a connection that is one of the kernel's.
type socket interface {
	syscall.Conn
	SetLinger(seconds int) error
}

// A rest is what is left to do of an answer.
type rest uint8

const (
	noRest     rest = iota
	restMake        // it is to be made
	restSend        // it is made, and not sent
	restLinger      // it is sent, and the client may still be sending
)

func newConn(s *Server) *conn {
	c := &conn{s: s}
	c.buf = c.small[:]
	c.x.Conn = &c.info
	c.x.Request.Headers = make([]Header, 0, 16)
	c.x.Out = make([]byte, 0, 1024)
	c.link.init(c)
	c.step = c.readable
	return c
}

// bind makes c the connection nc.
func (c *conn) bind(nc net.Conn, tag any) {
	c.nc = nc
	c.sock, _ = nc.(socket)
	c.info = Conn{Peer: addrPort(nc.RemoteAddr()), Local: addrPort(nc.LocalAddr()), Listener: tag}
	c.begin()
}

// begin makes c ready for a connection.
func (c *conn) begin() {
	c.r, c.w = 0, 0
	c.opened, c.dead, c.prefaced = false, false, false
	c.inline, c.accepting, c.waits, c.rest = false, false, false, noRest
	c.short = false
	c.unsure.Store(false)
	c.term.Store(0)
}

// unbind forgets the connection.
func (c *conn) unbind() {
	c.shrink()
	c.link.reset()
	c.nc, c.sock, c.info = nil, nil, Conn{}
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
	c.end()
}

// end ends the connection.
func (c *conn) end() {
	c.link.finish()
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

// preface reads what comes before the first message. It is false when there is
// nothing good there, or, with waits set, not yet.
func (c *conn) preface(p Prefaced) bool {
	for {
		n, err := p.Preface(&c.info, c.buf[c.r:c.w])
		if err == nil && n < 0 {
			if c.w-c.r < MaxPreface && c.await(head) {
				continue
			}
			return false
		}
		c.r += max(n, 0)
		c.prefaced = err == nil
		return c.prefaced
	}
}

// serve answers message after message. When it returns, the connection is to
// be closed, unless it waits.
func (c *conn) serve() {
	defer c.catch()
	if !c.opened {
		if p, ok := c.info.Listener.(Prefaced); ok && !c.prefaced && !c.preface(p) {
			return
		}
		if !c.s.handler.Open(&c.info) {
			return
		}
		c.opened = true
	}
	if c.rest != noRest && !c.resume() {
		return
	}
	for turn := 1; ; turn++ {
		// A client that has always sent its next request already would keep a
		// processor to itself for as long as the runtime lets it.
		if turn%fairTurns == 0 {
			if c.accepting {
				c.waits = true
				return
			}
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
			if missing != body || c.waits {
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
		if c.accepting {
			// Hardly ever is there another request already.
			c.waits = true
			return false
		}
		c.enter(idle)
		// Either this is seen, or the roster sees that c is idle.
		if c.s.draining.Load() {
			return false
		}
	}
	c.room()
	if c.inline {
		return c.readNow()
	}
	n, err := c.nc.Read(c.buf[c.w:])
	c.w += n
	return n > 0 || err == nil
}

// readNow is the reading of await where it must not wait.
func (c *conn) readNow() bool {
	if c.short && c.phase == idle {
		// A read would most likely find nothing.
		c.short, c.waits = false, true
		c.unsure.Store(true)
		return false
	}
	n, err := c.own.read(c.buf[c.w:])
	if errors.Is(err, errWait) {
		c.waits = true
		return false
	}
	c.short = n < len(c.buf)-c.w
	c.w += n
	return n > 0
}

// readable serves what can be served now. It is false when it is to be called
// again once there is more to read.
func (c *conn) readable(uintptr) bool {
	c.waits = false
	c.serve()
	return !c.waits || c.rest != noRest
}

// late answers a message whose body has not come in time (SEC-23).
func (c *conn) late() {
	defer c.catch()
	c.inline, c.waits = false, false
	c.x.refuse(statusBad)
	c.answer()
}

// settle does the rest of an answer, for which it may wait, and reports whether
// the connection goes on.
func (c *conn) settle() (more bool) {
	defer c.catch()
	c.inline, c.waits = false, false
	more = c.resume()
	c.inline = true
	return more
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
	x.Inline = c.accepting
	c.keep = x.answer(c.s.handler)
	if x.Later && c.accepting {
		return c.pause(restMake)
	}
	return c.deliver()
}

// pause leaves the rest of an answer to a goroutine that may wait.
func (c *conn) pause(r rest) bool {
	c.rest, c.waits = r, true
	return false
}

// resume does what was left of an answer.
func (c *conn) resume() bool {
	r := c.rest
	c.rest = noRest
	switch r {
	case restMake:
		return c.answer()
	case restSend:
		return c.deliver()
	}
	c.linger()
	return false
}

// deliver sends the answer that was made.
func (c *conn) deliver() bool {
	x := &c.x
	if x.Delay > 0 {
		if c.inline {
			return c.pause(restSend)
		}
		c.enterFor(held, never)
		c.s.sleep(x.Delay)
		x.Delay = 0
	}
	switch {
	case x.Abort:
		c.abort()
		return false
	case len(x.Out) == 0:
		return false
	}
	c.enter(inAnswer)
	rest, err := c.link.send(x.Out, x.HopLimit, !c.keep)
	if errors.Is(err, errWait) {
		x.Out = x.Out[:copy(x.Out, rest)]
		return c.pause(restSend)
	}
	if cap(x.Out) > keepOut {
		x.Out = nil
	}
	if err != nil {
		return false
	}
	if !c.keep && (x.Malformed != 0 || x.unread || c.r < c.w || c.w == len(c.buf)) {
		if c.inline {
			return c.pause(restLinger)
		}
		c.linger()
	}
	return c.keep && !c.dead
}

// abort makes the close that follows a reset.
func (c *conn) abort() {
	if c.sock != nil {
		_ = c.sock.SetLinger(0) // else the close is an orderly one
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
