//go:build linux

package trace

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"openimds/internal/testnet"
	"openimds/internal/trace/finding"
)

var engines = []string{"cgrich", "cgroup", "tpcgperf", "afpacket"}

// forEngines runs a test with every engine that this machine permits. Where
// one is missing the test is skipped, and in CI fails.
func forEngines(t *testing.T, test func(t *testing.T, engine string)) {
	forSome(t, engines, test)
}

// forSome does it with some engines: the others would show nothing else.
func forSome(t *testing.T, engines []string, test func(t *testing.T, engine string)) {
	testnet.RequireIsolated(t)
	testnet.Need(t, "root", os.Geteuid() == 0)
	for _, e := range engines {
		t.Run(e, func(t *testing.T) {
			needEngine(t, e)
			test(t, e)
		})
	}
}

var checked = sync.OnceValue(func() string {
	out, _ := testnet.Server(tracerProgram, "check").CombinedOutput()
	return string(out)
})

func needEngine(t *testing.T, name string) {
	t.Helper()
	for line := range strings.Lines(checked()) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			testnet.Need(t, "the engine "+strings.TrimSpace(line), fields[1] == "yes")
			return
		}
	}
	t.Fatalf("imds-trace check says nothing of %s:\n%s", name, checked())
}

// tracer is a running imds-trace.
type tracer struct {
	cmd    *testnet.Cmd
	dir    string // of its logs
	ended  chan error
	mu     sync.Mutex // guards what follows
	all    []finding.Finding
	stderr strings.Builder
}

// startTracer runs the tracer until the test ends.
func startTracer(t *testing.T, flags ...string) *tracer {
	t.Helper()
	return startTracerBy(t, nil, append([]string{"--log-dir", filepath.Join(t.TempDir(), "imds"), "--each", "100000", "--rate", "100000", "--status"}, flags...)...)
}

// startTracerBy has another program start it, such as one that enters a
// namespace, with these flags alone.
func startTracerBy(t *testing.T, by []string, flags ...string) *tracer {
	t.Helper()
	tr := &tracer{dir: flags[slices.Index(flags, "--log-dir")+1], ended: make(chan error, 1)}
	args := slices.Concat(by, []string{tracerProgram, "--output", "json"}, flags)
	tr.cmd = testnet.Server(args[0], args[1:]...)
	tr.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := tr.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := tr.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan bool, 1)
	var readers sync.WaitGroup
	readers.Go(func() {
		for s := bufio.NewScanner(stderr); s.Scan(); {
			tr.mu.Lock()
			tr.stderr.WriteString(s.Text() + "\n")
			tr.mu.Unlock()
			if strings.Contains(s.Text(), "msg=tracing") {
				ready <- true
			}
		}
	})
	readers.Go(func() {
		s := bufio.NewScanner(stdout)
		s.Buffer(nil, finding.MaxLine)
		for s.Scan() {
			var f finding.Finding
			if err := json.Unmarshal(s.Bytes(), &f); err != nil {
				t.Errorf("line of the tracer: %v: %s", err, s.Text())
				continue
			}
			tr.mu.Lock()
			tr.all = append(tr.all, f)
			tr.mu.Unlock()
		}
	})
	go func() {
		readers.Wait()
		tr.ended <- tr.cmd.Wait()
	}()
	t.Cleanup(func() {
		tr.stop(t)
		for _, name := range []string{"imds-trace.log", "findings.jsonl"} {
			testnet.SaidFile(t, filepath.Join(tr.dir, name))
		}
		if t.Failed() {
			t.Logf("the tracer's log:\n%s", tr.log())
		}
	})
	select {
	case <-ready:
	case err := <-tr.ended:
		tr.ended <- err
		t.Fatalf("the tracer ended: %v\n%s", err, tr.log())
	case <-time.After(20 * time.Second):
		t.Fatalf("the tracer is not ready:\n%s", tr.log())
	}
	return tr
}

// stop ends the tracer; what it still had to say is in findings then.
func (tr *tracer) stop(t *testing.T) {
	t.Helper()
	if tr.cmd.ProcessState != nil {
		return
	}
	tr.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-tr.ended:
		tr.ended <- err
		if err != nil {
			t.Errorf("the tracer ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the tracer does not stop")
		tr.cmd.Process.Kill()
	}
}

func (tr *tracer) log() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.stderr.String()
}

// findings are those so far that match.
func (tr *tracer) findings(match func(*finding.Finding) bool) []finding.Finding {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var all []finding.Finding
	for i := range tr.all {
		if match(&tr.all[i]) {
			all = append(all, tr.all[i])
		}
	}
	return all
}

// await waits until enough is found; the caller sees what is missing.
func (tr *tracer) await(patience time.Duration, enough func() bool) {
	for end := time.Now().Add(patience); time.Now().Before(end) && !enough(); {
		time.Sleep(20 * time.Millisecond)
	}
}

// ours reports whether a process is one of this test's.
func ours(f *finding.Finding) bool {
	self := os.Getpid()
	return f.Process.PID == self || slices.ContainsFunc(f.Process.Parents, func(p finding.Parent) bool { return p.PID == self })
}
