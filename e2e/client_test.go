//go:build linux

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"openimds/internal/testnet"
)

// values are parameters or a reply, with the names and the nesting that the
// API's own reference has.
type values = map[string]any

// connection is where a client calls and as whom.
type connection struct {
	Endpoint string `json:"endpoint"` // http://host:port
	Region   string `json:"region"`
	Key      string `json:"key"`
	Secret   string `json:"secret"`
	Slow     int    `json:"slow,omitempty"` // seconds by which the client's clock is slow, where it can be set
}

// client is one of the clouds' own clients, made uniform. What the service
// refuses is a *refusal, as the client surfaces it; any other error is a
// defect.
type client interface {
	// call calls an action.
	call(action string, params values) (values, error)
}

// pager is a client that follows pages by itself, and waiter one that can wait
// for a state.
type (
	pager interface {
		pages(action string, params values) ([]values, error)
	}
	waiter interface {
		wait(state string, params values) error
	}
)

// refusal is an error of the service. Status is 0 where the client hides it.
type refusal struct {
	Code    string `json:"code"`
	Status  int    `json:"status"`
	Message string `json:"message"`
}

// Error is for the test's log.
func (r *refusal) Error() string { return fmt.Sprintf("%s (%d): %s", r.Code, r.Status, r.Message) }

// unknownAction is the code of an action, or of a parameter, that a client is
// too old to know.
const unknownAction = "unknown to the client"

// refused returns the code of a refusal.
func refused(t *testing.T, err error) *refusal {
	t.Helper()
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		t.Fatalf("want a refusal, got %v", err)
	}
	return r
}

// convert makes a T of anything with the same JSON.
func convert[T any](from any) (to T, err error) {
	text, err := json.Marshal(from)
	if err != nil {
		return to, err
	}
	err = json.Unmarshal(text, &to)
	return to, err
}

// at descends into a reply by names and indexes; what is not there is nil.
func at(v any, path ...any) any {
	for _, step := range path {
		switch s := step.(type) {
		case string:
			m, _ := v.(values)
			v = m[s]
		case int:
			l, _ := v.([]any)
			if s >= len(l) {
				return nil
			}
			v = l[s]
		}
	}
	return v
}

// each is what at finds in every element of a list.
func each(list any, path ...any) (all []string) {
	l, _ := list.([]any)
	for _, e := range l {
		all = append(all, fmt.Sprint(at(e, path...)))
	}
	return all
}

// script is a client in another language: a process that answers a question a
// line. testdata/npm/lines.js tells the form.
type script struct {
	in      io.Writer
	answers *bufio.Reader
	errs    *output
}

// startScript runs a client until the test ends.
func startScript(t *testing.T, c connection, name string, args ...string) *script {
	t.Helper()
	testnet.RequireIsolated(t)
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{errs: new(output)}
	cmd := exec.Command(name, append(args, string(config))...)
	cmd.Env = append(clientEnv(t), "NODE_PATH="+npmModules(t))
	cmd.Stderr = s.errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.in, s.answers = in, bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(3*time.Minute, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		_ = in.Close()
		end := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer end.Stop()
		kill.Stop()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("the client ended (%v) and had said:\n%s", err, s.errs)
		}
	})
	return s
}

// clientEnv is the environment of a client: little, and nothing of a cloud's.
func clientEnv(t *testing.T) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LC_ALL=C.UTF-8", "AWS_PAGER=", "PYTHONDONTWRITEBYTECODE=1",
		"AWS_EC2_METADATA_DISABLED=true", "ALIBABA_CLOUD_ECS_METADATA_DISABLED=true",
	}
}

// npmModules is where the clients for Node.js are.
func npmModules(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(".cache", "npm", "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func (s *script) ask(kind, name string, params values, result any) error {
	question, err := json.Marshal(values{"kind": kind, "name": name, "params": params})
	if err != nil {
		return err
	}
	if _, err := s.in.Write(append(question, '\n')); err != nil {
		return err
	}
	line, err := s.answers.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%s: the client gave no answer: %w\n%s", name, err, s.errs)
	}
	var answer struct {
		Result json.RawMessage
		Error  *refusal
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return fmt.Errorf("%s: %w in %s", name, err, line)
	}
	if answer.Error != nil {
		return answer.Error
	}
	if len(answer.Result) == 0 {
		return nil
	}
	return json.Unmarshal(answer.Result, result)
}

func (s *script) call(action string, params values) (reply values, err error) {
	err = s.ask("call", action, params, &reply)
	return reply, err
}

// pagingScript is a script whose client knows pages and states.
type pagingScript struct{ *script }

func (s pagingScript) pages(action string, params values) (all []values, err error) {
	err = s.ask("pages", action, params, &all)
	return all, err
}

func (s pagingScript) wait(state string, params values) error {
	var nothing any
	return s.ask("wait", state, params, &nothing)
}

// TestNPMLock: the list of the clients for Node.js pins each by its hash and
// names no host.
func TestNPMLock(t *testing.T) {
	text := check[[]byte](t)(os.ReadFile("testdata/npm/package-lock.json"))
	for _, host := range regexp.MustCompile(`https?://[^/"]*`).FindAllString(string(text), -1) {
		t.Errorf("it names the host %s: npm's own setting says where it is", host)
	}
	var lock struct {
		Packages map[string]struct{ Integrity string }
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		t.Fatal(err)
	}
	for name, p := range lock.Packages {
		if name != "" && p.Integrity == "" {
			t.Errorf("%s has no hash", name)
		}
	}
}
