//go:build linux

package trace

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"openimds/internal/testnet"
	"openimds/internal/trace/finding"
)

const (
	v1       = finding.TokenFree
	v2       = finding.Tokened
	ask      = finding.TokenRequest
	someKey  = "AQAEAAbcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLM=="
	noStatus = -1 // need not be known
)

// want is one request that is to be found.
type want struct {
	suffix string // after the path of the case
	mode   finding.Mode
	status int
}

// way is a client and a way of sending.
type way struct {
	name string
	// argv is the command for a URL's host (IPv6 in brackets), its address and
	// its path.
	argv func(host, address, path string) []string
	want []want
	comm string
	tool string // that must be there
	// only: the kinds of addresses it can do; "": all.
	only string
	env  []string
}

func one(mode finding.Mode) []want { return []want{{"", mode, 200}} }

func url(host, path string) string { return "http://" + host + path }

// c is a way of the program in C.
func c(name string, mode finding.Mode, wants ...want) way {
	if wants == nil {
		wants = one(mode)
	}
	key := []string{}
	if mode == v2 {
		key = append(key, someKey)
	}
	return way{
		name: name + string(mode), want: wants, comm: "senders", tool: "gcc",
		argv: func(_, address, path string) []string {
			return append([]string{senders, name, address, path}, key...)
		},
	}
}

var ways = []way{
	{name: "curl", comm: "curl", want: one(v1), argv: func(h, _, p string) []string { return []string{"curl", "-sg", "-o", "/dev/null", url(h, p)} }},
	{name: "curl-token", comm: "curl", want: one(v2), argv: func(h, _, p string) []string {
		return []string{"curl", "-sg", "-o", "/dev/null", "-H", "X-aws-ec2-metadata-token: " + someKey, url(h, p)}
	}},
	{name: "curl-ecs-token", comm: "curl", want: one(v2), argv: func(h, _, p string) []string {
		return []string{"curl", "-sg", "-o", "/dev/null", "-H", "x-ALIYUN-ecs-metadata-TOKEN:" + someKey, url(h, p)}
	}},
	{name: "curl-empty-token", comm: "curl", want: one(v1), argv: func(h, _, p string) []string {
		return []string{"curl", "-sg", "-o", "/dev/null", "-H", "X-aws-ec2-metadata-token;", url(h, p)}
	}},
	{name: "curl-name-in-path", comm: "curl", want: []want{{"/x-aws-ec2-metadata-token", v1, 200}}, argv: func(h, _, p string) []string {
		return []string{"curl", "-sg", "-o", "/dev/null", "-A", "X-aws-ec2-metadata-token: a", url(h, p) + "/x-aws-ec2-metadata-token?X-aws-ec2-metadata-token:%20a"}
	}},
	{name: "curl-ttl-only", comm: "curl", want: one(v1), argv: func(h, _, p string) []string {
		return []string{"curl", "-sg", "-o", "/dev/null", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60", url(h, p)}
	}},
	{name: "wget", comm: "wget", tool: "wget", want: one(v1), argv: func(h, _, p string) []string {
		return []string{"wget", "-q", "-O", "/dev/null", "--no-proxy", url(h, p)}
	}},
	{name: "python", comm: "python3", tool: "/usr/bin/python3", want: one(v1), argv: func(h, _, p string) []string {
		return []string{"/usr/bin/python3", "-c", "import urllib.request as u; u.urlopen('" + url(h, p) + "').read()"}
	}},
	{name: "python-token", comm: "python3", tool: "/usr/bin/python3", want: one(v2), argv: func(h, _, p string) []string {
		return []string{"/usr/bin/python3", "-c", "import urllib.request as u; u.urlopen(u.Request('" + url(h, p) + "', headers={'X-aws-ec2-metadata-token': '" + someKey + "'})).read()"}
	}},
	{name: "node", comm: "node", tool: "node", want: one(v1), argv: func(h, _, p string) []string {
		return []string{"node", "-e", "require('http').get('" + url(h, p) + "', r => r.resume())"}
	}},
	{name: "bash", comm: "bash", tool: "bash", only: "4", want: one(v1), argv: func(_, a, p string) []string {
		return []string{"bash", "-c", "exec 3<>/dev/tcp/" + a + "/80; printf 'GET " + p + " HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n' >&3; read -t 5 -r line <&3"}
	}},
	{name: "go", comm: "trace.test", want: one(v1), env: []string{roleVariable + "=client"}, argv: func(h, _, p string) []string {
		return []string{os.Args[0], url(h, p)}
	}},
	{name: "go-token", comm: "trace.test", want: one(v2), env: []string{roleVariable + "=client"}, argv: func(h, _, p string) []string {
		return []string{os.Args[0], url(h, p), someKey}
	}},
	{name: "refused", comm: "curl", want: []want{{"", v1, 401}}, argv: func(h, _, p string) []string {
		return []string{"curl", "-sg", "-o", "/dev/null", url(h, "/refused"+p)}
	}},
	c("writev", v1), c("writev", v2), c("sendmsg", v2), c("bytes", v1), c("bytes", v2), c("split", v1), c("split", v2),
	c("pipeline", v1, want{"-1", v1, 200}, want{"-2", v2, noStatus}, want{"-3", v1, noStatus}),
	c("keepalive", v1, want{"-0", v1, 200}, want{"-5", v1, 200}, want{"-9", v1, 200}),
	c("keepalive", v2, want{"-0", v2, 200}, want{"-9", v2, 200}),
	c("body", v1), c("chunked", v1, want{"-1", v1, 200}, want{"-2", v1, 200}),
	c("large", v1), c("large", v2), c("sendfile", v1), c("sendfile", v2), c("splice", v2), c("fastopen", v1), c("thread", v1),
	c("vfork", v1, want{"", v1, noStatus}), c("quick", v1, want{"", v1, noStatus}), c("quick", v2, want{"", v2, noStatus}),
	c("nonblocking", v1), c("uring", v1), c("uring", v2), only("4", c("mapped", v1)),
}

// only makes a way one for addresses of a family.
func only(family string, w way) way {
	w.only = family
	return w
}

// expected is a run that was made.
type expected struct {
	what    string
	way     *way
	place   *place
	path    string
	pid     int
	address string
	named   bool // a child of it is who asks
}

func TestMatrix(t *testing.T) {
	forEngines(t, func(t *testing.T, engine string) {
		here, apart := startServer(t, false), startServer(t, true)
		places := []*place{
			{name: "here", server: here},
			{name: "container", server: here, cgroup: makeCgroup(t), container: containerID},
			{name: "apart", server: apart},
		}
		tr := startTracer(t, "--engine", engine)
		if engine == "afpacket" {
			time.Sleep(1500 * time.Millisecond) // it looks for new namespaces every second
		}
		var runs []*expected
		for _, p := range places {
			for _, address := range []string{ec2v4, ec2v6, ecsv4} {
				for i := range ways {
					if e := runWay(t, &ways[i], p, address, len(runs)); e != nil {
						runs = append(runs, e)
					}
				}
			}
		}
		missing := 0
		for _, e := range runs {
			missing += len(e.way.want)
		}
		prefix := marker()
		tr.await(15*time.Second, func() bool {
			return len(tr.findings(func(f *finding.Finding) bool { return strings.Contains(f.Path, prefix) })) >= missing
		})
		tr.stop(t)
		named, total := 0, 0
		for _, e := range runs {
			n := e.check(t, tr, engine)
			named += n
			total += len(e.way.want)
		}
		t.Logf("%d runs, %d requests looked at, %d of them with a process", len(runs), total, named)
		if engine != "afpacket" && named != total {
			t.Errorf("%d of %d requests have no process", total-named, total)
		}
	})
}

// marker is in the path of every request of this test.
func marker() string { return fmt.Sprintf("/of-%d-", os.Getpid()) }

// runWay runs a client to its end, or returns nil where it cannot.
func runWay(t *testing.T, w *way, p *place, address string, n int) *expected {
	t.Helper()
	family := "4"
	host := address
	if strings.Contains(address, ":") {
		family, host = "6", "["+address+"]"
	}
	if w.only != "" && w.only != family {
		return nil
	}
	if w.tool != "" {
		_, err := exec.LookPath(w.tool)
		testnet.Need(t, w.tool+" (scripts/install-test-deps)", err == nil)
	}
	e := &expected{
		what: fmt.Sprintf("%s, %s, %s", w.name, p.name, address), way: w, place: p, address: address,
		path: fmt.Sprintf("%s%d/%s", marker(), n, w.name),
	}
	argv := w.argv(host, address, e.path)
	e.path = strings.TrimSuffix(e.path, "?")
	if w.name == "refused" {
		e.path = "/refused" + e.path
	}
	if p.server.netns != inode(t, "/proc/self/ns/net") {
		argv = append([]string{"nsenter", "--net=/proc/" + strconv.Itoa(p.server.pid) + "/ns/net"}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(append(testnet.Environ(), "PATH="+os.Getenv("PATH"), "HOME=/nonexistent"), w.env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.cgroup != "" {
		d, err := os.Open(p.cgroup)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(d.Fd())
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", e.what, err)
	}
	kill := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	defer kill.Stop()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v\n%s%s", e.what, err, out.String(), errs.String())
	}
	e.pid = cmd.Process.Pid
	if _, err := fmt.Sscanf(out.String(), "child %d", &e.pid); err == nil {
		e.named = true
	}
	return e
}

// check looks at what was found of a run, and returns how many of its requests
// have a process.
func (e *expected) check(t *testing.T, tr *tracer, engine string) (named int) {
	t.Helper()
	for _, w := range e.way.want {
		found := tr.findings(func(f *finding.Finding) bool { return f.Path == e.path+w.suffix })
		if len(found) != 1 || found[0].Count != 1 {
			t.Errorf("%s: found %d times, want once: %s", e.what, len(found), e.path+w.suffix)
			continue
		}
		f := &found[0]
		problem := func(what string, got, want any) { t.Errorf("%s: %s is %v, want %v\n%+v", e.what, what, got, want, *f) }
		if f.Mode != w.mode {
			problem("mode", f.Mode, w.mode)
		}
		if w.status != noStatus && f.Status != w.status {
			problem("status", f.Status, w.status)
		}
		if f.Refused != (w.status == 401) {
			problem("refused", f.Refused, w.status == 401)
		}
		if f.Method != "GET" || !strings.Contains(f.Dst, e.address) {
			problem("method and address", f.Method+" "+f.Dst, "GET "+e.address)
		}
		if engine == "afpacket" && f.Process.PID == 0 {
			continue // the process had ended
		}
		named++
		e.process(f, engine, problem)
	}
	return named
}

func (e *expected) process(f *finding.Finding, engine string, problem func(what string, got, want any)) {
	p := &f.Process
	if p.PID != e.pid {
		problem("pid", p.PID, e.pid)
	}
	want := e.way.comm
	if e.named {
		want = "exe" // it starts /proc/self/exe
	}
	if p.Comm != want && (engine == "cgrich" || p.Comm != "worker-thread" && p.Comm != "iou-wrk") && !e.isThread(p.Comm) {
		problem("name", p.Comm, want)
	}
	if p.NetNS != e.place.server.netns && (engine == "cgrich" || p.NetNS != 0) {
		problem("network namespace", p.NetNS, e.place.server.netns)
	}
	if engine != "cgrich" {
		return
	}
	if !strings.Contains(p.Cmdline, strings.TrimPrefix(e.path, "/refused")) {
		problem("command line", p.Cmdline, "one with "+e.path)
	}
	if strings.Contains(p.Cmdline, someKey) {
		problem("command line", "one with a token", "redacted")
	}
	if p.Exe != "" && e.way.comm != "trace.test" && !strings.HasPrefix(filepath.Base(p.Exe), strings.TrimRight(e.way.comm, "3")) {
		problem("program", p.Exe, e.way.comm)
	}
	up := 0
	if e.named {
		up = 1
	}
	if len(p.Parents) <= up || p.Parents[up].PID != os.Getpid() {
		problem("parents", p.Parents, os.Getpid())
	}
	if p.Container != e.place.container {
		problem("container", p.Container, e.place.container)
	}
	if p.Start.IsZero() {
		problem("start", p.Start, "a time")
	}
}

// isThread: where the kernel does not tell the process's name, it is that of
// the thread, if the process has ended.
func (e *expected) isThread(comm string) bool {
	return (e.way.name == "node" || strings.HasPrefix(e.way.name, "go")) && comm != ""
}
