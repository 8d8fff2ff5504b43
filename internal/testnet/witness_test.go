package testnet

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWitness(t *testing.T) {
	folder := t.TempDir()
	t.Setenv(witness, folder)
	for range 2 {
		if got := Secret(t, "not-to-be-said"); got != "not-to-be-said" {
			t.Errorf("Secret returned %q", got)
		}
		Said(t, "a program/1", "its log\n")
	}
	for name, want := range map[string]string{
		"secrets":                      `{"secret":"not-to-be-said","test":"TestWitness"}` + "\n",
		"said-TestWitness-a_program_1": "its log\n",
	} {
		got, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil || string(got) != want+want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	keys := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(keys, []byte(`{"first": 7, "keys": ["bm90LXRvLWJlLXNhaWQtYXQtYWxs"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	SecretFiles(t, keys, keys+".none")
	SaidFile(t, keys)
	Logger(io.Discard, nil).Debug("quietly")
	Quiet().Debug("more quietly")
	for _, run := range []func() error{
		func() error { return Server("sh", "-c", "echo out; echo err >&2").Run() },
		func() error {
			out, err := Command(t.Context(), "sh", "-c", "echo both; echo both >&2").CombinedOutput()
			return errors.Join(err, want(string(out), "both\nboth\n"))
		},
		func() error {
			c := Server("sh", "-c", "echo answer; echo problem >&2")
			c.Answers = true
			out, err := c.Output()
			return errors.Join(err, want(string(out), "answer\n"))
		},
		func() error {
			c := Server("sh", "-c", "echo piped; echo piped too >&2")
			out, err := c.StdoutPipe()
			errs, err2 := c.StderrPipe()
			if err := errors.Join(err, err2, c.Start()); err != nil {
				return err
			}
			a, err := io.ReadAll(out)
			b, err2 := io.ReadAll(errs)
			return errors.Join(err, err2, c.Wait(), want(string(a)+string(b), "piped\npiped too\n"))
		},
		func() error {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "some_total 1\n") }))
			defer server.Close()
			return want(Scrape(t, server.URL), "some_total 1\n")
		},
	} {
		if err := run(); err != nil {
			t.Error(err)
		}
	}
	var all strings.Builder
	files, _ := filepath.Glob(filepath.Join(folder, "*"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	for text, times := range map[string]int{
		"bm90LXRvLWJlLXNhaWQtYXQtYWxs": 2, "msg=quietly": 1, `msg="more quietly"`: 1, "out\n": 1, "err\n": 1, "both\n": 2,
		"answer": 0, "problem\n": 1, "piped\n": 1, "piped too\n": 1, "some_total 1\n": 1,
	} {
		if got := strings.Count(all.String(), text); got != times {
			t.Errorf("%q was noted %d times, want %d, in\n%s", text, got, times, all.String())
		}
	}
	t.Setenv(witness, "")
	Said(t, "nobody", Secret(t, "of nobody's interest"))
}

// want is what is wrong with a text.
func want(got, text string) error {
	if got != text {
		return fmt.Errorf("got %q, want %q", got, text)
	}
	return nil
}
