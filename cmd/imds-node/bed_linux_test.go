package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"openimds/internal/testnet"
)

// bed is a fleet on loopback, of the programs as they are built: a control
// plane, and nodes.
type bed struct {
	t       *testing.T
	dir     string
	feed    string // address of the control plane's feed
	control *process
	token   string // of the admin API
}

// built is where the programs are, and build makes them, once for all tests.
var (
	built string
	build = sync.OnceValue(func() error {
		for _, name := range []string{"imds", "imds-node"} {
			cmd := exec.Command("go", "build", "-o", filepath.Join(built, name), "../"+name)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("build %s: %w\n%s", name, err, out)
			}
		}
		return nil
	})
)

func TestMain(m *testing.M) { testnet.Isolate(tests{m}) }

// tests are those of the package, with a folder for the programs.
type tests struct{ *testing.M }

// Run runs them.
func (m tests) Run() int {
	var err error
	if built, err = os.MkdirTemp("", "imds-node-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(built)
	return m.M.Run()
}

func program(t *testing.T, name string) string {
	t.Helper()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(built, name)
}

// newBed sets up a fleet and starts its control plane.
func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, dir: t.TempDir()}
	b.imds("fleet", "init", b.path("fleet"), "--host", "127.0.0.1")
	b.imds("store", "key", b.path("key"))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.feed = ln.Addr().String()
	_ = ln.Close()
	b.write("imds.yaml", fmt.Sprintf(`state: state
key: ./key
control: {address: "127.0.0.1:0"}
listeners:
  - {dialect: ec2, address: "127.0.0.1:0"}
  - {dialect: ecs, address: "127.0.0.1:0"}
feed: {address: %q, certificate: fleet/control.crt, key: fleet/control.key, authority: fleet/authority.crt}
`, b.feed))
	b.up()
	return b
}

func (b *bed) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bed) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// imds runs a command to its end.
func (b *bed) imds(args ...string) string {
	b.t.Helper()
	cmd := testnet.Command(b.t.Context(), program(b.t, "imds"), args...)
	cmd.Env = []string{}
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.t.Fatalf("imds %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// up starts the control plane.
func (b *bed) up() {
	b.t.Helper()
	b.control = launch(b.t, nil, program(b.t, "imds"), "serve", "-c", b.path("imds.yaml"))
	token, err := os.ReadFile(b.path("state/admin-token"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.token = strings.TrimSpace(string(token))
	testnet.SecretFiles(b.t, b.path("key"), b.path("state/admin-token"), b.path("state/alarm-key"), b.path("state/token-keys.json"))
}

// call calls the admin API, and wants a status below 300.
func (b *bed) call(method, path string, in any) string {
	b.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		b.t.Fatal(err)
	}
	if in == nil {
		body = nil
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.control.url("control")+path, bytes.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+b.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(res.Body)
	if res.StatusCode >= 300 {
		b.t.Fatalf("%s %s: %s\n%s", method, path, res.Status, answer)
	}
	return string(answer)
}

// guestID is the nth instance.
func guestID(n int) string { return fmt.Sprintf("i-%017x", n) }

// source is the address that the nth instance calls from.
func source(n int) string { return fmt.Sprintf("127.9.%d.%d", n>>8, n&255) }

// put makes or changes the nth instance: which node serves it, and its type.
func (b *bed) put(n int, node, kind string) {
	b.t.Helper()
	b.call(http.MethodPut, "/v1/instances/"+guestID(n), document(n, node, kind))
}

// document is an instance as the admin API takes it.
func document(n int, node, kind string) map[string]any {
	in := map[string]any{
		"id": guestID(n), "dialect": "ec2", "account": "123456789012", "region": "us-east-1", "zone": "us-east-1a", "type": kind,
		"sources": []string{source(n)}, "image": map[string]any{"id": "ami-0123456789abcdef0"},
		"interfaces": []any{map[string]any{
			"id": fmt.Sprintf("eni-%017x", n), "mac": fmt.Sprintf("02:00:00:00:%02x:%02x", n>>8, n&255), "ipv4": []string{fmt.Sprintf("10.0.%d.%d", n>>8, n&255)},
			"subnet": map[string]any{"id": "subnet-0123456789abcdef0", "ipv4": "10.0.0.0/16"}, "vpc": map[string]any{"id": "vpc-0123456789abcdef0", "ipv4": []string{"10.0.0.0/16"}},
		}},
	}
	if node != "" {
		in["node"] = node
	}
	return in
}

// node writes the settings of a node with a certificate of its own, and starts
// it.
func (b *bed) node(name string, env ...string) *process {
	b.t.Helper()
	if _, err := os.Stat(b.path("fleet/" + name + ".crt")); err != nil {
		b.imds("fleet", "certificate", name, b.path("fleet"))
		address := func() string {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.t.Fatal(err)
			}
			defer ln.Close()
			return ln.Addr().String()
		}
		b.write(name+".yaml", fmt.Sprintf(`state: %[1]s
control: {url: "https://%[2]s", certificate: fleet/%[1]s.crt, key: fleet/%[1]s.key, authority: fleet/authority.crt}
listeners:
  - {dialect: ec2, address: %[3]q}
  - {dialect: ecs, address: %[4]q}
admin: {address: %[5]q}
`, name, b.feed, address(), address(), address()))
	}
	return launch(b.t, env, program(b.t, "imds-node"), "-c", b.path(name+".yaml"))
}

// process is a running program.
type process struct {
	name string
	cmd  *testnet.Cmd
	urls map[string]string // by the first word of what it prints
	log  *lockedText
	done chan struct{}
}

// lockedText is what a process has written so far.
type lockedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// launch starts a program, and returns when it has printed ready.
func launch(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	cmd := testnet.Server(name, args...)
	cmd.Env = append([]string{}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p := &process{name: filepath.Base(name), cmd: cmd, urls: map[string]string{}, log: &lockedText{}, done: make(chan struct{})}
	cmd.Stderr = p.log
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	t.Cleanup(func() {
		p.testify(t)
		// The whole group: it may have been replaced by a successor.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
		_ = out.Close()
		if t.Failed() {
			t.Logf("the log of %s %v:\n%s", p.name, args, p.log)
		}
	})
	go func() {
		defer close(p.done)
		_ = cmd.Wait()
	}()
	ready := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(io.TeeReader(out, testnet.Witness(p.name)))
		for lines.Scan() {
			word, rest, _ := strings.Cut(lines.Text(), " ")
			if word == "ready" {
				ready <- true
				break
			}
			p.urls[word] = strings.TrimSpace(rest)
		}
		ready <- false
		_, _ = io.Copy(io.Discard, out)
	}()
	select {
	case ok := <-ready:
		if !ok {
			<-p.done
			t.Fatalf("%s ended before it was ready: %v\n%s", p.name, cmd.ProcessState, p.log)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("%s is not ready\n%s", p.name, p.log)
	}
	return p
}

// testify notes what the program counts, so that it can be searched for the
// secrets of all tests; what it writes is heard as it comes.
func (p *process) testify(t *testing.T) {
	t.Helper()
	for _, name := range []string{"control", "admin"} {
		if url := p.urls[name]; url != "" {
			testnet.Scrape(t, url+"/metrics")
		}
	}
}

func (p *process) url(name string) string { return p.urls[name] }

// signal ends the process and returns its exit code, -1 if a signal ended it.
func (p *process) signal(t *testing.T, s syscall.Signal) int {
	t.Helper()
	p.testify(t)
	_ = p.cmd.Process.Signal(s) // it may have ended already
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s does not end after %v\n%s", p.name, s, p.log)
	}
	return p.cmd.ProcessState.ExitCode()
}

// answer is what a metadata service says; status 0: nothing.
type answer struct {
	status int
	body   string
}

// ask sends a request as the nth instance, on a connection of its own.
func ask(ctx context.Context, n int, method, url string, headers ...string) (answer, error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source(n))}}).DialContext,
	}}
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, string(body)}, err
}

// item reads an item of the nth instance.
func (b *bed) item(p *process, n int, path string, headers ...string) answer {
	b.t.Helper()
	a, err := ask(b.t.Context(), n, http.MethodGet, p.url("ec2")+"/latest/"+path, headers...)
	if err != nil {
		b.t.Fatalf("instance %d: %v", n, err)
	}
	return a
}

// mint returns a session token of the nth instance.
func (b *bed) mint(p *process, n int) string {
	b.t.Helper()
	a, err := ask(b.t.Context(), n, http.MethodPut, p.url("ec2")+"/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "600")
	if err != nil || a.status != http.StatusOK {
		b.t.Fatalf("no token for instance %d: %v, %v", n, a, err)
	}
	return a.body
}

const tokenHeader = "X-aws-ec2-metadata-token"

// serves waits until a node answers the nth instance with a type; empty: until
// it does not answer it.
func (b *bed) serves(p *process, n int, kind string) {
	b.t.Helper()
	var got answer
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		got, err = ask(b.t.Context(), n, http.MethodGet, p.url("ec2")+"/latest/meta-data/instance-type")
		if err == nil && (got == answer{200, kind} || kind == "" && got.status == 404) {
			return
		}
	}
	b.t.Fatalf("%s: instance %d gets %v, %v, want %q", p.name, n, got, err, kind)
}

// feedOf is how a node says that it stands to its control plane.
func (b *bed) feedOf(p *process) (r feedReport) {
	b.t.Helper()
	res, err := http.Get(p.url("admin") + "/v1/feed") //nolint:noctx // a test
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&r); err != nil {
		b.t.Fatal(err)
	}
	return r
}

// eventually waits until something is so.
func (b *bed) eventually(what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatal(errors.New("not within 20 s: " + what))
		}
	}
}

// newCommand is a program that ends by itself.
func newCommand(t *testing.T, name string, args ...string) *testnet.Cmd {
	t.Helper()
	cmd := testnet.Command(t.Context(), program(t, name), args...)
	cmd.Env = []string{}
	return cmd
}
