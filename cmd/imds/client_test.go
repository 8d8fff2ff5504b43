package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// imds runs a command in the test's process, against a server.
func imds(t *testing.T, server, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv(serverEnv, server)
	var out, problems bytes.Buffer
	code = runWith(t.Context(), args, strings.NewReader(stdin), &out, &problems)
	return code, out.String(), problems.String()
}

// The commands against a running `imds dev`, as scripts: imds runs the program,
// guest reads metadata as an instance does.
func TestClient(t *testing.T) {
	for _, script := range []string{"resources", "changes"} {
		t.Run(script, func(t *testing.T) {
			p := startDev(t, "--state", t.TempDir())
			testscript.Run(t, testscript.Params{
				Files: []string{"testdata/client/" + script + ".txtar"},
				Setup: func(e *testscript.Env) error {
					e.Setenv(serverEnv, "http://"+p.addr["control"])
					return nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"imds":  scriptIMDS,
					"guest": func(ts *testscript.TestScript, neg bool, args []string) { scriptGuest(ts, p, neg, args) },
				},
				UpdateScripts: *update,
			})
		})
	}
}

var shownOnce = regexp.MustCompile(`secret \S{20,} \(it`)

// scriptIMDS runs the program in this process: `imds ARGS…`, and in the place
// of a shell's redirection `imds <FILE ARGS…`. With ! it must fail.
func scriptIMDS(ts *testscript.TestScript, neg bool, args []string) {
	var stdin io.Reader = strings.NewReader("")
	if len(args) > 0 && strings.HasPrefix(args[0], "<") {
		stdin = strings.NewReader(ts.ReadFile(args[0][1:]))
		args = args[1:]
	}
	for i, arg := range args {
		if i > 0 && (args[i-1] == "-f" || args[i-1] == "--token-file") && arg != "-" {
			args[i] = ts.MkAbs(arg)
		}
	}
	// The environment is the script's, so the flag stands for the variable.
	args = append(args, "--server", ts.Getenv(serverEnv))
	var out bytes.Buffer
	code := runWith(context.Background(), args, stdin, &out, ts.Stderr())
	// What a person is shown once is not for the test's log.
	if _, err := ts.Stdout().Write(shownOnce.ReplaceAll(out.Bytes(), []byte("secret "+strings.Repeat("x", 20)+" (it"))); err != nil {
		ts.Fatalf("%v", err)
	}
	if neg != (code != 0) {
		ts.Fatalf("exit code %d", code)
	}
}

// scriptGuest reads an item: `guest ec2|ecs SOURCE PATH`. With ! it must be
// refused.
func scriptGuest(ts *testscript.TestScript, p *program, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: guest DIALECT SOURCE PATH")
	}
	res, err := as(args[1]).Get("http://" + p.addr[args[0]] + args[2])
	ts.Check(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	ts.Check(err)
	_, err = ts.Stdout().Write(append(body, '\n'))
	ts.Check(err)
	if neg != (res.StatusCode != http.StatusOK) {
		ts.Fatalf("status %d", res.StatusCode)
	}
}

// What the commands that talk to a server say of themselves.
func TestHelp(t *testing.T) {
	root := newRoot()
	var visit func(c *cobra.Command, path []string)
	visit = func(c *cobra.Command, path []string) {
		for _, below := range c.Commands() {
			visit(below, append(path[:len(path):len(path)], below.Name()))
		}
		if c.Hidden || c.Flag("real") == nil && c.Name() != "completion" && c.Name() != "event" {
			return
		}
		code, out, problems := imds(t, "http://127.0.0.1:1", "", append(path, "--help")...)
		if code != 0 || problems != "" {
			t.Errorf("%v --help: exit code %d, %s", path, code, problems)
		}
		name := filepath.Join("testdata", "help", strings.Join(append([]string{"imds"}, path...), "-")+".txt")
		if *update {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), out); diff != "" {
			t.Errorf("%s (-want +got; run the test with -update if this is right):\n%s", name, diff)
		}
	}
	visit(root, nil)
}

func TestClientMistakes(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Redirect(w, &http.Request{Method: "GET"}, "http://127.0.0.1:1/", http.StatusFound)
	}))
	defer other.Close()
	token := filepath.Join(t.TempDir(), "token")
	writeFile(t, token, " \n")
	for _, tc := range []struct {
		server string
		args   string
		code   int
		want   string
	}{
		{"http://127.0.0.1:1", "get instances", exitFailed, "start one with imds dev or imds serve, or say where it is with --server or IMDS_SERVER"},
		{"http://169.254.169.254", "get instances", exitUsage, "without --real"},
		{"http://100.100.100.200:80", "usage", exitUsage, "without --real"},
		{"http://[fd00:ec2::254]", "audit", exitUsage, "without --real"},
		{"http://[::ffff:169.254.169.254]", "audit", exitUsage, "without --real"},
		{"http://[fe80::1%25lo]", "audit", exitUsage, "without --real"},
		{"ftp://127.0.0.1", "audit", exitUsage, "expected an address such as"},
		{"http://", "audit", exitUsage, "expected an address such as"},
		{other.URL, "get instances", exitFailed, "is no openimds server"},
		{other.URL, "get instances --token-file " + token, exitUsage, "holds no token"},
		{other.URL, "get instances --token-file " + token + "x", exitUsage, "no such file"},
		{other.URL, "get", exitUsage, "say which kind"},
		{other.URL, "get polices", exitUsage, "did you mean policies?"},
		{other.URL, "get secrets", exitUsage, "the kinds are instances, images"},
		{other.URL, "get instances i-1 --tag a=b", exitUsage, "contradict"},
		{other.URL, "get instances -o jsn", exitUsage, "expected table, json or yaml"},
		{other.URL, "delete instances", exitUsage, "give a name"},
		{other.URL, "describe", exitUsage, "say which kind"},
		{other.URL, "apply", exitUsage, "say which file"},
		{other.URL, "apply -f /nowhere", exitUsage, "no such file"},
		{other.URL, "apply x", exitUsage, "takes no argument"},
		{other.URL, "set-options i-1", exitUsage, "say what to change"},
		{other.URL, "set-options --http-tokens required", exitUsage, "say which instances"},
		{other.URL, "set-options --tag =x --http-tokens required", exitUsage, "expected KEY=VALUE"},
		{other.URL, "event strike", exitUsage, "there is no event"},
		{other.URL, "event strike i-1 --in 2m", exitUsage, `there is no event "strike"`},
		{other.URL, "set-optoins --tag a=b", exitUsage, `there is no command "set-optoins"; did you mean set-options?`},
		{other.URL, "store backpu x --force", exitUsage, `there is no command "backpu"; did you mean backup?`},
		{other.URL, "event --in 2m", exitUsage, "unknown flag: --in"},
		{other.URL, "event spot", exitUsage, "say which instances"},
		{other.URL, "event spot i-1 --at noon", exitUsage, "--at: found"},
		{other.URL, "event spot i-1 --in soon", exitUsage, "invalid argument"},
		{other.URL, "completion tcsh", exitUsage, "there is no script"},
		{other.URL, "completion", exitUsage, "say which shell"},
	} {
		if code, out, problems := imds(t, tc.server, "", strings.Fields(tc.args)...); code != tc.code || !strings.Contains(problems, tc.want) || out != "" {
			t.Errorf("imds %s at %s: exit code %d, %s%s\nwant %d with %q", tc.args, tc.server, code, out, problems, tc.code, tc.want)
		}
	}
}

// The token is sent, and nothing of it is shown.
func TestClientToken(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"unauthenticated","message":"no"}`)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, "s3cret\n")
	t.Setenv(tokenFileEnv, file)
	code, out, problems := imds(t, server.URL, "", "get", "images")
	if code != exitFailed || len(got) != 1 || got[0] != "Bearer s3cret" || strings.Contains(out+problems, "s3cret") || !strings.Contains(problems, "--token-file") {
		t.Errorf("exit code %d, sent %q, %s%s", code, got, out, problems)
	}
}

// A shell completes kinds, and names while a server answers.
func TestCompletion(t *testing.T) {
	p := startDev(t)
	server := "http://" + p.addr["control"]
	for _, tc := range []struct{ server, args, want string }{
		{server, "get|", "key-pairs\n"},
		{server, "get|policies|", "ec2/AdministratorAccess\n"},
		{server, "describe|instance|", firstSample()["ec2"].ID + "\n"},
		{server, "set-options|", firstSample()["ecs"].ID + "\n"},
		{server, "get|images|-o|", "yaml\n"},
		{"http://127.0.0.1:1", "get|policies|", ":4\n"},
	} {
		code, out, problems := imds(t, tc.server, "", append([]string{"__complete"}, strings.Split(tc.args, "|")...)...)
		if code != 0 || !strings.Contains(out, tc.want) {
			t.Errorf("%s: exit code %d, %q %s; want %q", tc.args, code, out, problems, tc.want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if code, out, _ := imds(t, server, "", "completion", shell); code != 0 || !strings.Contains(out, "__complete") {
			t.Errorf("%s: exit code %d, %.100s", shell, code, out)
		}
	}
}
