//go:build linux

package e2e

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"openimds/internal/testnet"
)

const root = ".."

// documents are the files whose commands are run.
func documents(t *testing.T) (all []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path == filepath.Join(root, "docs", "spec"):
			return filepath.SkipDir
		case filepath.Ext(path) == ".md":
			all = append(all, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return append(all, filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md"), filepath.Join(root, "SECURITY.md"))
}

// TestDocuments pastes every command of the documents into a shell, as a
// reader does; see block.
func TestDocuments(t *testing.T) {
	commands := 0
	for _, path := range documents(t) {
		all, err := blocks(string(check[[]byte](t)(os.ReadFile(path))))
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if len(all) == 0 {
			continue
		}
		name := check[string](t)(filepath.Rel(root, path))
		t.Run(name, func(t *testing.T) {
			commands += paste(t, all)
		})
	}
	if commands < 10 && !t.Failed() && !t.Skipped() {
		t.Errorf("only %d commands were found in the documents", commands)
	}
}

// paste runs the blocks of one document, and returns how many commands there
// were.
func paste(t *testing.T, all []block) (commands int) {
	t.Helper()
	testnet.RequireIsolated(t)
	env := readerEnv(t)
	need(t, env, all)
	s := startShell(t, copyOfProject(t), env)
	for _, b := range all {
		if b.notRun != "" {
			t.Logf("line %d: not run: %s", b.line, b.notRun)
			continue
		}
		if b.stopFirst {
			s.endRunning(t)
		}
		for _, text := range b.before {
			s.step(t, step{line: b.line, text: text}, 0, false)
		}
		for i, c := range b.commands {
			last := i == len(b.commands)-1
			exits := 0
			if last {
				exits = b.exits
			}
			s.step(t, c, exits, last && b.keepsRunning)
			commands++
		}
	}
	return commands
}

// step runs one command, and stops the test where it does not do what is
// shown.
func (s *shell) step(t *testing.T, c step, exits int, keepsRunning bool) {
	t.Helper()
	status, path, err := s.run(c.text, keepsRunning)
	printed := func() string {
		text, _ := os.ReadFile(path)
		return string(text)
	}
	if err != nil {
		t.Fatalf("line %d: %s\n%v; so far:\n%s", c.line, c.text, err, printed())
	}
	if status != exits {
		t.Fatalf("line %d: %s\nexit status %d, want %d\n%s", c.line, c.text, status, exits, printed())
	}
	if !keepsRunning && !strings.HasSuffix(c.text, "&") {
		if err := compare(c.want, printed(), false); err != nil {
			t.Errorf("line %d: %s\n%v", c.line, c.text, err)
		}
		return
	}
	if len(c.want) == 0 {
		c.want = []string{"…", "ready"}
	}
	for range 1200 {
		if err = compare(c.want, printed(), true); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("line %d: %s\nafter a minute: %v", c.line, c.text, err)
}

// readerEnv is the environment of a reader: a home of his own, imds in the
// path, and Go as it is here, so that it builds without a network.
func readerEnv(t *testing.T) []string {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{executable, nodeExecutable, traceExecutable} {
		if err := os.Symlink(check[string](t)(filepath.Abs(name)), filepath.Join(bin, filepath.Base(name))); err != nil {
			t.Fatal(err)
		}
	}
	path := bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	env := []string{"HOME=" + t.TempDir(), "LC_ALL=C.UTF-8", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "ALIBABA_CLOUD_ECS_METADATA_DISABLED=true"}
	if goTool, err := exec.LookPath("go"); err == nil {
		path += ":" + filepath.Dir(goTool)
		for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOFLAGS", "GOTOOLCHAIN"} {
			value, err := exec.Command(goTool, "env", name).Output()
			if err != nil {
				t.Fatal(err)
			}
			env = append(env, name+"="+strings.TrimSpace(string(value)))
		}
	}
	return append(env, "PATH="+path)
}

// copyOfProject is a directory that looks like the project's, in which a
// reader may make files.
func copyOfProject(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	from := check[string](t)(filepath.Abs(root))
	for _, e := range check[[]os.DirEntry](t)(os.ReadDir(from)) {
		if e.Name() == ".git" {
			continue
		}
		if err := os.Symlink(filepath.Join(from, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// need skips the test where a command is not installed.
func need(t *testing.T, env []string, all []block) {
	t.Helper()
	words := map[string]bool{}
	for _, b := range all {
		for _, c := range b.commands {
			if word, _, _ := strings.Cut(c.text, " "); b.notRun == "" && !strings.ContainsAny(word, "/=$(") {
				words[word] = true
			}
		}
	}
	for _, word := range slices.Sorted(maps.Keys(words)) {
		cmd := exec.Command("bash", "-c", `type -t "$0"`, word)
		cmd.Env = env
		testnet.Need(t, "the command "+word+" (scripts/install-test-deps)", cmd.Run() == nil)
	}
}

// TestBlocks: what documents may say, and what they are told is wrong.
func TestBlocks(t *testing.T) {
	const tick = "```"
	for name, c := range map[string]struct{ document, wrong string }{
		"commands":          {tick + "console\n$ a\n" + tick + "\n", ""},
		"other language":    {tick + "yaml\na: b\n" + tick + "\n", ""},
		"not console":       {tick + "sh\n$ a\n" + tick + "\n", `line 1: a block with commands is to have the language console, not "sh"`},
		"no commands":       {"text\n\n" + tick + "console\n" + tick + "\n", "line 3: the block has no command"},
		"output first":      {tick + "console\nimds dev\n" + tick + "\n", "line 2: output stands before the first command"},
		"no reason":         {"<!-- not run: -->\n" + tick + "console\n$ a\n" + tick + "\n", `line 1: "not run:" is no mark`},
		"unknown mark":      {"<!-- untested -->\n" + tick + "console\n$ a\n" + tick + "\n", `line 1: "untested" is no mark`},
		"comment elsewhere": {"<!-- generated -->\n\n" + tick + "console\n$ a\n" + tick + "\n", ""},
	} {
		_, err := blocks(c.document)
		if got := fmt.Sprint(err); err == nil && c.wrong != "" || err != nil && (c.wrong == "" || !strings.HasPrefix(got, c.wrong)) {
			t.Errorf("%s: got %q, want %q", name, got, c.wrong)
		}
	}
	all := check[[]block](t)(blocks("  <!-- before: x -->\n  <!-- before: y -->\n  <!-- stop first -->\n  <!-- keeps running -->\n  <!-- exits: 3 -->\n  " +
		tick + "console\n  $ a \\\n  > b\n  c\n  > d\n  $ e\n  " + tick + "\n"))
	want := []block{{
		line: 6, keepsRunning: true, stopFirst: true, before: []string{"x", "y"}, exits: 3,
		commands: []step{{line: 7, text: "a \\\nb", want: []string{"c", "> d"}}, {line: 11, text: "e"}},
	}}
	if !reflect.DeepEqual(all, want) {
		t.Errorf("got  %+v\nwant %+v", all, want)
	}
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		want, printed string
		more, ok      bool
	}{
		{"", "anything", false, true},
		{"a", "a", false, true},
		{"a", "a\n", false, true},
		{"a", "b", false, false},
		{"a", "a\nb\n", false, false},
		{"a", "a\nb\n", true, true},
		{"a\n…", "a\nb\nc\n", false, true},
		{"a\n…\nd", "a\nb\nc\n", false, false},
		{"…\nready", "a\nb\nready\n", true, true},
		{"…\nready", "a\nb\nread", true, false},
		{"id …-1 (.)", "id x-1 (.)  \n", false, true},
		{"id …-1", "id x-12\n", false, false},
	} {
		var want []string
		if c.want != "" {
			want = strings.Split(c.want, "\n")
		}
		if err := compare(want, c.printed, c.more); (err == nil) != c.ok {
			t.Errorf("%q shown, %q printed, more %v: %v", c.want, c.printed, c.more, err)
		}
	}
}
