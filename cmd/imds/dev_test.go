package main

import (
	"bufio"
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"openimds/internal/config"
	"openimds/internal/testnet"
)

func TestMain(m *testing.M) { testnet.Isolate(m) }

// program is a running `imds dev`.
type program struct {
	addr map[string]string // by the word that starts its line: ecs, ec2, control
	out  *lines
	err  *lines
	end  func() int // stops it, once, and returns its exit code
}

// lines keeps what a program writes.
type lines struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// startDev runs `imds dev` in the test's process on free ports until the test
// ends, and returns once it has printed ready.
func startDev(t *testing.T, args ...string) *program {
	t.Helper()
	args = append([]string{"dev", "--ecs", "127.0.0.1:0", "--ec2", "127.0.0.1:0", "--control", "127.0.0.1:0"}, args...)
	for _, in := range config.Samples() {
		if len(in.UserData) >= 12 {
			testnet.Secret(t, string(in.UserData))
		}
	}
	p := &program{addr: map[string]string{}, out: &lines{}, err: &lines{}}
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, args, testnet.Hear(io.MultiWriter(w, p.out), "imds"), testnet.Hear(p.err, "imds"))
		_ = w.Close()
	}()
	p.end = sync.OnceValue(func() int {
		p.testify(t)
		cancel()
		go func() { _, _ = io.Copy(io.Discard, r) }()
		select {
		case code := <-done:
			return code
		case <-time.After(20 * time.Second):
			t.Error("imds dev did not end")
			return -1
		}
	})
	t.Cleanup(func() { p.end() })
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if lines.Text() == "ready" {
			go func() { _, _ = io.Copy(io.Discard, r) }()
			return p
		}
		if name, url, ok := strings.Cut(lines.Text(), " "); ok {
			if addr, ok := strings.CutPrefix(strings.TrimSpace(url), "http://"); ok {
				p.addr[name] = addr
			}
		}
	}
	t.Fatalf("imds dev ended before it was ready: exit code %d, %s", p.end(), p.err)
	return nil
}

// testify notes what the program counts, so that it can be searched for the
// secrets of all tests; what it writes is heard as it comes.
func (p *program) testify(t *testing.T) {
	t.Helper()
	testnet.Scrape(t, "http://"+p.addr["control"]+"/metrics")
}

// waitFor waits until ok, for what happens soon but not at once.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("it did not happen that %s", what)
}

// Every fact of the dialects and of the security contract, over real sockets.
func TestFacts(t *testing.T) {
	p := startDev(t, "--sample-credentials")
	endpoints := testnet.Endpoints{"ecs": p.addr["ecs"], "ec2": p.addr["ec2"]}
	for _, dialect := range []string{"", "ecs", "ec2"} {
		t.Run("facts of "+dialect, func(t *testing.T) {
			testnet.RunFiles(t, "../../internal/dialect/"+dialect+"/testdata/facts/*.http", dialect, endpoints)
		})
	}
	if logged := p.err.String(); strings.Count(logged, "unknown caller") == 0 || strings.Contains(logged, "X-Evil") {
		t.Errorf("SEC-O1, SEC-47: the log says:\n%s", logged)
	}
}
