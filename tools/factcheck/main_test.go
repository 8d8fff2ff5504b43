package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// project lays out files, "name" to content, and returns its directory.
func project(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	if _, ok := files["untested.txt"]; !ok {
		files["untested.txt"] = ""
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestFactcheck(t *testing.T) {
	const spec = "| id | statement | source | how sure |\n|---|---|---|---|\n" +
		"| EC2-TOK-01 | a \\| b | guide | documented |\n| SEC-O1 | order | ours | chosen |\n"
	const tests = "// EC2-TOK-01 and SEC-O1\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  []string // parts of the problems; none: it passes
	}{
		"good": {map[string]string{"docs/spec/a.md": spec, "a_test.go": tests, "a.go": "// EC2-TOK-01."}, nil},
		"scripts and goldens are tests": {map[string]string{"docs/spec/a.md": spec,
			"testdata/x.http": "# EC2-TOK-01: x", "testdata/crawl.txt": "SEC-O1 /latest"}, nil},
		"facts as lines":      {map[string]string{"docs/spec/a.md": "- EC2-TOK-01: x\nSEC-O1 y\n", "a_test.go": tests}, nil},
		"policies":            {map[string]string{"docs/spec/a.md": "| POL-VAR-01 | x | y | documented |\n", "a_test.go": "POL-VAR-01"}, nil},
		"policies, not an id": {map[string]string{"docs/spec/a.md": spec + "| POL-1 | x | y | chosen |\n", "a_test.go": tests}, []string{"a.md:5: POL-1 has not the form"}},
		"what is no id":       {map[string]string{"docs/spec/a.md": spec, "a_test.go": tests, "b.md": "EC2-Classic, SEC-10k, XSEC-99"}, nil},
		"tools cite freely":   {map[string]string{"docs/spec/a.md": spec, "a_test.go": tests, "tools/x.go": "// SEC-99"}, nil},
		"unknown, in code": {map[string]string{"docs/spec/a.md": spec, "a_test.go": tests, "x/a.go": "\n// SEC-99"},
			[]string{"x/a.go:2: SEC-99 is cited"}},
		"unknown, in docs": {map[string]string{"docs/spec/a.md": spec, "a_test.go": tests, "docs/d.md": "SEC-98"},
			[]string{"docs/d.md:1: SEC-98 is cited"}},
		"unknown, in the spec itself": {map[string]string{"docs/spec/a.md": spec + "\nsee SEC-97\n", "a_test.go": tests},
			[]string{"docs/spec/a.md:6: SEC-97 is cited"}},
		"twice": {map[string]string{"docs/spec/a.md": spec, "docs/spec/b.md": spec, "a_test.go": tests},
			[]string{"docs/spec/b.md:3: EC2-TOK-01 stands at docs/spec/a.md:3 already", "docs/spec/b.md:4: SEC-O1 stands"}},
		"untested": {map[string]string{"docs/spec/a.md": spec, "a.go": tests},
			[]string{"docs/spec/a.md:3: no test cites EC2-TOK-01: a | b", "no test cites SEC-O1"}},
		"excused": {map[string]string{"docs/spec/a.md": spec, "untested.txt": "# why\nEC2-TOK-01 cannot\nSEC-O1 be seen\n"}, nil},
		"excused, and tested": {map[string]string{"docs/spec/a.md": spec, "a_test.go": tests, "untested.txt": "SEC-O1 x\n"},
			[]string{"SEC-O1 is excused, but a_test.go:1 tests it"}},
		"excused, and unknown": {map[string]string{"docs/spec/a.md": spec, "a_test.go": tests, "untested.txt": "SEC-99 x\n"},
			[]string{"SEC-99 is excused and stands nowhere"}},
		"columns":    {map[string]string{"docs/spec/a.md": "| SEC-1 | x | chosen |\n", "a_test.go": "SEC-1"}, []string{"SEC-1 has 3 columns"}},
		"how sure":   {map[string]string{"docs/spec/a.md": "| SEC-1 | x | y | sure |\n", "a_test.go": "SEC-1"}, []string{`SEC-1 is "sure"`}},
		"no source":  {map[string]string{"docs/spec/a.md": "| SEC-1 | x |  | observed |\n", "a_test.go": "SEC-1"}, []string{"SEC-1 has no source"}},
		"our choice": {map[string]string{"docs/spec/a.md": "| SEC-1 | x | | chosen |\n", "a_test.go": "SEC-1"}, nil},
		"nothing":    {map[string]string{"docs/spec/a.md": "| SEC-1 | | x | chosen |\n", "a_test.go": "SEC-1"}, []string{"SEC-1 says nothing"}},
		"not an id":  {map[string]string{"docs/spec/a.md": spec + "| SEC-A1 | x | y | chosen |\n", "a_test.go": tests}, []string{"a.md:5: SEC-A1 has not the form"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs strings.Builder
			status := run([]string{"-root", project(t, c.files), "-untested", "untested.txt"}, &out, &errs)
			want := 0
			if len(c.want) > 0 {
				want = 1
			}
			if status != want {
				t.Errorf("exit status %d, want %d", status, want)
			}
			for _, w := range c.want {
				if !strings.Contains(errs.String(), w) {
					t.Errorf("want %q in\n%s", w, errs.String())
				}
			}
			if got := strings.Count(errs.String(), "\n"); len(c.want) > 0 && got != len(c.want)+1 {
				t.Errorf("%d lines, want %d problems and a count:\n%s", got, len(c.want), errs.String())
			}
			if !strings.Contains(out.String(), "facts") {
				t.Errorf("no summary in %q", out.String())
			}
		})
	}
}

func TestCannotRead(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"no spec":   {"a.go": ""},
		"no reason": {"docs/spec/a.md": "SEC-1 x\n", "untested.txt": "SEC-1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var errs strings.Builder
			if status := run([]string{"-root", project(t, files), "-untested", "untested.txt"}, &errs, &errs); status != 2 {
				t.Errorf("exit status %d, want 2: %s", status, errs.String())
			}
		})
	}
}
