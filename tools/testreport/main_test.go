package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// module writes a module with one test file and returns its directory.
func module(t *testing.T, body string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":    "module example\n\ngo 1.26.0\n",
		"x_test.go": "package example\n\nimport (\n\t\"fmt\"\n\t\"os\"\n\t\"testing\"\n)\n\nvar _, _ = fmt.Sprint, os.Getenv\n\n" + body,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// noting is what internal/testnet does.
const noting = `func note(test, secret string) {
	f, err := os.OpenFile(os.Getenv("OPENIMDS_TEST_WITNESS")+"/secrets", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(f, "{\"test\":%q,\"secret\":%q}\n", test, secret)
	f.Close()
}

`

func TestReport(t *testing.T) {
	const pass = "func TestGood(t *testing.T) { t.Log(\"quiet\") }\n"
	for name, c := range map[string]struct {
		body       string
		strict     bool
		status     int
		want, lack []string
	}{
		"pass": {body: pass, want: []string{"ok  \texample\t", "1 passed, 0 failed, 0 skipped"}, lack: []string{"quiet", "PASS", "==="}},
		"fail": {body: pass + "func TestBad(t *testing.T) { t.Run(\"deep\", func(t *testing.T) { t.Fatal(\"the reason\") }) }\n",
			status: 1, want: []string{"the reason", "--- FAIL: TestBad/deep", "FAIL\texample\t", "failed: example TestBad/deep", "1 passed, 2 failed, 0 skipped"}, lack: []string{"quiet"}},
		"skip": {body: pass + "func TestSkip(t *testing.T) { t.Skip(\"no spoon\") }\n",
			want: []string{"ok  \texample\t", "skipped: example TestSkip: no spoon", "1 passed, 0 failed, 1 skipped"}},
		"skip in CI": {body: pass + "func TestSkip(t *testing.T) { t.SkipNow() }\n", strict: true,
			status: 1, want: []string{"skipped: example TestSkip: no reason given"}},
		"panic": {body: pass + "func TestPanic(t *testing.T) { panic(\"ouch\") }\n",
			status: 1, want: []string{"panic: ouch", "FAIL\texample\t"}},
		"hang": {body: "func TestHang(t *testing.T) { t.Log(\"last words\"); select {} }\n",
			status: 1, want: []string{"last words", "test timed out", "FAIL\texample\t"}},
		"says a secret": {body: noting + "func TestTells(t *testing.T) { note(t.Name(), \"hunter2-hunter2\"); t.Log(\"the key is hunter2-hunter2.\") }\n",
			status: 1, want: []string{"a secret was said: go-test has a secret of TestTells, after: ", "the key is", "1 passed, 0 failed"}, lack: []string{"hunter2"}},
		"keeps a secret": {body: noting + "func TestKeeps(t *testing.T) { note(t.Name(), \"hunter2-hunter2\"); t.Log(\"the key is hunter2-hunter3.\") }\n",
			want: []string{"1 passed, 0 failed"}},
		"says a secret of its source": {body: "var c = struct{ AccessKeySecret string }{AccessKeySecret: \"hunter2-hunter2\"}\n\nfunc TestTells(t *testing.T) { t.Log(c.AccessKeySecret) }\n",
			status: 1, want: []string{"a secret was said: go-test has a secret of x_test.go, after: "}, lack: []string{"hunter2"}},
		"a program says it in its log": {body: noting + "func TestTells(t *testing.T) { note(t.Name(), \"hunter2-hunter2\"); _ = os.WriteFile(os.Getenv(\"OPENIMDS_TEST_WITNESS\")+\"/said-imds-log\", []byte(\"a\\nkey=hunter2-hunter2\\n\"), 0o600) }\n",
			status: 1, want: []string{"a secret was said: imds-log has a secret of TestTells, after: key=\n"}, lack: []string{"hunter2"}},
		"does not build": {body: "func TestX(t *testing.T) { undefined() }\n",
			status: 1, want: []string{"undefined: undefined", "FAIL\texample [build failed]"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errs strings.Builder
			status := run([]string{"-C", module(t, c.body), "-timeout=5s", "./..."}, c.strict, &out, &errs)
			if status != c.status {
				t.Errorf("exit status %d, want %d", status, c.status)
			}
			all := out.String() + errs.String()
			for _, w := range c.want {
				if !strings.Contains(all, w) {
					t.Errorf("want %q in\n%s", w, all)
				}
			}
			for _, l := range c.lack {
				if strings.Contains(all, l) {
					t.Errorf("want no %q in\n%s", l, all)
				}
			}
		})
	}
}

func TestBadModule(t *testing.T) {
	var out, errs strings.Builder
	if status := run([]string{"-C", filepath.Join(t.TempDir(), "absent"), "./..."}, false, &out, &errs); status == 0 {
		t.Errorf("exit status 0 for a folder that is not there: %s%s", out.String(), errs.String())
	}
}
