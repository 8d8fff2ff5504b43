//go:build linux

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long answers are waited for when all requests are sent.
const patience = 2 * time.Second

// schedule returns when requests are due, counted from the start.
func schedule(rate float64, duration time.Duration, seed uint64) []time.Duration {
	random := rand.New(rand.NewPCG(seed, 0))
	var due []time.Duration
	for at := 0.0; ; {
		at += random.ExpFloat64() / rate
		d := time.Duration(at * float64(time.Second))
		if d >= duration {
			return due
		}
		due = append(due, d)
	}
}

// generator is one run. It turns in a loop without ever sleeping, so that a
// request goes out when it is due: it wants a core of its own.
type generator struct {
	to      unix.SockaddrInet4
	request []byte
	status  []byte // start of the status line
	fresh   bool
	epoll   int

	due  []time.Duration
	next int     // index in due of the request to send
	idle []*conn // connections, or with fresh: room for them
	open int     // requests that are being answered
	byFD []*conn

	start   time.Time
	elapsed time.Duration // to the last answer
	took    []answer
	lag     []time.Duration
	failed  int
}

// answer is when a request was due, and how long its answer took from then.
type answer struct{ due, took time.Duration }

// conn is a connection, or room for one.
type conn struct {
	fd   int // -1: none
	due  time.Duration
	sent bool // the request is
	done bool // the answer is there; the server's FIN is missing
	busy bool
	n    int
	buf  [4096]byte
}

func newGenerator(at netip.AddrPort, request []byte, status string, conns int, fresh bool, due []time.Duration) (*generator, error) {
	g := &generator{
		to:      unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()},
		request: request, status: []byte("HTTP/1.1 " + status + " "), fresh: fresh,
		due: due, took: make([]answer, 0, len(due)), lag: make([]time.Duration, 0, len(due)),
		byFD: make([]*conn, 1<<16),
	}
	var err error
	if g.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make an epoll instance: %w", err)
	}
	for range conns {
		c := &conn{fd: -1}
		if !fresh {
			if err := g.connect(c, false); err != nil {
				return nil, fmt.Errorf("connect to %s: %w", at, err)
			}
		}
		g.idle = append(g.idle, c)
	}
	return g, nil
}

// connect gives c a connection, which may still be under way when nonblock.
func (g *generator) connect(c *conn, nonblock bool) error {
	kind := unix.SOCK_STREAM | unix.SOCK_CLOEXEC
	if nonblock {
		kind |= unix.SOCK_NONBLOCK
	}
	fd, err := unix.Socket(unix.AF_INET, kind, 0)
	if err != nil {
		return err
	}
	err = unix.Connect(fd, &g.to)
	if err == nil || nonblock && err == unix.EINPROGRESS {
		err = unix.SetNonblock(fd, true)
	}
	if err == nil && fd >= len(g.byFD) {
		err = unix.EMFILE
	}
	if err == nil {
		err = unix.EpollCtl(g.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{
			Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLET&0xffffffff, Fd: int32(fd),
		})
	}
	if err != nil {
		_ = unix.Close(fd)
		return err
	}
	c.fd, g.byFD[fd] = fd, c
	return nil
}

func (g *generator) run() error {
	var events [256]unix.EpollEvent
	g.start = time.Now()
	last := g.due[len(g.due)-1] + patience
	for g.next < len(g.due) || g.open > 0 {
		now := time.Since(g.start)
		if now > last {
			return nil
		}
		for g.next < len(g.due) && g.due[g.next] <= now && len(g.idle) > 0 {
			g.send(now)
		}
		n, err := unix.EpollWait(g.epoll, events[:], 0)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("wait for events: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			if c := g.byFD[e.Fd]; c != nil && c.busy {
				g.serve(c)
			}
		}
	}
	return nil
}

// send sends the request that is due on the connection that was idle longest.
func (g *generator) send(now time.Duration) {
	c := g.idle[0]
	copy(g.idle, g.idle[1:])
	g.idle = g.idle[:len(g.idle)-1]
	c.due, c.sent, c.done, c.busy, c.n = g.due[g.next], false, false, true, 0
	g.next++
	g.open++
	g.lag = append(g.lag, now-c.due)
	if g.fresh {
		if err := g.connect(c, true); err != nil {
			g.fail(c)
			return
		}
	}
	g.serve(c)
}

// serve goes on with what c waits for.
func (g *generator) serve(c *conn) {
	if !c.sent {
		switch _, err := unix.Write(c.fd, g.request); err {
		case nil:
			c.sent = true
		case unix.EAGAIN:
		default:
			g.fail(c)
		}
		return // an event will tell of the answer
	}
	for {
		n, err := unix.Read(c.fd, c.buf[c.n:])
		switch {
		case err == unix.EAGAIN:
			return
		case err != nil, n == 0 && !c.done:
			g.fail(c)
			return
		case n == 0: // the server has closed first, as it should
			g.release(c)
			return
		}
		c.n += n
		whole, ok := g.whole(c.buf[:c.n])
		if !ok {
			g.fail(c)
			return
		}
		if whole && !c.done {
			c.done = true
			g.elapsed = time.Since(g.start)
			g.took = append(g.took, answer{c.due, g.elapsed - c.due})
			if !g.fresh {
				g.release(c)
				return
			}
		}
	}
}

// whole reports whether b is a whole answer; ok is false when it is a wrong
// one.
func (g *generator) whole(b []byte) (whole, ok bool) {
	head, body, found := bytes.Cut(b, []byte("\r\n\r\n"))
	if !found {
		return false, len(b) < 4096
	}
	if !bytes.HasPrefix(head, g.status) {
		return false, false
	}
	const name = "\r\nContent-Length: "
	i := bytes.Index(head, []byte(name))
	if i < 0 {
		return false, false
	}
	value, _, _ := bytes.Cut(head[i+len(name):], []byte("\r\n"))
	n, err := strconv.Atoi(string(value))
	return len(body) == n, err == nil && len(body) <= n
}

// fail gives up a request.
func (g *generator) fail(c *conn) {
	if !c.done {
		g.failed++
	}
	g.hangUp(c)
	if !g.fresh && g.connect(c, false) != nil {
		c.busy = false
		g.open--
		return // one connection less
	}
	g.release(c)
}

// release makes c idle.
func (g *generator) release(c *conn) {
	if g.fresh {
		g.hangUp(c)
	}
	c.busy = false
	g.open--
	g.idle = append(g.idle, c)
}

func (g *generator) hangUp(c *conn) {
	if c.fd >= 0 {
		g.byFD[c.fd] = nil
		_ = unix.Close(c.fd)
		c.fd = -1
	}
}
