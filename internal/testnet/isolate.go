// Package testnet is what the tests of several packages need from the network:
// a namespace in which no packet can reach a real metadata service, and a
// runner for HTTP scripts that speaks raw HTTP/1.1 over TCP.
//
// Metadata clients have link-local addresses built in, and on a machine in a
// cloud somebody answers there. A package whose tests run such a client starts
// with
//
//	func TestMain(m *testing.M) { testnet.Isolate(m) }
//
// and each such test with RequireIsolated or LocalRoute.
package testnet

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// origin is the environment variable by which a re-executed test binary knows
// the network namespace that it must not be in.
const origin = "OPENIMDS_TEST_ORIGIN"

// unusable is the exit status of a re-executed test binary that found its new
// namespace of no use. Test binaries exit with 0, 1 or 2.
const unusable = 96

// Isolate runs the tests of m in a network namespace of their own, in which
// the loopback interface is up and nothing else is. It re-executes the test
// binary, hands on flags, standard streams and signals, and ends the process
// with the tests' exit status; it does not return. Where namespaces are not
// permitted, the tests run where they are, and those that call RequireIsolated
// are skipped, or fail in CI. M is a *testing.M, or one with something around
// it.
func Isolate(m interface{ Run() int }) {
	if os.Getenv(origin) != "" {
		if err := enter(); err != nil {
			fmt.Fprintln(os.Stderr, "testnet:", err)
			os.Exit(unusable)
		}
		os.Exit(m.Run())
	}
	if code, ok := reexecute(); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// Isolated reports whether the process is in a network namespace that Isolate
// made.
func Isolated() bool { return isolated() }

var isolated = sync.OnceValue(func() bool {
	from := os.Getenv(origin)
	if from == "" {
		return false
	}
	here, err := namespace()
	return err == nil && here != from && onlyLoopback() == nil
})

// Environ is what a test binary that is started again with an environment of
// its own needs in it, so that Isolated tells the truth there too, and the
// witness hears it.
func Environ() []string {
	return []string{origin + "=" + os.Getenv(origin), witness + "=" + os.Getenv(witness)}
}

// RequireIsolated is the guard of every test that runs a client with a
// built-in address, or anything else that might send a packet to one. Outside
// a namespace the test is skipped (in CI: fails) when none could be had, and
// fails when none was asked for.
func RequireIsolated(t testing.TB) {
	t.Helper()
	if Isolated() {
		return
	}
	if err := permitted(); err != nil {
		Need(t, "a network namespace of the test's own: "+err.Error(), false)
	}
	t.Fatal("this test must run in a network namespace of its own: call testnet.Isolate in TestMain")
}

// Need is for what a machine may lack. Where ok is false, it skips the test
// and says what is missing; in CI, where the environment variable CI is set,
// nothing may be missing and the test fails.
func Need(t testing.TB, what string, ok bool) {
	t.Helper()
	switch {
	case ok:
	case os.Getenv("CI") != "":
		t.Fatalf("missing, and CI skips nothing: %s", what)
	default:
		t.Skipf("missing: %s", what)
	}
}
