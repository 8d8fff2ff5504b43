package section

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.md")
	if err := os.WriteFile(path, []byte("# First\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ script, text string }{{"bench/a", "old\n"}, {"bench/ab", "other"}, {"bench/a", "\nnew"}} {
		if err := Put(path, step.script, step.text, nil); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	const want = "# First\n\n<!-- Written by bench/a from here on. -->\n\nnew\n\n<!-- Written by bench/ab from here on. -->\n\nother\n"
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}
