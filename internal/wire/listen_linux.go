package wire

import (
	"os"
	"syscall"
)

// control defers the accepting of a connection until its first bytes are
// there: one wake-up and one system call less for each. A client that
// stays silent is handed over when the kernel has sent its SYN-ACK once more.
func control(_, _ string, raw syscall.RawConn) error {
	var err error
	if e := raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_DEFER_ACCEPT, 1)
	}); e != nil {
		return e
	}
	return os.NewSyscallError("setsockopt TCP_DEFER_ACCEPT", err)
}
