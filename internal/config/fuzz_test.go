package config

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"openimds/internal/instance"
)

// lineEnd is what YAML takes for the end of a line.
var lineEnd = regexp.MustCompile("\r\n|[\n\r\u0085\u2028\u2029]")

// Whatever a file holds: reading it ends, every problem is one line that names
// a place in the file, and instances that are returned are valid.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(file("a")))
	f.Add([]byte("instances: &a [{<<: *a, id: &b i-1, tags: {<<: [*b]}}, *a]"))
	f.Add([]byte("instances: []\rother: 1\u2028more: 2"))
	files, _ := filepath.Glob("testdata/problems/*.yaml")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			t.Skip()
		}
		all, err := ParseInstances("f", data)
		lines := 1 + len(lineEnd.FindAll(data, -1))
		var problems Problems
		switch {
		case err == nil:
			if wrong := instance.ValidateAll(all); wrong != nil {
				t.Errorf("%q", wrong)
			}
		case !errors.As(err, &problems) || len(problems) == 0:
			t.Errorf("%T: %v", err, err)
		}
		for _, p := range problems {
			text := p.String()
			if p.Line > lines || p.Line < 0 || p.Line > 0 && p.Column < 1 || strings.ContainsAny(text, "\r\n") || p.Msg == "" {
				t.Errorf("%q: file of %d lines", text, lines)
			}
		}
	})
}
