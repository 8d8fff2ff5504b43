//go:build linux

package trace

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"openimds/internal/testnet"
	"openimds/internal/trace/finding"
)

// Instances of the samples, in network namespaces: the first, and one with the
// same addresses in another network.
const (
	machine = "i-0a1b2c3d4e5f60001"
	twin    = "i-0a1b2c3d4e5f60009"
)

// lab is a running `imds dev --netns`.
type lab struct {
	state, control string
	cmd            *testnet.Cmd
	ended          bool
}

// startLab runs one until the test ends. An address for its control plane may
// be given, so that it is the same after a restart.
func startLab(t *testing.T, state, control string) *lab {
	t.Helper()
	testnet.RequireIsolated(t)
	testnet.Need(t, "root", os.Geteuid() == 0)
	l := &lab{state: state}
	l.cmd = testnet.Server(imdsProgram, "dev", "--netns", "--state", state, "--ec2", "127.0.0.1:0", "--ecs", "127.0.0.1:0", "--control", control)
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr strings.Builder
	l.cmd.Stderr = &stderr
	stdout, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.end(t, syscall.SIGTERM)
		if t.Failed() {
			t.Logf("the log of imds dev:\n%s", stderr.String())
		}
	})
	s := bufio.NewScanner(stdout)
	for s.Scan() && s.Text() != "ready" {
		if words := strings.Fields(s.Text()); len(words) == 2 && words[0] == "control" {
			l.control = words[1]
		}
	}
	if s.Text() != "ready" || l.control == "" {
		t.Fatalf("imds dev --netns is not ready:\n%s", stderr.String())
	}
	go io.Copy(io.Discard, stdout)
	return l
}

// end ends it with a signal.
func (l *lab) end(t *testing.T, s syscall.Signal) {
	t.Helper()
	if l.ended {
		return
	}
	l.ended = true
	l.cmd.Process.Signal(s)
	if err := l.cmd.Wait(); err != nil && s != syscall.SIGKILL {
		t.Errorf("imds dev ended with %v", err)
	}
}

// in is what to put before a command, so that it runs in an instance.
func (l *lab) in(id string) []string {
	return []string{imdsProgram, "exec", "--state", l.state, id, "--"}
}

func (l *lab) findings() string { return l.control + "/v1/trace/findings" }

// agent asks for its instance's identifier as often as it is told, and then
// waits for its end, as agents do.
const agent = `
import http.client, sys
count, token = int(sys.argv[1]), sys.argv[2] == "token"
c, headers = http.client.HTTPConnection("169.254.169.254"), {}
def ask(method, path, headers):
    c.request(method, path, headers=headers)
    r = c.getresponse()
    body = r.read().decode()
    assert r.status == 200, r.status
    return body
if token:
    headers = {"X-aws-ec2-metadata-token": ask("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})}
for n in range(count):
    assert ask("GET", "/latest/meta-data/instance-id", headers) == sys.argv[3]
print("done", flush=True)
sys.stdin.read()
`

// startAgent runs an agent in an instance, and in a cgroup if one is given,
// until it has asked. It is there until the test ends, or end is called.
func (l *lab) startAgent(t *testing.T, id string, count int, how, cgroup string) (pid int, end func()) {
	t.Helper()
	_, err := os.Stat("/usr/bin/python3")
	testnet.Need(t, "/usr/bin/python3 (scripts/install-test-deps)", err == nil)
	args := append(l.in(id), "/usr/bin/python3", "-c", agent, fmt.Sprint(count), how, strings.TrimSuffix(id, "/container"))
	cmd := testnet.Server(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if cgroup != "" {
		d, err := os.Open(cgroup)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(d.Fd())
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	end = func() {
		if !ended {
			ended = true
			stdin.Close()
			cmd.Wait()
		}
	}
	t.Cleanup(end)
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "done\n" {
		end()
		t.Fatalf("the agent in %s: %q, %s", id, line, stderr.String())
	}
	return cmd.Process.Pid, end
}

// judged is the part of `imds readiness -o json` that is looked at.
type judged struct {
	Verdict string
	Recent  struct{ TokenFree, Rejected, Tokened uint64 }
	Reasons []struct{ Code, Verdict, Text string }

	Processes []process
}

type process struct {
	Name, Exe, Unit, Container, Path string
	PID                              int
	Count                            uint64
}

// free is how many requests without a token the processes made.
func (j *judged) free() (n uint64) {
	for _, p := range j.Processes {
		n += p.Count
	}
	return n
}

// readiness asks for the verdict about an instance, as a person does, and as a
// program.
func (l *lab) readiness(t *testing.T, id string, flags ...string) (j judged, table string, status int) {
	t.Helper()
	ask := func(more ...string) []byte {
		args := append([]string{"readiness", id, "--server", l.control}, append(flags, more...)...)
		out, err := testnet.Server(imdsProgram, args...).Output()
		status = 0
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			status = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var all struct{ Instances []judged }
	text := ask("-o", "json")
	if err := json.Unmarshal(text, &all); err != nil || len(all.Instances) != 1 {
		t.Fatalf("imds readiness -o json: %v\n%s", err, text)
	}
	return all.Instances[0], string(ask()), status
}

// TestWholeLoop: an agent without a token beside one with a token, in an
// instance that is a namespace; the tracer in it; and the report of `imds
// readiness`, in which what the tracer has found meets what the service has
// counted. An instance with the same address is not blamed.
func TestWholeLoop(t *testing.T) {
	forEngines(t, func(t *testing.T, engine string) {
		cgroup := makeCgroup(t)
		undisturbed(t, func(t *testing.T) bool { return wholeLoop(t, engine, cgroup) })
	})
}

// undisturbed tries a test again whose tracer has lost records: it sees the
// whole machine, on which another test may ask faster than it can read. After
// three times the test says what it has found.
func undisturbed(t *testing.T, try func(t *testing.T) (lost bool)) {
	t.Helper()
	for range 3 {
		if !try(t) {
			return
		}
		t.Log("the tracer lost records of others' requests: once more")
	}
	t.Fatal("the tracer loses records each time")
}

func wholeLoop(t *testing.T, engine, cgroup string) (lost bool) {
	t.Helper()
	const free, with, others = 12, 7, 3
	l := startLab(t, t.TempDir(), "127.0.0.1:0")
	// The flags are what a person gives; the limits of lines are the usual ones.
	tr := startTracerBy(t, l.in(machine), "--engine", engine, "--netns", "self", "--log-dir", filepath.Join(t.TempDir(), "imds"),
		"--report", l.findings(), "--report-every", "200ms")
	pid, _ := l.startAgent(t, machine, free, "free", cgroup)
	good, _ := l.startAgent(t, machine, with, "token", "")
	l.startAgent(t, twin, others, "free", "")
	l.startAgent(t, machine+"/container", 1, "free", "") // not in the tracer's namespace, and the instance's for the service
	tr.stop(t)
	if strings.Contains(tr.log(), " records lost") && !strings.Contains(tr.log(), ": 0 records lost") {
		l.end(t, syscall.SIGTERM)
		return true
	}
	got, table, status := l.readiness(t, machine)
	if got.Verdict != "not ready" || status != 1 {
		t.Errorf("verdict %q, status %d", got.Verdict, status)
	}
	if got.Recent.TokenFree != free+1 || got.Recent.Tokened != with {
		t.Errorf("the service counts %+v, want %d without and %d with a token", got.Recent, free+1, with)
	}
	if engine == "afpacket" {
		// It sees the container's packet pass, and of the service's short
		// connections perhaps none has a name: the numbers are right.
		if got.free() != free+1 {
			t.Errorf("the tracer has found %+v, want %d requests", got.Processes, free+1)
		}
		got.Processes = slices.DeleteFunc(got.Processes, func(p process) bool { return p.PID == 0 })
	} else if got.free() != free || len(got.Processes) != 1 {
		t.Errorf("the tracer has found %+v, want one process and %d requests", got.Processes, free)
	}
	for _, p := range got.Processes {
		if p.PID != pid || p.Name != "python3" || !strings.HasPrefix(p.Exe, "/usr/bin/python3") || p.Container != containerID[:12] || p.Path != "/latest/meta-data/instance-id" {
			t.Errorf("found %+v, want process %d", p, pid)
		}
		for _, want := range []string{
			"NOT READY", fmt.Sprintf("it came without a token %d times in the last 14d", free+1),
			fmt.Sprintf("python3 (pid %d, %s, container %s) asking without a token", pid, p.Exe, containerID[:12]),
		} {
			if !strings.Contains(table, want) {
				t.Errorf("no %q in\n%s", want, table)
			}
		}
	}
	if n := len(tr.findings(func(f *finding.Finding) bool { return f.Mode == v2 && (f.Process.PID == good || engine == "afpacket") })); n == 0 {
		t.Error("the agent with a token was not seen")
	}
	if other, _, _ := l.readiness(t, twin); other.Recent.TokenFree != others || len(other.Processes) != 0 {
		t.Errorf("the other instance: %+v, want %d requests and no process", other, others)
	}
	if strings.Contains(table, fmt.Sprintf("pid %d", good)) {
		t.Errorf("an agent with a token is blamed:\n%s", table)
	}
	return false
}

// TestWholeLoopOfAll: without --netns the tracer in one instance sees those of
// all, and the control plane takes for that instance what is of it alone.
func TestWholeLoopOfAll(t *testing.T) {
	forSome(t, engines[:1], func(t *testing.T, engine string) {
		l := startLab(t, t.TempDir(), "127.0.0.1:0")
		tr := startTracerBy(t, l.in(machine), "--engine", engine, "--log-dir", filepath.Join(t.TempDir(), "imds"),
			"--report", l.findings(), "--instance", twin) // whatever it says
		here, _ := l.startAgent(t, machine, 2, "free", "")
		inside, _ := l.startAgent(t, machine+"/container", 3, "free", "")
		l.startAgent(t, twin, 4, "free", "")
		tr.stop(t)
		got, _, _ := l.readiness(t, machine)
		// They run the same program for the same item, so that they are one.
		if got.Recent.TokenFree != 5 || got.free() != 5 || len(got.Processes) != 1 || got.Processes[0].PID != inside && got.Processes[0].PID != here {
			t.Errorf("got %+v", got)
		}
		if other, _, _ := l.readiness(t, twin); other.Recent.TokenFree != 4 || len(other.Processes) != 0 {
			t.Errorf("the other instance: %+v", other)
		}
		// An instance can report, and nothing else.
		for args, want := range map[string]string{
			"-X GET /v1/instances": "403", "-X POST /v1/instances": "403", "-X GET /v1/trace/findings": "403", "-X POST /v1/trace/findings": "200",
		} {
			words := strings.Fields(args)
			curl := append(l.in(machine), "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", words[0], words[1], l.control+words[2])
			if out, err := testnet.Server(curl[0], curl[1:]...).Output(); err != nil || string(out) != want {
				t.Errorf("%s: %s, %v, want %s", args, out, err, want)
			}
		}
	})
}

// TestAgentReplaced: once the agent is replaced by one with tokens, the
// instance is ready for a window that has nothing else in it.
func TestAgentReplaced(t *testing.T) {
	forSome(t, engines[:1], func(t *testing.T, engine string) {
		l := startLab(t, t.TempDir(), "127.0.0.1:0")
		tr := startTracerBy(t, l.in(machine), "--engine", engine, "--netns", "self", "--log-dir", filepath.Join(t.TempDir(), "imds"), "--report", l.findings())
		_, end := l.startAgent(t, machine, 5, "free", "")
		end()
		before := time.Now()
		for time.Now().Minute() == before.Minute() { // counts are by the minute
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Second)
		l.startAgent(t, machine, 4, "token", "")
		tr.stop(t)
		got, table, status := l.readiness(t, machine, "--window", "1s", "--any-boot")
		if got.Verdict != "ready" || status != 0 || len(got.Processes) != 0 || got.Recent.Tokened != 4 || !strings.Contains(table, "READY") {
			t.Errorf("status %d, %+v\n%s", status, got, table)
		}
		// It is not forgotten for that.
		if got, _, _ := l.readiness(t, machine); got.Verdict != "not ready" || got.free() != 5 || got.Recent.TokenFree != 5 || got.Recent.Tokened != 4 {
			t.Errorf("over the whole time: %+v", got)
		}
	})
}

// TestReportOutlivesControl: the control plane is killed while findings wait;
// they arrive once, whether the tracer goes on or is started again.
func TestReportOutlivesControl(t *testing.T) {
	testnet.RequireIsolated(t)
	needEngine(t, "cgrich")
	undisturbed(t, reportOutlivesControl)
}

func reportOutlivesControl(t *testing.T) (lost bool) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
	if err != nil {
		t.Fatal(err)
	}
	control := listener.Addr().String()
	listener.Close()
	state, dir := t.TempDir(), filepath.Join(t.TempDir(), "imds")
	l := startLab(t, state, control)
	var where struct{ Machines []struct{ Name, Path string } }
	b, err := os.ReadFile(filepath.Join(state, "netns.json"))
	if err := errors.Join(err, json.Unmarshal(b, &where)); err != nil {
		t.Fatal(err)
	}
	namespace := ""
	for _, m := range where.Machines {
		if m.Name == machine {
			namespace = m.Path
		}
	}
	// One in the instance, that holds its report back until it is stopped, and
	// one outside, that goes on.
	inside := startTracerBy(t, l.in(machine), "--netns", "self", "--log-dir", dir, "--report", l.findings(), "--report-every", "1h")
	outside := startTracerBy(t, nil, "--netns", namespace, "--log-dir", filepath.Join(t.TempDir(), "imds"),
		"--report", l.findings(), "--report-every", "300ms", "--instance", machine, "--metrics", "127.0.0.1:19179")
	first, end := l.startAgent(t, machine, 3, "free", "")
	outside.await(10*time.Second, func() bool { return value(t, metrics(t, "127.0.0.1:19179"), "imds_tracer_reported_total") == 3 })
	l.startAgent(t, machine, 2, "free", "")
	l.end(t, syscall.SIGKILL)
	end()
	inside.stop(t) // its report finds nobody
	if text := metrics(t, "127.0.0.1:19179"); strings.Contains(inside.log(), "records lost") || value(t, text, `imds_tracer_lost_total{where="request"}`) > 0 {
		outside.stop(t)
		return true
	}
	if !strings.Contains(inside.log(), "they wait in the spool") {
		t.Error("it does not say that findings wait")
	}
	waits, err := filepath.Glob(filepath.Join(dir, "spool", "*.jsonl"))
	if err != nil || len(waits) == 0 {
		t.Errorf("in the spool: %q, %v", waits, err)
	}
	again := startLab(t, state, control)
	outside.await(20*time.Second, func() bool { return value(t, metrics(t, "127.0.0.1:19179"), "imds_tracer_reported_total") == 5 })
	outside.stop(t)
	if got, _, _ := again.readiness(t, machine); got.free() != 5 || len(got.Processes) != 1 || got.Processes[0].PID == first {
		t.Errorf("the tracer that went on: %+v, want 5 requests once", got.Processes)
	}
	startTracerBy(t, again.in(machine), "--netns", "self", "--log-dir", dir, "--report", again.findings(), "--report-every", "200ms").stop(t)
	for range 2 {
		// The same five, as another tracer has seen them.
		if got, _, _ := again.readiness(t, machine); got.free() != 10 || got.Verdict != "not ready" {
			t.Errorf("the tracer that was started again: %+v, want 5 requests more", got.Processes)
		}
		if waits, _ := filepath.Glob(filepath.Join(dir, "spool", "*.jsonl")); len(waits) != 0 {
			t.Errorf("in the spool: %q", waits)
		}
		again.end(t, syscall.SIGTERM)
		again = startLab(t, state, control)
	}
	return false
}
