//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"openimds/internal/testnet"
	"openimds/internal/trace/finding"
)

func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, testnet.Hear(&out, "imds-trace"), testnet.Hear(&errs, "imds-trace"))
	return code, out.String(), errs.String()
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"nothing"}, `no argument "nothing"`},
		{[]string{"--no-such-flag"}, "see imds-trace --help"},
		{[]string{"--target", "example.com"}, "is no IP address"},
		{[]string{"--port", "0"}, "is no port"},
		{[]string{"--port", "1,2,3,4,5"}, "at most"},
		{[]string{"--engine", "magic", "--log-dir", ""}, `--engine "magic": want one of cgrich`},
		{[]string{"--cmdline", "half"}, "want full, self or off"},
		{[]string{"--allow", "["}, "--allow"},
		{[]string{"--netns", "/etc/passwd"}, "is no namespace"},
		{[]string{"--netns", "no-such-namespace"}, "want self, a name"},
		{[]string{"--output", "xml"}, "want text, json, journal or none"},
		{[]string{"--metrics", "0.0.0.0:9177"}, "on loopback"},
		{[]string{"--metrics", "9177"}, "on loopback"},
		{[]string{"--report", "ftp://x"}, "http or https"},
		{[]string{"--report", "http://x", "--log-dir", ""}, "needs --log-dir"},
		{[]string{"--for", "-1s"}, "is negative"},
		{[]string{"--each", "0"}, "at least 1"},
		{[]string{"--log-size", "1"}, "--log-size"},
		{[]string{"live", "--every", "0s"}, "more than 0"},
		{[]string{"report", "--since", "0s"}, "more than 0"},
		{[]string{"install", "--", "--no-such-flag"}, "unknown flag"},
		{[]string{"install", "word"}, "not \"word\""},
		{[]string{"install", "--", "--report", "http://x", "--log-dir", ""}, "needs --log-dir"},
		{[]string{"install", "--", "--each", "0"}, "at least 1"},
		{[]string{"install", "--", "--log-dir", "logs"}, "begins with /"},
	} {
		code, _, stderr := call(t, c.args...)
		if code != exitUsage || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: status %d, %s", c.args, code, stderr)
		}
	}
}

func TestReportOfFiles(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	line := func(age time.Duration, comm, path string, count uint64) []byte {
		b, err := finding.Append(nil, &finding.Finding{
			V: 1, Time: now.Add(-age), Level: finding.Warning, Mode: finding.TokenFree, Count: count, Cloud: "ec2", Path: path, Dst: "169.254.169.254:80",
			UserAgent: "Botocore/1.12.0", Process: finding.Process{PID: 5, Comm: comm, Exe: "/usr/bin/" + comm, Cmdline: "x\n\x1b[2J"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	os.WriteFile(filepath.Join(dir, jsonName+".1"), append(line(48*time.Hour, "old", "/old", 1), line(2*time.Hour, "agent", "/a", 41)...), 0o600)
	os.WriteFile(filepath.Join(dir, jsonName), line(time.Minute, "agent", "/b", 1), 0o600)
	code, out, stderr := call(t, "report", "--log-dir", dir)
	if code != 0 {
		t.Fatal(stderr)
	}
	for _, want := range []string{"1 programs asked, 1 of them without a token", "token-free 42", "41 × /a", "update botocore from 1.12.0 to 1.13.25"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "/old") || strings.Contains(out, "\x1b") {
		t.Errorf("%q", out)
	}
	if code, _, stderr := call(t, "report", "--log-dir", t.TempDir()); code != exitFailed || !strings.Contains(stderr, "is the tracer running?") {
		t.Errorf("%d, %s", code, stderr)
	}
}

// ECS-TRC-01, EC2-TRC-01: the unit is found by the name that runbooks have.
func TestInstall(t *testing.T) {
	root := t.TempDir()
	code, out, stderr := call(t, "install", "--root", root, "--", "--report", "https://c.example/v1/trace/findings", "--allow", "my agent%")
	if code != 0 {
		t.Fatal(stderr)
	}
	b, err := os.ReadFile(filepath.Join(root, "etc/systemd/system/imds-trace.service"))
	if err != nil {
		t.Fatal(err, out)
	}
	for _, want := range []string{
		`ExecStart=/usr/local/sbin/imds-trace --output journal --report https://c.example/v1/trace/findings --allow "my agent%%"` + "\n",
		"Alias=imds_tracer_tool.service\n", "RestartPreventExitStatus=2 3\n", "MemoryMax=128M\n",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q in\n%s", want, b)
		}
	}
	program := filepath.Join(root, "usr/local/sbin/imds-trace")
	if info, err := os.Stat(program); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	logs := filepath.Join(root, "var/log/imds")
	os.MkdirAll(logs, 0o700)
	for _, purge := range []string{"--purge=false", "--purge"} {
		if code, _, stderr := call(t, "uninstall", "--root", root, purge); code != 0 {
			t.Fatal(stderr)
		}
	}
	for _, path := range []string{program, filepath.Join(root, "etc/systemd/system/imds-trace.service"), logs} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left", path)
		}
	}
}

// A log directory of one's own can be written to by the service.
func TestInstallWithLogs(t *testing.T) {
	root := t.TempDir()
	if code, _, stderr := call(t, "install", "--root", root, "--", "--log-dir", "/srv/my logs"); code != 0 {
		t.Fatal(stderr)
	}
	b, err := os.ReadFile(filepath.Join(root, "etc/systemd/system/imds-trace.service"))
	if err != nil || !strings.Contains(string(b), "\nReadWritePaths=\"/srv/my logs\"\n") {
		t.Errorf("%v\n%s", err, b)
	}
	if info, err := os.Stat(filepath.Join(root, "srv/my logs")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"check", "--help"}, {"live", "--help"}, {"report", "--help"}, {"install", "--help"}} {
		if code, out, _ := call(t, args...); code != 0 || !strings.Contains(out, "Usage:") {
			t.Errorf("%q: %d\n%s", args, code, out)
		}
	}
}
