//go:build !linux

package testnet

import (
	"errors"
	"net/netip"
	"testing"
)

var errLinux = errors.New("network namespaces need Linux")

func namespace() (string, error) { return "", errLinux }
func onlyLoopback() error        { return errLinux }
func enter() error               { return errLinux }
func reexecute() (int, bool)     { return 0, false }
func permitted() error           { return errLinux }

// LocalRoute needs Linux; elsewhere the test is skipped.
func LocalRoute(t testing.TB, _, _ netip.Addr) {
	t.Helper()
	RequireIsolated(t)
}
