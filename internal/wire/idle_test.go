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
