package procs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"openimds/internal/trace/record"
)

var clocks = Clocks{Now: time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC), Monotonic: 100 * time.Second, Boot: 150 * time.Second}

// table is a /proc that a test writes.
type table struct {
	t   *testing.T
	dir string
}

func (p table) add(pid, ppid int, comm string, startTicks int, args ...string) {
	p.t.Helper()
	dir := filepath.Join(p.dir, fmt.Sprint(pid))
	if err := os.MkdirAll(filepath.Join(dir, "ns"), 0o755); err != nil {
		p.t.Fatal(err)
	}
	stat := fmt.Sprintf("%d (%s) S %d 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0\n", pid, comm, ppid, startTicks)
	for name, text := range map[string]string{
		"stat": stat, "cmdline": strings.Join(args, "\x00") + "\x00",
		"cgroup": "4:memory:/x\n1:name=systemd:/system.slice/foo.service\n0::/\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
	os.Symlink("/usr/bin/"+comm+" (deleted)", filepath.Join(dir, "exe"))
	os.Symlink("net:[4026532000]", filepath.Join(dir, "ns/net"))
}

func newTable(t *testing.T) table { return table{t, t.TempDir()} }

func TestDescribeFromProc(t *testing.T) {
	p := newTable(t)
	p.add(1, 0, "systemd", 1, "/sbin/init")
	p.add(50, 1, "a) (b", 5000, "bash", "x.sh")
	p.add(100, 50, "curl", 9000, "curl", "-H", "X-aws-ec2-metadata-token: t", "u")
	w := &record.Who{PID: 100, TID: 100, Comm: "curl", LoginUID: record.NoLogin}
	got := New(p.dir, Full).Describe(w, uint64(60*time.Second), clocks)
	if got.Comm != "curl" || got.Exe != "/usr/bin/curl" || got.Cmdline != "curl -H X-aws-ec2-metadata-token: [redacted] u" || got.NetNS != 4026532000 || got.LoginUID != nil {
		t.Errorf("%+v", got)
	}
	if len(got.Parents) != 2 || got.Parents[0].Comm != "a) (b" || got.Parents[0].Cmdline != "bash x.sh" || got.Parents[1].PID != 1 {
		t.Errorf("%+v", got.Parents)
	}
	if got.Unit != "foo.service" || got.Cgroup != "/system.slice/foo.service" {
		t.Errorf("unit %q, cgroup %q", got.Unit, got.Cgroup)
	}
	if want := clocks.Now.Add(-60 * time.Second); !got.Start.Equal(want) {
		t.Errorf("start %v, want %v", got.Start, want)
	}
}

// Nothing is told of another process that has the number now.
func TestNumberUsedAgain(t *testing.T) {
	p := newTable(t)
	p.add(100, 1, "other", 12000, "other", "args")
	for name, w := range map[string]*record.Who{
		"start known":     {PID: 100, TID: 100, Comm: "curl", Leader: "curl", Start: 90 * 1e9, Args: []string{"curl", "u"}},
		"start not known": {PID: 100, TID: 100, Comm: "curl", Args: []string{"curl", "u"}},
	} {
		got := New(p.dir, Full).Describe(w, uint64(60*time.Second), clocks) // at 110 s since boot; it began at 120 s
		if got.Comm != "curl" || got.Exe != "" || got.Cmdline != "curl u" || got.Unit != "" || got.Parents != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A process that became another program is told as it was.
func TestExec(t *testing.T) {
	p := newTable(t)
	p.add(100, 1, "sleep", 9000, "sleep", "9")
	w := &record.Who{PID: 100, TID: 100, Comm: "bash", Leader: "bash", Start: 90 * 1e9, Args: []string{"bash", "-c", "x"}}
	got := New(p.dir, Full).Describe(w, uint64(60*time.Second), clocks)
	if got.Comm != "bash" || got.Exe != "" || got.Cmdline != "bash -c x" {
		t.Errorf("%+v", got)
	}
}

func TestKernelsParents(t *testing.T) {
	p := newTable(t)
	p.add(50, 1, "bash", 5000, "bash", "x.sh")
	p.add(60, 1, "reused", 11000, "reused")
	w := &record.Who{PID: 100, TID: 101, Comm: "thread", Leader: "agent", Start: 90 * 1e9, LoginUID: 1000, Parents: []record.Parent{
		{PID: 50, Start: 50 * 1e9, Comm: "bash"}, {PID: 60, Start: 40 * 1e9, Comm: "gone"},
	}}
	for c, want := range map[Cmdline][2]string{Full: {"bash x.sh", ""}, Self: {"", ""}, Off: {"", ""}} {
		got := New(p.dir, c).Describe(w, 0, clocks)
		if got.Comm != "agent" || got.Thread != "thread" || *got.LoginUID != 1000 {
			t.Errorf("%+v", got)
		}
		if got.Parents[0].Cmdline != want[0] || got.Parents[1].Cmdline != want[1] || got.Parents[1].Comm != "gone" {
			t.Errorf("%s: %+v", c, got.Parents)
		}
	}
}

func TestPlaces(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for path, want := range map[string][2]string{
		"/system.slice/docker-" + id + ".scope":                {id, "docker-" + id + ".scope"},
		"/docker/" + id:                                        {id, ""},
		"/kubepods.slice/cri-containerd-" + id + ".scope/init": {id, "cri-containerd-" + id + ".scope"},
		"/user.slice/user-0.slice/session-1.scope":             {"", "session-1.scope"},
		"/" + id + "0":                                         {"", ""},
	} {
		if got := [2]string{containerIn(path), unitIn(path)}; got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	w := &record.Who{PID: 7, Cgroups: []string{"docker-" + id + ".scope", "kubepods-pod12345678_1234_1234_1234_123456789012.slice", "kubepods.slice", ""}}
	got := New(t.TempDir(), Full).Describe(w, 0, clocks)
	if got.Container != id || got.Pod != "12345678-1234-1234-1234-123456789012" || got.Cgroup == "" {
		t.Errorf("%+v", got)
	}
	w = &record.Who{PID: 7, Cgroups: []string{"", "", "", id}} // in the old hierarchies alone
	if got := New(t.TempDir(), Full).Describe(w, 0, clocks); got.Container != id {
		t.Errorf("%+v", got)
	}
}

func TestParseCgroups(t *testing.T) {
	got := parseCgroups("9:pids:/p\n4:memory:/m\n1:name=systemd:/s\n0::/u\nrubbish\n5:cpu:relative\n")
	if !slices.Equal(got, []string{"/u", "/s", "/m", "/p"}) {
		t.Errorf("%q", got)
	}
}

func TestWall(t *testing.T) {
	if got := clocks.Wall(uint64(99 * time.Second)); !got.Equal(clocks.Now.Add(-time.Second)) {
		t.Error(got)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("1 (a) S 0 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseStat(b); err == nil && !strings.Contains(string(b), s.comm) {
			t.Errorf("%q from %q", s.comm, b)
		}
	})
}
