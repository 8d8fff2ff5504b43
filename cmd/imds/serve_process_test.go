package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"openimds/internal/control"
	"openimds/internal/seal"
	"openimds/internal/state"
	"openimds/internal/store/boltstore"
	"openimds/internal/testnet"
)

// host is a machine that `imds serve` is set up on, with the program as it is
// built.
type host struct {
	dir, program, config string
}

// Files of a host.
func (h host) state() string   { return filepath.Join(h.dir, "state") }
func (h host) key() string     { return filepath.Join(h.dir, "key") }
func (h host) storeAt() string { return "bolt:" + storeFile(h.state()) }

// sampleSettings are packaging/imds.yaml with free ports and the paths of h.
func (h host) sampleSettings(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../packaging/imds.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(
		"/var/lib/imds", h.state(), "/etc/imds/key", h.key(),
		":8169", ":0", ":8100", ":0", ":8180", ":0", "{rate: 100, burst: 200}", "{rate: 0}",
	).Replace(string(text))
}

// newHost builds the program and sets up a host with the sample's settings and
// a key.
func newHost(t *testing.T) host {
	t.Helper()
	dir := t.TempDir()
	h := host{dir: dir, program: filepath.Join(dir, "imds"), config: filepath.Join(dir, "imds.yaml")}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", h.program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	writeFile(t, h.config, h.sampleSettings(t))
	h.run(t, 0, "store", "key", h.key())
	return h
}

// run runs a command to its end and returns what it has written.
func (h host) run(t *testing.T, code int, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := testnet.Command(ctx, h.program, args...)
	cmd.Env = []string{}
	out, err := cmd.CombinedOutput()
	exit, _ := errors.AsType[*exec.ExitError](err)
	if err != nil && exit == nil || cmd.ProcessState.ExitCode() != code {
		t.Fatalf("imds %s: %v, want exit code %d\n%s", strings.Join(args, " "), err, code, out)
	}
	return string(out)
}

// open opens the host's control plane in the test's process, while no other
// has it.
func (h host) open(t *testing.T, use func(*state.DB, *control.Control)) {
	t.Helper()
	if err := os.MkdirAll(h.state(), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := boltstore.Open(boltstore.Config{Path: storeFile(h.state())})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	db, err := state.Open(t.Context(), s, testnet.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	key, err := seal.ReadKey(h.key())
	if err != nil {
		t.Fatal(err)
	}
	use(db, control.New(control.Config{DB: db, Secrets: seal.NewRing(key)}))
}

// seed puts the development keys and images into the host's empty store.
func (h host) seed(t *testing.T) {
	t.Helper()
	h.open(t, func(db *state.DB, c *control.Control) {
		if err := seed(t.Context(), db, c); err != nil {
			t.Fatal(err)
		}
	})
}

// start runs `imds serve` in a process of its own, and returns once it has
// printed ready.
func (h host) start(t *testing.T) *process {
	t.Helper()
	cmd := testnet.Server(h.program, "serve", "-c", h.config)
	cmd.Env = []string{}
	p := &process{program: &program{addr: map[string]string{}, out: &lines{}, err: &lines{}}, cmd: cmd, done: make(chan struct{}), audit: filepath.Join(h.state(), "audit.log")}
	cmd.Stderr = p.err
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.signal(t, syscall.SIGKILL) })
	ready := make(chan bool, 1)
	go func() {
		defer close(p.done)
		up := false
		for text := bufio.NewScanner(out); text.Scan(); {
			name, value, _ := strings.Cut(text.Text(), " ")
			switch {
			case up: // one that has replaced it says the same
			case name == "ready":
				up = true
				ready <- true
			default:
				if addr, ok := strings.CutPrefix(strings.TrimSpace(value), "http://"); ok {
					p.addr[name] = addr
				}
			}
		}
		if !up {
			ready <- false
		}
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	}()
	select {
	case ok := <-ready:
		if !ok {
			<-p.done
			t.Fatalf("imds serve ended before it was ready: %v\n%s", cmd.ProcessState, p.err)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("imds serve is not ready\n%s", p.err)
	}
	testnet.SecretFiles(t, h.key(), filepath.Join(h.state(), "admin-token"), filepath.Join(h.state(), "alarm-key"), keysFile(h.state()))
	return p
}

// process is a running `imds serve`.
type process struct {
	*program
	cmd  *testnet.Cmd
	done chan struct{} // closed when it has ended
	// audit is the file of its audit log.
	audit string
}

// signal ends the process and returns its exit code, -1 if a signal ended it.
func (p *process) signal(t *testing.T, s syscall.Signal) int {
	t.Helper()
	if s != syscall.SIGKILL {
		p.testify(t)
	}
	defer testnet.SaidFile(t, p.audit)
	_ = p.cmd.Process.Signal(s) // it may have ended already
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		t.Errorf("imds serve does not end after %v\n%s", s, p.err)
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	return p.cmd.ProcessState.ExitCode()
}
