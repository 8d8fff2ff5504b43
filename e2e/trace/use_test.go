//go:build linux

package trace

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"openimds/internal/testnet"
	"openimds/internal/trace/finding"
)

func metrics(t *testing.T, address string) string {
	t.Helper()
	text := testnet.Scrape(t, "http://"+address+"/metrics")
	if text == "" {
		t.Fatal("the tracer serves no metrics")
	}
	return text
}

func value(t *testing.T, text, series string) int {
	t.Helper()
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(rest))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in\n%s", series, text)
	return 0
}

func curl(t *testing.T, args ...string) int {
	t.Helper()
	cmd := exec.Command("curl", append([]string{"-sg", "-o", "/dev/null", "-m", "5"}, args...)...)
	if err := cmd.Run(); err != nil {
		t.Errorf("curl %q: %v", args, err)
	}
	return cmd.Process.Pid
}

// TestAsPeopleUseIt looks at the files, the grep that the vendors' pages give,
// the metrics, the report and the summary.
func TestAsPeopleUseIt(t *testing.T) {
	testnet.RequireIsolated(t)
	needEngine(t, "cgrich")
	startServer(t, false)
	var mu sync.Mutex
	var reported []finding.Finding
	away := true
	control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if away || r.Header.Get("Authorization") != "Bearer for-the-report" {
			away = false // it comes back
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		finding.Read(r.Body, func(f *finding.Finding) error { reported = append(reported, *f); return nil })
	}))
	defer control.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("for-the-report\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tr := startTracer(t, "--metrics", "127.0.0.1:19178", "--report", control.URL+"/v1/trace/findings", "--report-token-file", token, "--report-every", "200ms", "--instance", "i-0123456789abcdef0")
	free := curl(t, "http://"+ec2v4+"/latest/meta-data/iam/")
	with := curl(t, "-H", "X-aws-ec2-metadata-token: "+someKey, "http://"+ec2v4+"/latest/meta-data/")
	curl(t, "-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60", "http://"+ec2v4+"/latest/api/token")
	tr.await(10*time.Second, func() bool { return len(tr.findings(ours)) >= 3 })

	text := metrics(t, "127.0.0.1:19178")
	for series, want := range map[string]int{
		`imds_tracer_engine_info{engine="cgrich"}`: 1,
	} {
		if got := value(t, text, series); got != want {
			t.Errorf("%s is %d, want %d", series, got, want)
		}
	}
	for _, mode := range []finding.Mode{v1, v2, ask} {
		if value(t, text, fmt.Sprintf(`imds_tracer_requests_total{mode=%q,dst="169.254.169.254:80",cloud="ec2"}`, mode)) < 1 {
			t.Errorf("no request of mode %s is counted", mode)
		}
	}
	tr.await(10*time.Second, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.ContainsFunc(reported, func(f finding.Finding) bool { return f.Process.PID == with })
	})
	tr.stop(t)

	// ECS-TRC-02: the line in the vendor's manual.
	out, err := exec.Command("sh", "-c", "cat "+tr.dir+"/imds-trace.* | grep WARNING").Output()
	if err != nil || !strings.Contains(string(out), fmt.Sprintf("IMDSv1(!) (pid:%d:curl argv:curl ", free)) || strings.Contains(string(out), fmt.Sprintf("(pid:%d:curl", with)) {
		t.Errorf("grep WARNING: %v\n%s", err, out)
	}
	all, _ := os.ReadFile(filepath.Join(tr.dir, "imds-trace.log"))
	if !strings.Contains(string(all), fmt.Sprintf("[INFO] IMDSv2 (pid:%d:curl", with)) || strings.Contains(string(all), someKey) {
		t.Errorf("log:\n%s", all)
	}
	for path, want := range map[string]os.FileMode{"": 0o700, "imds-trace.log": 0o600, "findings.jsonl": 0o600} {
		if info, err := os.Stat(filepath.Join(tr.dir, path)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v", path, info.Mode(), want)
		}
	}
	report, err := testnet.Command(t.Context(), tracerProgram, "report", "--since", "1h", "--log-dir", tr.dir).CombinedOutput()
	if err != nil || !strings.Contains(string(report), "let it ask for a token first") || !strings.Contains(string(report), "/latest/meta-data/iam/") {
		t.Errorf("report: %v\n%s", err, report)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(reported) == 0 || reported[0].Machine == nil || reported[0].Machine.Instance != "i-0123456789abcdef0" {
		t.Errorf("reported: %+v", reported)
	}
	if b, _ := json.Marshal(reported); strings.Contains(string(b), someKey) {
		t.Error("a token is in a report")
	}
}

// TestOpenBefore: a connection that was open before the tracer began has a
// name too.
func TestOpenBefore(t *testing.T) {
	forEngines(t, func(t *testing.T, engine string) {
		startServer(t, false)
		conn, err := net.Dial("tcp", ec2v4+":80")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		tr := startTracer(t, "--engine", engine)
		path := marker() + "before"
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path)
		match := func(f *finding.Finding) bool { return f.Path == path }
		tr.await(10*time.Second, func() bool { return len(tr.findings(match)) > 0 })
		got := tr.findings(match)
		if len(got) != 1 || got[0].Process.PID != os.Getpid() || got[0].Status != 200 {
			t.Errorf("%+v", got)
		}
	})
}

// TestBadTraffic: what is no HTTP is told, as little as need be, and so is a
// connection without a request.
func TestBadTraffic(t *testing.T) {
	forEngines(t, func(t *testing.T, engine string) {
		startServer(t, false)
		tr := startTracer(t, "--engine", engine, "--each", "5", "--rate", "200")
		silent, err := net.Dial("tcp", ec2v4+":80")
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		for i := range 100 {
			conn, err := net.Dial("tcp", ec2v4+":80")
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "\x16\x03\x01%d\n\x1b[31m%s", i, strings.Repeat("x", 100))
			io.Copy(io.Discard, conn)
			conn.Close()
		}
		mine := func(mode finding.Mode) []finding.Finding {
			return tr.findings(func(f *finding.Finding) bool {
				// Without eBPF the name may be missing.
				return f.Mode == mode && (ours(f) || engine == "afpacket" && f.Process.PID == 0)
			})
		}
		tr.await(10*time.Second, func() bool { return len(mine(finding.Attempt)) > 0 })
		tr.stop(t)
		bad := mine(finding.Unreadable)
		var sum uint64
		for _, f := range bad {
			sum += f.Count
			if f.Level != finding.Error {
				t.Errorf("level %s", f.Level)
			}
		}
		if sum != 100 || len(bad) > 12 { // five with a name, five without, and two sums
			t.Errorf("%d told in %d lines, want 100 in at most 12", sum, len(bad))
		}
		if engine != "tpcgperf" && len(mine(finding.Attempt)) != 1 { // which does not see connections without data
			t.Errorf("attempts: %+v", mine(finding.Attempt))
		}
	})
}

func TestOnce(t *testing.T) {
	testnet.RequireIsolated(t)
	needEngine(t, "cgrich")
	startServer(t, false)
	tr := startTracer(t, "--once")
	curl(t, "http://"+ec2v4+"/x")
	select {
	case err := <-tr.ended:
		tr.ended <- nil
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 4 {
			t.Errorf("it ended with %v, want status 4", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
	}
}

func TestLive(t *testing.T) {
	testnet.RequireIsolated(t)
	needEngine(t, "cgrich")
	startServer(t, false)
	cmd := testnet.Command(t.Context(), tracerProgram, "live", "--for", "3s")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond)
	curl(t, "http://"+ec2v4+marker()+"live")
	b, _ := io.ReadAll(out)
	if err := cmd.Wait(); err != nil || !strings.Contains(string(b), "TOKEN-FREE") || !strings.Contains(string(b), marker()+"live") {
		t.Errorf("%v\n%s", err, b)
	}
}

// TestCannot: without rights it says what is missing, and exits with 3.
func TestCannot(t *testing.T) {
	testnet.RequireIsolated(t)
	testnet.Need(t, "root", os.Geteuid() == 0)
	program, err := os.ReadFile(tracerProgram)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "imds-trace-test") //nolint:usetesting // another user must get there, and t.TempDir is private
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	copied := filepath.Join(dir, "imds-trace")
	if err := os.WriteFile(copied, program, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--log-dir", ""}, {"--engine", "cgrich", "--log-dir", ""}, {"check"}} {
		cmd := testnet.Command(t.Context(), copied, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(string(out), "CAP_BPF") {
			t.Errorf("%q: %v, want status 3 and what is missing\n%s", args, err, out)
		}
	}
}

// TestRightsAreGivenUp: once it runs, the tracer has two capabilities and a
// filter of system calls.
func TestRightsAreGivenUp(t *testing.T) {
	testnet.RequireIsolated(t)
	needEngine(t, "cgrich")
	startServer(t, false)
	tr := startTracer(t)
	var status string
	tr.await(5*time.Second, func() bool {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tr.cmd.Process.Pid))
		status = string(b)
		return strings.Contains(status, "Seccomp:\t2")
	})
	// CAP_DAC_READ_SEARCH is 2, CAP_SYS_PTRACE is 19.
	for _, want := range []string{"CapEff:\t0000000000080004", "CapBnd:\t0000000000080004", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(status, want) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
	pid := curl(t, "http://"+ec2v4+marker()+"confined")
	match := func(f *finding.Finding) bool {
		return f.Process.PID == pid && strings.HasSuffix(f.Process.Exe, "/curl")
	}
	tr.await(10*time.Second, func() bool { return len(tr.findings(match)) > 0 })
	if len(tr.findings(match)) != 1 {
		t.Errorf("a confined tracer does not see: %+v", tr.findings(ours))
	}
}

// TestNothingIsLeft: the programs go with the process, also when it is killed.
func TestNothingIsLeft(t *testing.T) {
	testnet.RequireIsolated(t)
	needEngine(t, "cgrich")
	startServer(t, false)
	tr := startTracer(t)
	tr.cmd.Process.Kill()
	<-tr.ended
	tr.ended <- nil
	again := startTracer(t)
	curl(t, "http://"+ec2v4+marker()+"left")
	match := func(f *finding.Finding) bool { return f.Path == marker()+"left" }
	again.await(10*time.Second, func() bool { return len(again.findings(match)) > 0 })
	if got := again.findings(match); len(got) != 1 {
		t.Errorf("found %d times", len(got))
	}
}
