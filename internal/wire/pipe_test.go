package wire

import (
	"net"
	"sync"
)

// pipes is a listener in memory.
type pipes struct {
	half  bool // its connections can be half closed
	queue chan net.Conn
	done  chan struct{}
	once  sync.Once

	mu   sync.Mutex
	errs []error // returned by Accept before any connection
}

func newPipes(errs ...error) *pipes {
	return &pipes{queue: make(chan net.Conn), done: make(chan struct{}), errs: errs}
}

func (p *pipes) dial() net.Conn {
	near, far := net.Pipe()
	if p.half {
		far = half{far}
	}
	select {
	case p.queue <- far:
	case <-p.done:
		far.Close()
	}
	return near
}

func (p *pipes) Accept() (net.Conn, error) {
	p.mu.Lock()
	if len(p.errs) > 0 {
		err := p.errs[0]
		p.errs = p.errs[1:]
		p.mu.Unlock()
		return nil, err
	}
	p.mu.Unlock()
	select {
	case nc := <-p.queue:
		return nc, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// half is a connection whose client is told of the end only when it is closed
// altogether.
type half struct{ net.Conn }

func (half) CloseWrite() error { return nil }
