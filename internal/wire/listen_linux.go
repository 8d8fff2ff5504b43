package wire

import "syscall"

// control defers the accepting of a connection until its first bytes are
// there: one wake-up and one system call less for each. A client that
// stays silent is handed over when the kernel has sent its SYN-ACK once more.
func control(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		// Where this cannot be had, everything works without it.
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_DEFER_ACCEPT, 1)
	})
}
