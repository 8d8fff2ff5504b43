package testnet

import (
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Isolate(m) }

func TestIsolatedHasNoWayOut(t *testing.T) {
	RequireIsolated(t)
	if err := onlyLoopback(); err != nil {
		t.Error(err)
	}
	// TEST-NET-1: nobody is there, and nothing may even try.
	conn, err := (&net.Dialer{Timeout: time.Second}).Dial("tcp", "192.0.2.1:80")
	if err == nil {
		conn.Close()
		t.Fatal("a connection left the namespace")
	}
	if !strings.Contains(err.Error(), "unreachable") {
		t.Errorf("want an unreachable network, got %v", err)
	}
}

func TestLocalRouteGivesTheSource(t *testing.T) {
	for _, src := range []string{"127.0.0.1", "127.0.0.2"} {
		t.Run(src, func(t *testing.T) {
			const addr = "169.254.169.254"
			LocalRoute(t, netip.MustParseAddr(addr), netip.MustParseAddr(src))
			l, err := net.Listen("tcp", addr+":80")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
					io.WriteString(c, host)
					c.Close()
				}
			}()
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			seen, err := io.ReadAll(c)
			if err != nil {
				t.Fatal(err)
			}
			if string(seen) != src {
				t.Errorf("the server sees %s, want %s", seen, src)
			}
		})
	}
}

func TestRouteRefusesWhatIsNotLoopback(t *testing.T) {
	RequireIsolated(t)
	for _, c := range [][2]string{{"169.254.169.254", "192.0.2.1"}, {"fd00:ec2::254", "::1"}} {
		if err := route(0, 0, netip.MustParseAddr(c[0]), netip.MustParseAddr(c[1])); err == nil {
			t.Errorf("route %s from %s: no error", c[0], c[1])
		}
	}
}

// The helper tests below are run by the tests after them, in a process of
// their own.

func TestHelperFails(t *testing.T) {
	if os.Getenv("TESTNET_HELPER") == "" {
		return
	}
	t.Fatal("as it should")
}

func TestHelperNeeds(t *testing.T) {
	if os.Getenv("TESTNET_HELPER") == "" {
		return
	}
	Need(t, "a spoon", false)
}

func again(t *testing.T, run string, env ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+run+"$", "-test.v")
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, origin+"=") && !strings.HasPrefix(e, "CI=") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, append(env, "TESTNET_HELPER=1")...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestExitStatusIsHandedOn(t *testing.T) {
	out, err := again(t, "TestHelperFails")
	if err == nil || !strings.Contains(out, "as it should") {
		t.Errorf("a failing test: error %v, output\n%s", err, out)
	}
}

func TestNeed(t *testing.T) {
	out, err := again(t, "TestHelperNeeds")
	if err != nil || !strings.Contains(out, "--- SKIP") || !strings.Contains(out, "missing: a spoon") {
		t.Errorf("without CI: error %v, output\n%s", err, out)
	}
	out, err = again(t, "TestHelperNeeds", "CI=true")
	if err == nil || !strings.Contains(out, "--- FAIL") || !strings.Contains(out, "a spoon") {
		t.Errorf("with CI: error %v, output\n%s", err, out)
	}
}

func TestForgedOriginIsNotIsolation(t *testing.T) {
	here, err := namespace()
	if err != nil {
		t.Skip(err)
	}
	out, err := again(t, "TestHelperNeeds", origin+"="+here)
	if err == nil || !strings.Contains(out, "not a namespace of the tests' own") {
		t.Errorf("error %v, output\n%s", err, out)
	}
}
