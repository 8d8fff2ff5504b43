package testnet

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Prometheus is a server of Debian's prometheus that takes remote writes, with a
// folder of its own, on loopback.
type Prometheus struct {
	// URL is http://127.0.0.1:PORT; it stays the same over restarts.
	URL string
	// Data is the folder of what it keeps.
	Data string

	t      testing.TB
	path   string
	listen string
	cmd    *exec.Cmd
	log    *said
}

// said is what a process has written.
type said struct {
	mu   sync.Mutex
	text []byte
}

// Write takes what the process writes.
func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, p...)
	return len(p), nil
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.text)
}

// StartPrometheus starts one until the test ends. Without a prometheus the test
// is skipped, or fails in CI.
func StartPrometheus(t testing.TB) *Prometheus {
	t.Helper()
	path := prometheusPath()
	Need(t, "Debian's prometheus (scripts/install-test-deps)", path != "")
	// Whoever listens on port 0 does not tell which one it got.
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	p := &Prometheus{URL: "http://" + listen, Data: filepath.Join(t.TempDir(), "data"), t: t, path: path, listen: listen, log: &said{}}
	p.Start()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("prometheus says:\n%s", p.log)
		}
	})
	return p
}

// prometheusPath finds what is installed, or was unpacked for tests.
func prometheusPath() string {
	if path, err := exec.LookPath("prometheus"); err == nil {
		return path
	}
	for dir := "."; len(dir) < 40; dir = filepath.Join(dir, "..") {
		path, err := filepath.Abs(filepath.Join(dir, "e2e", ".cache", "debian", "prometheus", "usr", "bin", "prometheus"))
		if err == nil {
			if _, err := os.Stat(path); err == nil {
				return path
			}
		}
	}
	return ""
}

// Start starts it again, with what it has kept.
func (p *Prometheus) Start() {
	p.t.Helper()
	config := filepath.Join(filepath.Dir(p.Data), "prometheus.yml")
	if err := os.WriteFile(config, []byte("global: {}\n"), 0o600); err != nil {
		p.t.Fatal(err)
	}
	//nolint:noctx // it outlives the test's context: its cleanup ends it
	p.cmd = exec.Command(p.path, "--config.file="+config, "--storage.tsdb.path="+p.Data, "--storage.tsdb.retention.time=10y",
		"--web.listen-address="+p.listen, "--web.enable-remote-write-receiver", "--log.level=warn")
	p.cmd.Env = []string{}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); !p.ready(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			p.Kill()
			p.t.Fatalf("prometheus does not come up:\n%s", p.log)
		}
	}
}

func (p *Prometheus) ready() bool {
	q, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.URL+"/-/ready", nil)
	if err != nil {
		return false
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return false
	}
	_ = r.Body.Close()
	return r.StatusCode == http.StatusOK
}

// Stop ends it in order. What has ended can be started.
func (p *Prometheus) Stop() { p.end(syscall.SIGTERM) }

// Kill ends it as a crash does.
func (p *Prometheus) Kill() { p.end(syscall.SIGKILL) }

func (p *Prometheus) end(s syscall.Signal) {
	if p.cmd == nil || p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Signal(s)
	_ = p.cmd.Wait()
}
