package wire

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A container behind more hops than an answer may make never acknowledges it.
// Nothing else tells the operator, so the ends of connections whose last
// answer had a hop limit are looked at. Other connections cost nothing.

// Bounds of the ledger.
const (
	ledgerTick  = 500 * time.Millisecond
	ledgerLooks = 5    // ticks after which an answer counts as lost
	ledgerMost  = 1024 // connections that are looked at; others are not
)

// ledger holds the sockets of connections that the server has ended, until
// their last answer was acknowledged or counts as lost.
type ledger struct {
	tell  func(*Conn) // nil: nobody wants to know
	tasks sync.WaitGroup
	stop  chan struct{}

	mu      sync.Mutex // guards what follows
	open    []pending
	running bool
	closed  bool
}

// pending is a socket, closed in both directions but for what is on its way.
type pending struct {
	fd    int
	conn  Conn
	looks int
}

func (b *ledger) init(h Handler) {
	b.stop = make(chan struct{})
	if w, ok := h.(Watcher); ok {
		b.tell = w.Unacknowledged
	}
}

// finish looks at a connection that is about to be closed. Its last answer had
// a hop limit. ours tells that the server ends it, right behind that answer.
func (b *ledger) finish(fd int, c *Conn, ours bool) {
	if b.tell == nil {
		return
	}
	if !ours {
		if unacknowledged(fd) {
			b.tell(c)
		}
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || len(b.open) >= ledgerMost {
		return
	}
	twin, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return // no descriptor is left: answering is more important
	}
	// The close of the other one ends nothing now.
	_ = unix.Shutdown(fd, unix.SHUT_WR)
	b.open = append(b.open, pending{fd: twin, conn: *c})
	if !b.running {
		b.running = true
		b.tasks.Go(b.run)
	}
}

// run looks at the sockets until there are none.
func (b *ledger) run() {
	t := time.NewTicker(ledgerTick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-b.stop:
			return
		}
		lost, more := b.look()
		for i := range lost {
			b.tell(&lost[i])
		}
		if !more {
			return
		}
	}
}

// look closes sockets that have nothing left to tell, and returns the
// connections whose answer was lost.
func (b *ledger) look() (lost []Conn, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.open[:0]
	for _, p := range b.open {
		switch p.looks++; {
		case !unacknowledged(p.fd):
		case p.looks < ledgerLooks:
			kept = append(kept, p)
			continue
		default:
			lost = append(lost, p.conn)
		}
		_ = unix.Close(p.fd) // both directions are
	}
	clear(b.open[len(kept):])
	b.open = kept
	b.running = len(kept) > 0
	return lost, b.running
}

// close closes all sockets; what becomes of them is not told any more.
func (b *ledger) close() {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.stop)
	}
	b.mu.Unlock()
	b.tasks.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.open {
		_ = unix.Close(p.fd) // both directions are
	}
	b.open = nil
}

// unacknowledged reports whether something that was sent has not arrived. It
// is right for a connection that the client has reset, too, which has
// forgotten what it had in flight.
func unacknowledged(fd int) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return false
	}
	return info.Bytes_sent-info.Bytes_retrans > info.Bytes_acked || info.Notsent_bytes > 0
}
