package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"openimds/internal/netenv"
)

// What a person is told about a listener is what is wrong with it, and not with
// another.
func TestProblem(t *testing.T) {
	s := setting{"listeners[0]", "in imds.yaml"}
	for want, err := range map[string]error{
		"CAP_SYS_ADMIN is needed to enter":       &netenv.NeedError{Capability: "CAP_SYS_ADMIN", Why: "enter another network namespace", Err: syscall.EPERM},
		"CAP_SYS_PTRACE is needed to reach":      &netenv.NeedError{Capability: "CAP_SYS_PTRACE", Why: "reach it", Err: syscall.EACCES},
		"there is no such network namespace":     netenv.ErrNoNamespace,
		"port 169.254.169.254:80 is in use":      syscall.EADDRINUSE,
		"no interface has the address":           syscall.EADDRNOTAVAIL,
		"need CAP_NET_BIND_SERVICE; choose":      syscall.EACCES,
		"give an IP address and a port, such as": syscall.EINVAL,
	} {
		got := s.problem("169.254.169.254:80", fmt.Errorf("listen: %w", err)).Error()
		if !strings.Contains(got, want) || !strings.HasPrefix(got, "listeners[0]: ") {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
		if _, lacks := err.(*netenv.NeedError); lacks && (strings.Contains(got, "BIND_SERVICE") || strings.Contains(got, "IP address")) { //nolint:errorlint // it is not wrapped
			t.Errorf("%v: %q", err, got)
		}
	}
}
