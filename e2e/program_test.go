//go:build linux

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"openimds/internal/config"
	"openimds/internal/instance"
	"openimds/internal/testnet"
)

// The instances of the built-in samples, by source address.
const (
	optional = "127.0.0.1"
	required = "127.0.0.2"
	disabled = "127.0.0.3"
)

// Addresses that clients have built in.
const (
	ecsAddress = "100.100.100.200"
	ec2Address = "169.254.169.254"
)

// program is a running `imds dev`.
type program struct {
	ecs, ec2, control string   // http://host:port
	lines             []string // what it printed before "ready"
	stderr            *output
	cmd               *testnet.Cmd
	stopped           bool
}

// output is what a process has written so far.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write takes what the process writes.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs `imds dev` with the built-in samples and the role credentials that
// stand in them, which tests know, until the test ends. Flags are
// "name": "value"; listeners that are not named get a free port.
func start(t *testing.T, flags map[string]string) *program {
	t.Helper()
	testnet.RequireIsolated(t)
	all := map[string]string{"ecs": "127.0.0.1:0", "ec2": "127.0.0.1:0", "control": "127.0.0.1:0", "sample-credentials": "true"}
	maps.Copy(all, flags)
	args := []string{"dev"}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		args = append(args, "--"+name+"="+all[name])
	}
	p := &program{stderr: new(output), cmd: testnet.Server(executable, args...)}
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			t.Logf("the program's log:\n%s", p.stderr)
		}
	})
	p.greeting(t, stdout)
	for _, in := range config.Samples() {
		if len(in.UserData) >= 12 {
			testnet.Secret(t, string(in.UserData))
		}
	}
	if folder := all["state"]; folder != "" {
		testnet.SecretFiles(t, filepath.Join(folder, "token-keys.json"), filepath.Join(folder, "seal.key"), filepath.Join(folder, "alarm-key"))
	}
	return p
}

// greeting reads what the program prints up to its line "ready".
func (p *program) greeting(t *testing.T, stdout io.Reader) {
	t.Helper()
	ready := make(chan bool, 1)
	go func() {
		found := false
		for s := bufio.NewScanner(stdout); s.Scan(); {
			if s.Text() == "ready" {
				found = true
				break
			}
			p.lines = append(p.lines, s.Text())
		}
		ready <- found
		_, _ = io.Copy(io.Discard, stdout)
	}()
	select {
	case ok := <-ready:
		if !ok {
			t.Fatalf("the program ended before it was ready:\n%s", p.stderr)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the program is not ready after 20 seconds")
	}
	for _, line := range p.lines {
		if words := strings.Fields(line); len(words) == 2 {
			switch words[0] {
			case "ecs":
				p.ecs = words[1]
			case "ec2":
				p.ec2 = words[1]
			case "control":
				p.control = words[1]
			}
		}
	}
	if p.ecs == "" || p.ec2 == "" || p.control == "" {
		t.Fatalf("the program does not say where it listens:\n%s", strings.Join(p.lines, "\n"))
	}
}

// stop ends the program as an operator does; it must end by itself, with
// status 0.
func (p *program) stop(t *testing.T) {
	t.Helper()
	if p.stopped {
		return
	}
	p.stopped = true
	p.testify(t)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal the program: %v", err)
	}
	kill := time.AfterFunc(15*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the program ended with %v", err)
	}
}

// testify notes what the program counts, so that it can be searched for the
// secrets of all tests; what it writes is heard as it comes.
func (p *program) testify(t *testing.T) {
	t.Helper()
	testnet.Scrape(t, p.control+"/metrics")
}

// usage reads the counters of an instance from the admin API.
func (p *program) usage(t *testing.T, id string) (u struct {
	TokenFreeServed, TokenFreeRejected, TokenedServed, BadToken, TokensMinted uint64
}) {
	t.Helper()
	if err := json.Unmarshal([]byte(get(t, http.DefaultClient, p.control+"/v1/usage?instance="+id)), &u); err != nil {
		t.Fatal(err)
	}
	return u
}

// sample is the instance of a dialect that a source address stands for.
func sample(t *testing.T, dialect, source string) *instance.Instance {
	t.Helper()
	for _, in := range config.Samples() {
		if in.Dialect == dialect && slices.Contains(in.Addresses(), netip.MustParseAddr(source)) {
			return in
		}
	}
	t.Fatalf("there is no %s sample at %s", dialect, source)
	return nil
}

// transport connects from a source address, and through no proxy.
func transport(source string) *http.Transport {
	d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	return &http.Transport{
		DialContext: d.DialContext, MaxIdleConns: 10, IdleConnTimeout: time.Minute, ResponseHeaderTimeout: 5 * time.Second,
	}
}

// get returns the body of a 200.
func get(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s: %s", url, res.Status, body)
	}
	return string(body)
}

// hostport is the address of an endpoint.
func hostport(t *testing.T, endpoint string) string {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// builtIn starts a program on the built-in address of a dialect, to which the
// clients in this namespace come from a source address.
func builtIn(t *testing.T, dialect, source string) *program {
	t.Helper()
	address := map[string]string{"ecs": ecsAddress, "ec2": ec2Address}[dialect]
	testnet.LocalRoute(t, netip.MustParseAddr(address), netip.MustParseAddr(source))
	return start(t, map[string]string{dialect: address + ":80"})
}

// command runs a program to its end, and fails the test if that takes longer
// than a minute. The environment is a small one, with env added.
func command(t *testing.T, env []string, name string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	testnet.RequireIsolated(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	home := t.TempDir()
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LC_ALL=C.UTF-8"}, env...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("%s did not end:\n%s%s", name, out.String(), errs.String())
	}
	return out.String(), errs.String(), err
}

// debian is where scripts/install-test-deps unpacked a Debian package. The
// test is skipped where it did not.
func debian(t *testing.T, pkg string) (dir, version string) {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(".cache", "debian", pkg))
	if err != nil {
		t.Fatal(err)
	}
	v, err := os.ReadFile(filepath.Join(dir, "version"))
	testnet.Need(t, "the Debian package "+pkg+" (scripts/install-test-deps)", err == nil)
	return dir, strings.TrimSpace(string(v))
}

// python is Debian's Python with a module, for which the test is skipped where
// it is missing.
func python(t *testing.T, module string) string {
	t.Helper()
	const path = "/usr/bin/python3"
	testnet.Need(t, "Debian's python3-"+module+" (scripts/install-test-deps)", exec.Command(path, "-c", "import "+module).Run() == nil)
	return path
}

// equal reports a difference.
func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// check stops the test at an error and hands on the value that came with it.
func check[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
