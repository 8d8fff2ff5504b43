package wire

import (
	"fmt"
	"strings"
	"testing"
)

// fake is a Handler made of functions; those that are nil do the usual.
type fake struct {
	open   func(c *Conn) bool
	serve  func(x *Exchange)
	closed func(c *Conn)
}

func (f *fake) Open(c *Conn) bool { return f.open == nil || f.open(c) }

func (f *fake) Serve(x *Exchange) {
	if f.serve != nil {
		f.serve(x)
		return
	}
	echo(x)
}

func (f *fake) Closed(c *Conn) {
	if f.closed != nil {
		f.closed(c)
	}
}

// echo answers with the path, and with the status where that is not 200.
func echo(x *Exchange) {
	status := 200
	if x.Malformed != 0 {
		status = x.Malformed
	}
	x.Out = fmt.Appendf(x.Out, "HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s", status, len(x.Request.Path), x.Request.Path)
}

func TestTake(t *testing.T) {
	tests := []struct {
		name, in, rest string // rest is what is left behind the message
		missing        part
		status         int
		unread         bool
	}{
		{name: "nothing", missing: head},
		{name: "half a head", in: "GET / HT", missing: head},
		{name: "a message and more", in: get(), rest: "GET"},
		{name: "malformed", in: "GET /\r\n", rest: "GET /\r\n", status: 400},
		{name: "SEC-13 whole body", in: put("Content-Length: 5") + "hello", rest: "GET"},
		{name: "SEC-13 half a body", in: put("Content-Length: 5") + "he", missing: body},
		{name: "SEC-13 longest body", in: put("Content-Length: 4096") + strings.Repeat("x", 4096), rest: "GET"},
		{name: "SEC-29 whole body", in: put("Content-Length: 5", "Expect: 100-continue") + "hello", rest: "GET"},
		{name: "SEC-29 no body yet", in: put("Content-Length: 5", "Expect: 100-continue"), unread: true},
		{name: "body of another method", in: request("POST / HTTP/1.1", "Content-Length: 5"), rest: "hello", unread: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var x Exchange
			in := tt.in
			if tt.status == 0 {
				in += tt.rest
			}
			n, missing := x.take([]byte(in))
			if missing != tt.missing || x.Malformed != tt.status || x.unread != tt.unread || x.Request.Close != (tt.unread || tt.status != 0) {
				t.Errorf("missing %d, status %d, unread %v, close %v", missing, x.Malformed, x.unread, x.Request.Close)
			}
			if missing == nothing && in[n:] != tt.rest {
				t.Errorf("left %q, want %q", in[n:], tt.rest)
			}
		})
	}
}

func TestKeep(t *testing.T) {
	plain := func(x *Exchange) { x.Out = append(x.Out, "answer"...) }
	tests := []struct {
		name, in string
		serve    func(x *Exchange)
		want     bool
	}{
		{"HTTP/1.1", get(), plain, true},
		{"HTTP/1.1 and close", get("Connection: close"), plain, false},
		{"HTTP/1.0", request("GET / HTTP/1.0"), plain, false},
		{"HTTP/1.0 and keep-alive", request("GET / HTTP/1.0", "Connection: keep-alive"), plain, true},
		{"both options", get("Connection: close, keep-alive"), plain, false},
		{"malformed", "GET /\r\n", plain, false},
		{"unread body", request("POST / HTTP/1.1", "Content-Length: 5"), plain, false},
		{"no answer", get(), func(*Exchange) {}, false},
		{"CloseAfter", get(), func(x *Exchange) { plain(x); x.CloseAfter = true }, false},
		{"Abort", get(), func(x *Exchange) { plain(x); x.Abort = true }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var x Exchange
			if _, missing := x.take([]byte(tt.in)); missing != nothing {
				t.Fatalf("part %d is missing", missing)
			}
			if keep := x.answer(&fake{serve: tt.serve}); keep != tt.want {
				t.Errorf("kept: %v, want %v", keep, tt.want)
			}
		})
	}
}

// What one answer asked for does not apply to the next.
func TestExchangeStartsAfresh(t *testing.T) {
	var x Exchange
	first := true
	h := &fake{serve: func(x *Exchange) {
		if len(x.Out) > 0 || x.CloseAfter || x.HopLimit != 0 || x.Delay != 0 || x.Abort {
			t.Errorf("left over: %d bytes, close %v, hop limit %d, delay %v, abort %v", len(x.Out), x.CloseAfter, x.HopLimit, x.Delay, x.Abort)
		}
		if (x.Malformed != 0) != first {
			t.Errorf("status %d", x.Malformed)
		}
		x.Out = append(x.Out, "answer"...)
		x.CloseAfter, x.HopLimit, x.Delay, x.Abort = true, 1, 1, true
	}}
	x.take([]byte("GET /\r\n"))
	x.answer(h)
	first = false
	x.take([]byte(get()))
	x.answer(h)
}

func TestExchangeDoesNotAllocate(t *testing.T) {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	h := &fake{serve: func(x *Exchange) { x.Out = append(x.Out, answer...) }}
	c := newConn(NewServer(Config{Handler: h}))
	in := []byte(get("User-Agent: x", "Connection: keep-alive", "X-aws-ec2-metadata-token: "+strings.Repeat("x", 56)))
	if n := testing.AllocsPerRun(100, func() {
		if _, missing := c.x.take(in); missing != nothing || !c.x.answer(h) {
			t.Fatal("not answered")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
