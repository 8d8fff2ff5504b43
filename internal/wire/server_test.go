package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"openimds/internal/testnet"
)

// patience bounds everything in a test that must not take for ever.
const patience = 10 * time.Second

// serveOn starts a server on ln; it is shut down when the test ends.
func serveOn(t *testing.T, ln net.Listener, cfg Config) *Server {
	t.Helper()
	cfg.Portable = portableOnly
	s := NewServer(cfg)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln, "tag") }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if open := s.Stats().Open; open != 0 {
			t.Errorf("%d connections are open after Shutdown", open)
		}
	})
	return s
}

// listen opens a listener on loopback.
func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// start starts a server on loopback and returns it with its address.
func start(t *testing.T, cfg Config) (*Server, string) {
	t.Helper()
	ln := listen(t)
	return serveOn(t, ln, cfg), ln.Addr().String()
}

// client is one connection to a server.
type client struct {
	*net.TCPConn
	t *testing.T
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	return &client{nc.(*net.TCPConn), t, bufio.NewReader(nc)}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// answer reads one answer and returns its status and body.
func (c *client) answer() string {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatalf("no body: %v", err)
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", res.StatusCode, b))
}

func (c *client) want(want string) {
	c.t.Helper()
	if got := c.answer(); got != want {
		c.t.Fatalf("answer %q, want %q", got, want)
	}
}

// wantClosed asserts that the server closed the connection in order.
func (c *client) wantClosed() {
	c.t.Helper()
	if b, err := io.ReadAll(c.r); err != nil || len(b) > 0 {
		c.t.Fatalf("%q, %v; want the end of the connection", b, err)
	}
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

const token = "PUT /latest/api/token HTTP/1.1\r\nHost: a\r\n"

func TestConversations(t *testing.T) {
	_, addr := start(t, Config{Handler: &fake{}, BodyTimeout: 50 * time.Millisecond})
	big := "X: " + strings.Repeat("x", 7000)
	var many string
	var numbers []string
	for i := range 200 {
		many += request(fmt.Sprintf("GET /%d HTTP/1.1", i))
		numbers = append(numbers, fmt.Sprintf("200 %d", i))
	}
	tests := []struct {
		name   string
		sent   []string // in packets of their own
		want   []string
		closed bool
	}{
		{"one", []string{get()}, []string{"200 latest/meta-data"}, false},
		{"one after the other", []string{get(), get()}, []string{"200 latest/meta-data", "200 latest/meta-data"}, false},
		{"pipelined", []string{get() + request("GET /b HTTP/1.1") + get()}, []string{"200 latest/meta-data", "200 b", "200 latest/meta-data"}, false},
		{"pipelined, over the buffer", []string{many}, numbers, false},
		{"pipelined, the last in two parts", []string{get() + "GET /b HT", "TP/1.1\r\nHost: a\r\n\r\n"}, []string{"200 latest/meta-data", "200 b"}, false},
		{"large head, then a small one", []string{get(big), get()}, []string{"200 latest/meta-data", "200 latest/meta-data"}, false},
		{"large heads pipelined", []string{get(big) + get(big)}, []string{"200 latest/meta-data", "200 latest/meta-data"}, false},
		{"large head in parts", []string{get(big)[:2000], get(big)[2000:4000], get(big)[4000:]}, []string{"200 latest/meta-data"}, false},
		{"HTTP/1.0", []string{request("GET /b HTTP/1.0")}, []string{"200 b"}, true},
		{"Connection: close", []string{get("Connection: close")}, []string{"200 latest/meta-data"}, true},
		{"close with another request behind", []string{get("Connection: close") + get()}, []string{"200 latest/meta-data"}, true},
		{"SEC-13 body", []string{token + "Content-Length: 5\r\n\r\nhello" + get()}, []string{"200 latest/api/token", "200 latest/meta-data"}, false},
		{"SEC-13 body in a second packet", []string{token + "Content-Length: 5\r\n\r\n", "hello" + get()}, []string{"200 latest/api/token", "200 latest/meta-data"}, false},
		{"SEC-13 body in three packets", []string{token + "Content-Length: 4096\r\n\r\n", strings.Repeat("x", 4000), strings.Repeat("x", 96)}, []string{"200 latest/api/token"}, false},
		{"SEC-13 longest head and body", []string{request("PUT /t HTTP/1.1", "Content-Length: 4096", "X: "+strings.Repeat("x", 8000)) + strings.Repeat("x", 4096)}, []string{"200 t"}, false},
		{"SEC-13 too large a body", []string{token + "Content-Length: 4097\r\n\r\n"}, []string{"413"}, true},
		{"SEC-20 length and coding", []string{token + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"}, []string{"400 latest/api/token"}, true},
		{"SEC-23 GET with a body", []string{get("Content-Length: 5")}, []string{"400 latest/meta-data"}, true},
		{"SEC-23 body that never comes", []string{token + "Content-Length: 5\r\n\r\nhell"}, []string{"400 latest/api/token"}, true},
		{"SEC-26 long target, no end", []string{"GET /" + strings.Repeat("a", 3000)}, []string{"414"}, true},
		{"SEC-26 large head, no end", []string{"GET / HTTP/1.1\r\nX: " + strings.Repeat("a", 9000)}, []string{"431"}, true},
		{"SEC-27 HTTP/2 preface", []string{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}, []string{"400"}, true},
		{"SEC-27 HTTP/0.9", []string{"GET /\r\n"}, []string{"400"}, true},
		{"SEC-29 Expect without a body", []string{token + "Expect: 100-continue\r\n\r\n"}, []string{"200 latest/api/token"}, false},
		{"SEC-29 Expect, body to come", []string{token + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"}, []string{"200 latest/api/token"}, true},
		{"other method, body to come", []string{request("POST /b HTTP/1.1", "Content-Length: 100000")}, []string{"200 b"}, true},
		{"malformed behind a good one", []string{get() + "x\r\n"}, []string{"200 latest/meta-data", "400"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// 413 and the like leave no path to echo.
			c := dial(t, addr)
			for i, s := range tt.sent {
				if i > 0 {
					time.Sleep(5 * time.Millisecond) // most likely a packet of its own
				}
				c.send(s)
			}
			for _, want := range tt.want {
				if got := c.answer(); got != want && strings.Fields(got)[0] != want {
					t.Fatalf("answer %q, want %q", got, want)
				}
			}
			if tt.closed {
				c.wantClosed()
				return
			}
			c.send(get())
			c.want("200 latest/meta-data")
		})
	}
}

// Cut at every place, a conversation is the same.
func TestByteByByte(t *testing.T) {
	ln := newPipes()
	serveOn(t, ln, Config{Handler: &fake{}})
	nc := ln.dial()
	defer nc.Close()
	in := get() + token + "Content-Length: 5\r\n\r\nhello" + request("HEAD /b%63 HTTP/1.1")
	go func() {
		for i := range len(in) {
			if _, err := nc.Write([]byte{in[i]}); err != nil {
				return
			}
		}
	}()
	c := &client{t: t, r: bufio.NewReader(nc)}
	nc.SetDeadline(time.Now().Add(patience))
	c.want("200 latest/meta-data")
	c.want("200 latest/api/token")
	c.want("200 bc")
}

func TestHalfClose(t *testing.T) {
	_, addr := start(t, Config{Handler: &fake{}})
	t.Run("behind a request", func(t *testing.T) {
		c := dial(t, addr)
		c.send(get())
		c.CloseWrite()
		c.want("200 latest/meta-data")
		c.wantClosed()
	})
	t.Run("in a head", func(t *testing.T) {
		c := dial(t, addr)
		c.send("GET / HTTP/1.1\r\n")
		c.CloseWrite()
		c.wantClosed()
	})
	t.Run("SEC-23 in a body", func(t *testing.T) {
		c := dial(t, addr)
		c.send(token + "Content-Length: 5\r\n\r\nhe")
		c.CloseWrite()
		c.want("400 latest/api/token")
		c.wantClosed()
	})
	t.Run("at once", func(t *testing.T) {
		c := dial(t, addr)
		c.CloseWrite()
		c.wantClosed()
	})
	// The end may come together with the request, and one wake-up is for both.
	t.Run("behind a later request", func(t *testing.T) {
		for range 200 {
			c := dial(t, addr)
			for range 2 {
				c.send(get())
				c.want("200 latest/meta-data")
			}
			c.send(get())
			c.CloseWrite()
			c.want("200 latest/meta-data")
			c.wantClosed()
		}
	})
}

// A client that goes on sending gets the answer all the same.
func TestAnswerInSpiteOfInput(t *testing.T) {
	_, addr := start(t, Config{Handler: &fake{}})
	for name, tt := range map[string]struct{ head, want string }{
		"SEC-13 large body":     {token + "Content-Length: 1000000\r\n\r\n", "413 latest/api/token"},
		"SEC-23 body of a GET":  {get("Content-Length: 1000000"), "400 latest/meta-data"},
		"more requests":         {get("Connection: close") + "GET ", "200 latest/meta-data"},
		"body of another":       {request("POST /b HTTP/1.1", "Content-Length: 1000000"), "200 b"},
		"SEC-26 endless header": {"GET / HTTP/1.1\r\nX: ", "431"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, addr)
			c.send(tt.head)
			for range 12 {
				c.send(strings.Repeat("x", 16<<10))
			}
			c.want(tt.want)
			c.CloseWrite()
			c.wantClosed()
		})
	}
}

// checkEnds asserts that a Handler knows who is connected with what.
func checkEnds(t *testing.T, ln net.Listener) {
	opened, closed := make(chan Conn, 1), make(chan Conn, 1)
	serveOn(t, ln, Config{Handler: &fake{
		open:   func(c *Conn) bool { c.Caller = "caller"; opened <- *c; return true },
		closed: func(c *Conn) { closed <- *c },
	}})
	local := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(ln.Addr().(*net.TCPAddr).Port))
	c := dial(t, local.String())
	c.send(get())
	c.want("200 latest/meta-data")
	want := Conn{Peer: c.LocalAddr().(*net.TCPAddr).AddrPort(), Local: local, Listener: "tag"}
	if got := <-opened; got.Peer != want.Peer || got.Local != want.Local || got.Listener != want.Listener {
		t.Errorf("opened as %v, want %v", got, want)
	}
	c.Close()
	want.Caller = "caller"
	if got := <-closed; got != want {
		t.Errorf("closed as %v, want %v", got, want)
	}
}

func TestConnKnowsItsEnds(t *testing.T) { checkEnds(t, listen(t)) }

func TestOpenRefuses(t *testing.T) {
	s, addr := start(t, Config{Handler: &fake{
		open:   func(*Conn) bool { return false },
		serve:  func(*Exchange) { t.Error("Serve was called") },
		closed: func(*Conn) { t.Error("Closed was called") },
	}})
	c := dial(t, addr)
	c.send("G") // a connection is accepted when it has something to say
	if b, err := io.ReadAll(c); len(b) > 0 || err == nil && s.Stats().Accepted != 1 {
		t.Errorf("%q, %v", b, err)
	}
}

func TestMaxConns(t *testing.T) {
	s, addr := start(t, Config{Handler: &fake{}, MaxConns: 2})
	a, b := dial(t, addr), dial(t, addr)
	for _, c := range []*client{a, b} {
		c.send(get())
		c.want("200 latest/meta-data")
	}
	c := dial(t, addr)
	c.Write([]byte(get()))
	if got, _ := io.ReadAll(c); len(got) > 0 {
		t.Errorf("a third connection got %q", got)
	}
	if got, want := s.Stats(), (Stats{Accepted: 3, Refused: 1, Open: 2}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	a.Close()
	eventually(t, "one is closed", func() bool { return s.Stats().Open == 1 })
	d := dial(t, addr)
	d.send(get())
	d.want("200 latest/meta-data")
}

func TestPanics(t *testing.T) {
	const secret = "AQAEsecret"
	var out syncBuffer
	boom := func() { panic("while looking at " + secret) }
	var where atomic.Value
	where.Store("")
	_, addr := start(t, Config{
		Logger: testnet.Logger(&out, nil),
		Handler: &fake{
			open: func(*Conn) bool {
				if where.Load() == "open" {
					boom()
				}
				return true
			},
			serve: func(x *Exchange) {
				switch where.Load() {
				case "serve":
					boom()
				case "runtime":
					_ = x.Request.Headers[MaxHeaders]
				}
				echo(x)
			},
			closed: func(*Conn) {
				if where.Load() == "closed" {
					boom()
				}
			},
		},
	})
	bystander := dial(t, addr)
	bystander.send(get())
	bystander.want("200 latest/meta-data")
	for _, place := range []string{"open", "serve", "runtime", "closed"} {
		where.Store(place)
		c := dial(t, addr)
		c.Write([]byte(get("X: "+secret, "Connection: close")))
		b, _ := io.ReadAll(c)
		if got := len(b) > 0; got != (place == "closed") {
			t.Errorf("panic in %s: answer %q", place, b)
		}
		eventually(t, "logged", func() bool { return strings.Count(out.String(), "a handler panicked") > 0 })
		if log := out.take(); strings.Contains(log, secret) || !strings.Contains(log, "TestPanics") {
			t.Errorf("panic in %s: log %s", place, log)
		}
	}
	where.Store("")
	bystander.send(get())
	bystander.want("200 latest/meta-data")
}

// syncBuffer is a buffer that is written to by others.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// take empties the buffer.
func (b *syncBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.b.Reset()
	return b.b.String()
}

func TestAbort(t *testing.T) {
	_, addr := start(t, Config{Handler: &fake{serve: func(x *Exchange) { echo(x); x.Abort = true }}})
	c := dial(t, addr)
	c.send(get())
	if b, err := io.ReadAll(c); len(b) > 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%q, %v; want a reset", b, err)
	}
}

func TestNoAnswer(t *testing.T) {
	_, addr := start(t, Config{Handler: &fake{serve: func(*Exchange) {}}})
	c := dial(t, addr)
	c.send(get())
	c.wantClosed()
}

func TestLargeAnswer(t *testing.T) {
	large := strings.Repeat("x", 4<<20)
	_, addr := start(t, Config{Handler: &fake{serve: func(x *Exchange) {
		x.Out = fmt.Appendf(x.Out, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(large), large)
	}}})
	for _, option := range []string{"X: y", "Connection: close"} {
		c := dial(t, addr)
		c.send(get(option))
		time.Sleep(20 * time.Millisecond) // most likely the socket is full now
		c.want("200 " + large)
	}
}

func TestScratchIsKept(t *testing.T) {
	_, addr := start(t, Config{Handler: &fake{serve: func(x *Exchange) {
		n, _ := x.Scratch.(int)
		x.Scratch = n + 1
		x.Out = fmt.Appendf(x.Out, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", n)
	}}})
	c := dial(t, addr)
	for _, want := range []string{"200 0", "200 1", "200 2"} {
		c.send(get())
		c.want(want)
	}
}
