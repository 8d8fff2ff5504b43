package wire

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// usual is what an SDK sends.
var usual = get("User-Agent: aws-sdk-go-v2/1.47.7 ua/2.1 os/linux lang/go#1.26.0 md/GOARCH#amd64 api/imds#1.20.7",
	"Accept-Encoding: gzip", "X-aws-ec2-metadata-token: "+strings.Repeat("x", 56))

func BenchmarkParse(b *testing.B) {
	for _, bb := range []struct{ name, message string }{
		{"usual", usual},
		{"decoded", request("GET //latest/%6deta-data/?a HTTP/1.1", "Host: LOCALHOST")},
		{"largest", block(MaxHead)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			var r Request
			in := []byte(bb.message)
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				if n, _ := r.Parse(in); n != len(in) {
					b.Fatal("not parsed")
				}
			}
		})
	}
}

var okAnswer = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")

func ok(x *Exchange) { x.Out = append(x.Out, okAnswer...) }

func BenchmarkExchange(b *testing.B) {
	h := &fake{serve: ok}
	c := newConn(NewServer(Config{Handler: h}))
	in := []byte(usual)
	b.ReportAllocs()
	for b.Loop() {
		if _, missing := c.x.take(in); missing != nothing || !c.x.answer(h) {
			b.Fatal("not answered")
		}
	}
}

// Both ends of the connections are in these figures.
func BenchmarkLoopback(b *testing.B) {
	ln, err := Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := NewServer(Config{Handler: &fake{serve: ok}})
	served := make(chan error)
	go func() { served <- s.Serve(ln, nil) }()
	b.Cleanup(func() {
		s.Shutdown(b.Context())
		<-served
	})
	dial := func(b *testing.B) net.Conn {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		return nc
	}
	b.Run("kept alive", func(b *testing.B) {
		nc := dial(b)
		defer nc.Close()
		in, out := []byte(usual), make([]byte, len(okAnswer))
		b.ReportAllocs()
		for b.Loop() {
			nc.Write(in)
			if _, err := io.ReadFull(nc, out); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new connection", func(b *testing.B) {
		in := []byte(strings.Replace(usual, "Accept-", "Connection: close\r\nAccept-", 1))
		b.ReportAllocs()
		for b.Loop() {
			nc := dial(b)
			nc.Write(in)
			if out, err := io.ReadAll(nc); err != nil || len(out) != len(okAnswer) {
				b.Fatal(err)
			}
			nc.Close()
		}
	})
}

// What net/http's parser takes for the same.
func BenchmarkStdParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := http.ReadRequest(bufio.NewReader(strings.NewReader(usual))); err != nil {
			b.Fatal(err)
		}
	}
}
