//go:build unix

package wire

import (
	"syscall"
	"testing"
)

// SEC-28: idle connections hold up nobody.
func TestManyIdle(t *testing.T) {
	const many = 2000
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Cur < 2*many+100 {
		t.Skipf("%d open files are allowed, %d are needed", files.Cur, 2*many+100)
	}
	s, addr := start(t, Config{Handler: &fake{}})
	for i := range many {
		c := dial(t, addr)
		if i%2 == 0 {
			c.send("GET / HTTP/1.1\r\n")
		} else {
			c.send(get())
			c.want("200 latest/meta-data")
		}
	}
	eventually(t, "all are accepted", func() bool { return s.Stats().Open == many })
	c := dial(t, addr)
	c.send(get("Connection: close"))
	c.want("200 latest/meta-data")
	c.wantClosed()
}

// A client that ends its side right behind its last request is not taken for
// one that is idle: the end may come with the request, and is told of once.
func TestEndBehindRequest(t *testing.T) {
	s, addr := start(t, Config{Handler: &fake{}})
	for range 300 {
		c := dial(t, addr)
		c.send(get())
		c.want("200 latest/meta-data")
		c.send(get())
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		c.want("200 latest/meta-data")
	}
	eventually(t, "all are closed", func() bool { return s.Stats().Open == 0 })
}
