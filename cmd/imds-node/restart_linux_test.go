package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// manager is what systemd is to a service: it hears how the service stands.
type manager struct {
	socket string
	conn   *net.UnixConn
}

func newManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{socket: fmt.Sprintf("@imds-node-test-%d-%d", os.Getpid(), time.Now().UnixNano())}
	var err error
	if m.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.socket, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.conn.Close() })
	return m
}

// hears waits for a state and returns what follows its name.
func (m *manager) hears(t *testing.T, name string) string {
	t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	for {
		n, err := m.conn.Read(b)
		if err != nil {
			t.Fatalf("the service does not say %s: %v", name, err)
		}
		for line := range strings.Lines(string(b[:n])) {
			if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
				return value
			}
		}
	}
}

// replaced makes the process with a pid hand over, and returns that of the next
// one.
func (m *manager) replaced(t *testing.T, pid int) int {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	next, err := strconv.Atoi(m.hears(t, "MAINPID"))
	if err != nil || next == pid {
		t.Fatalf("the next process is %d, %v", next, err)
	}
	return next
}

// gone waits for the end of a process that is not ours to wait for.
func gone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return
		}
		if _, rest, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(rest, "Z") {
			return // its parent is gone, and nobody has asked yet
		}
	}
	t.Errorf("process %d does not end", pid)
}

// While clients come all the time, each on a new connection, the node is
// replaced ten times: nobody is refused, nobody is cut off, and every answer is
// the client's own.
func TestReplace(t *testing.T) {
	b := newBed(t)
	const clients = 50
	for n := 1; n <= clients; n++ {
		b.put(n, "a", fmt.Sprintf("m7g.%d", n))
	}
	m := newManager(t)
	a := b.node("a", "NOTIFY_SOCKET="+m.socket)
	m.hears(t, "READY")
	b.serves(a, clients, fmt.Sprintf("m7g.%d", clients))
	token := b.mint(a, 1)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var served atomic.Int64
	var group sync.WaitGroup
	for n := 1; n <= clients; n++ {
		group.Go(func() {
			want := answer{200, fmt.Sprintf("m7g.%d", n)}
			for ctx.Err() == nil {
				got, err := ask(context.WithoutCancel(ctx), n, http.MethodGet, a.url("ec2")+"/latest/meta-data/instance-type")
				if err != nil || got != want {
					t.Errorf("instance %d: %v, %v", n, got, err)
					return
				}
				served.Add(1)
			}
		})
	}
	pid := a.cmd.Process.Pid
	for range 10 {
		before := served.Load()
		next := m.replaced(t, pid)
		gone(t, pid)
		pid = next
		b.eventually("answers of the new process", func() bool { return served.Load() > before+clients || t.Failed() })
	}
	stop()
	group.Wait()
	t.Logf("%d requests", served.Load())
	if got := b.item(a, 1, "meta-data/instance-id", tokenHeader, token); got != (answer{200, guestID(1)}) {
		t.Errorf("the token of the first process: %v", got)
	}
	b.put(1, "a", "m7g.new")
	b.serves(a, 1, "m7g.new")
	b.eventually("one stream is open", func() bool { return strings.Contains(b.call(http.MethodGet, "/v1/nodes", nil), `"connected":1`) })
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m.hears(t, "STOPPING")
	gone(t, pid)
}

// A new process that cannot start changes nothing: the old one goes on, with
// its feed.
func TestReplaceRefused(t *testing.T) {
	b := newBed(t)
	b.put(1, "a", "m7g.large")
	m := newManager(t)
	a := b.node("a", "NOTIFY_SOCKET="+m.socket)
	b.serves(a, 1, "m7g.large")
	good, err := os.ReadFile(b.path("a.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"settings that are wrong":          string(good) + "nonsense: 1\n",
		"a listener that cannot be opened": strings.Replace(string(good), "listeners:\n", "listeners:\n  - {dialect: ec2, address: \"192.0.2.1:80\"}\n", 1),
	} {
		b.write("a.yaml", text)
		before := strings.Count(a.log.String(), "this one goes on")
		if err := a.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		b.eventually(name+" are told of", func() bool { return strings.Count(a.log.String(), "this one goes on") > before })
		b.put(1, "a", "m7g.large."+strconv.Itoa(before))
		b.serves(a, 1, "m7g.large."+strconv.Itoa(before))
	}
	b.write("a.yaml", string(good))
	next := m.replaced(t, a.cmd.Process.Pid)
	b.put(1, "a", "m7g.last")
	b.serves(a, 1, "m7g.last")
	gone(t, a.cmd.Process.Pid)
	_ = next
}

// Two processes with one state folder would write over each other.
func TestLocked(t *testing.T) {
	b := newBed(t)
	b.node("a")
	cmd := newCommand(t, "imds-node", "-c", b.path("a.yaml"))
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "another imds-node uses it") {
		t.Errorf("%v\n%s", err, out)
	}
}
