package node

import (
	"bytes"
	"testing"
	"time"

	"openimds/internal/throttle"
)

// What may take long is not made on the goroutine that accepts. The request is
// asked again elsewhere, answered, and counts once: in the rate, for faults and
// in the usage.
func TestLater(t *testing.T) {
	s := &stamp{forms: "rsa2048"}
	b := newBed(t, func(c *Config) {
		signing(s, throttle.Policy{})(c)
		c.Throttle = throttle.PerSecond(1, 2)
	})
	s.until = b.now.Add(time.Hour)
	const get = getRSA2048 + "\r\n" + ec2Host + "\r\n\r\n"
	x := b.exchange("ec2", "127.0.0.1", "127.0.0.1", get)
	x.Inline = true
	pipeline{b.node}.Serve(x)
	if !x.Later || len(x.Out) != 0 || s.made.Load() != 0 {
		t.Fatalf("later %v, %d bytes, %d signatures made: want it put off", x.Later, len(x.Out), s.made.Load())
	}
	if r, _ := b.node.Usage("i-0a1b2c3d4e5f60001"); r.TokenFreeServed != 0 {
		t.Errorf("counted before it was answered: %+v", r)
	}
	x.Inline, x.Later = false, false
	pipeline{b.node}.Serve(x)
	if x.Later || !bytes.HasPrefix(x.Out, []byte("HTTP/1.1 200 ")) {
		t.Fatalf("later %v, %q", x.Later, x.Out)
	}
	if r, _ := b.node.Usage("i-0a1b2c3d4e5f60001"); r.TokenFreeServed != 1 {
		t.Errorf("counted as %+v", r)
	}
	// The burst is two: one is left.
	for i, status := range []int{200, 503} {
		if r, _ := b.ask("ec2", "127.0.0.1", getRSA2048, ec2Host); r.StatusCode != status {
			t.Errorf("request %d: %d, want %d", i, r.StatusCode, status)
		}
	}
	// Other items are made at once.
	x = b.exchange("ec2", "127.0.0.2", "127.0.0.1", "GET /latest/meta-data/ HTTP/1.1\r\n"+ec2Host+"\r\n\r\n")
	x.Inline = true
	pipeline{b.node}.Serve(x)
	if x.Later || len(x.Out) == 0 {
		t.Errorf("later %v, %q", x.Later, x.Out)
	}
}
