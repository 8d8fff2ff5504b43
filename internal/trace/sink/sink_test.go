package sink

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"openimds/internal/trace/finding"
)

func sample() *finding.Finding {
	return &finding.Finding{
		V: finding.Version, Time: time.Date(2026, 11, 22, 0, 35, 29, 414e6, time.UTC), Level: finding.Warning, Mode: finding.TokenFree, Count: 1, Cloud: "ec2",
		Method: "GET", Path: "/latest/meta-data/iam/", Host: "169.254.169.254", UserAgent: "curl/7.88.1", Status: 200, Dst: "169.254.169.254:80",
		Process: finding.Process{PID: 27383, Comm: "curl", Cmdline: "curl -s http://..", Unit: "foo.service", NetNS: 4026532384,
			Container: strings.Repeat("0123456789ab", 6)[:64],
			Parents:   []finding.Parent{{PID: 27257, Comm: "bash", Cmdline: "bash x.sh"}, {PID: 1, Comm: "systemd"}}},
	}
}

func TestLine(t *testing.T) {
	const want = "[2026-11-22 00:35:29,414] [WARNING] IMDSv1(!) (pid:27383:curl argv:curl -s http://..) called by -> (pid:27257:bash argv:bash x.sh) -> (pid:1:systemd Unable to get argv information) Req details: GET /latest/meta-data/iam/, Host: 169.254.169.254, User-Agent: curl/7.88.1 | mode=IMDSv1 dst=169.254.169.254:80 status=200 uid=0 container=0123456789ab unit=foo.service netns=4026532384 n=1"
	if got := Line(sample(), time.UTC); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// known is how the packet analyzers that people know write a line: what reads
// theirs reads ours. EC2-TRC-02
var known = regexp.MustCompile(`^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] \[(INFO|WARNING|ERROR)\] (\{MISSING PAYLOAD\} )?IMDS\S* .*\(pid:\d+[: ]`)

func TestLevels(t *testing.T) {
	for mode, want := range map[finding.Mode]string{
		finding.TokenFree: "[WARNING] IMDSv1(!) (pid:", finding.Tokened: "[INFO] IMDSv2 (pid:", finding.TokenRequest: "[INFO] IMDSv2 (pid:",
		finding.Attempt: "[INFO] IMDS attempt (pid:", finding.Unreadable: "[ERROR] {MISSING PAYLOAD} IMDS? (pid:",
	} {
		f := sample()
		f.Mode, f.Level = mode, map[finding.Mode]finding.Level{finding.TokenFree: finding.Warning, finding.Unreadable: finding.Error}[mode]
		if f.Level == "" {
			f.Level = finding.Info
		}
		got := Line(f, time.UTC)
		if !strings.Contains(got, want) || !known.MatchString(got) {
			t.Errorf("%s: %s", mode, got)
		}
	}
}

// Whatever a stranger sends, it is one line of printable characters.
func TestNoInjection(t *testing.T) {
	f := sample()
	evil := "a\n[2026-11-22 00:00:00,000] [WARNING] IMDSv1(!) (pid:1:x)\x1b[2J\u202e\xff"
	f.Path, f.Host, f.UserAgent, f.Method, f.Process.Comm, f.Process.Cmdline, f.Process.Exe, f.Process.Cgroup = evil, evil, evil, evil, evil, evil, evil, evil
	f.Process.Parents[0].Cmdline = evil
	for _, line := range []string{Line(f, time.UTC), Message(f)} {
		for _, r := range line {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q has %q", line, r)
			}
		}
	}
	var b bytes.Buffer
	(&Text{W: &b, Journal: true}).Put(f)
	(&JSON{W: &b}).Put(f)
	if n := strings.Count(b.String(), "\n"); n != 2 || !strings.HasPrefix(b.String(), "<4>[WARNING] ") {
		t.Errorf("%d lines: %q", n, b.String())
	}
}

// EC2-TRC-01: by size, with five old files.
func TestFileRotates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "imds")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "x.log")
	f, err := OpenFile(path, 100, 5)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 70 {
		line := strings.Repeat(string(rune('a'+i%26)), 29) + "\n"
		if _, err := f.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(dir + "/*")
	if len(names) != 6 {
		t.Errorf("files %q, want 6", names)
	}
	for _, n := range names {
		info, _ := os.Stat(n)
		if info.Size() > 100 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d bytes, mode %v", n, info.Size(), info.Mode())
		}
	}
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Errorf("the directory's mode is %v", info.Mode())
	}
	if got := Files(path, 9); len(got) != 6 || got[0] != path+".5" || got[5] != path {
		t.Errorf("%q", got)
	}
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "imds", "x.log")
	f, err := OpenFile(path, 1<<20, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Write([]byte("one\n"))
	os.Rename(path, path+".moved")
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	f.Write([]byte("two\n"))
	if b, _ := os.ReadFile(path); string(b) != "two\n" {
		t.Errorf("%q", b)
	}
}

func TestNoLinksAreFollowed(t *testing.T) {
	dir := t.TempDir()
	os.Symlink("/etc/passwd", filepath.Join(dir, "x.log"))
	if f, err := OpenFile(filepath.Join(dir, "x.log"), 100, 1); err == nil {
		f.Close()
		t.Error("a link is followed")
	}
}
