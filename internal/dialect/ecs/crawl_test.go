package ecs

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"openimds/internal/config"
	"openimds/internal/item"
)

var update = flag.Bool("update", false, "write the golden crawls anew")

// TestGoldenCrawl walks the whole tree of every sample instance in every
// version folder. A change of the files is a change of behaviour.
func TestGoldenCrawl(t *testing.T) {
	d := New()
	for _, in := range config.Samples() {
		if in.Dialect != d.Name {
			continue
		}
		for _, version := range []string{item.Latest, Version} {
			name := in.ID + "-" + version
			t.Run(name, func(t *testing.T) {
				var b strings.Builder
				q := item.Query{Instance: in, Now: now.Unix(), Signer: stamp{}}
				d.Tree.Crawl(&q, version, func(path string, row *item.Row, value []byte) {
					fmt.Fprintf(&b, "%s\t%s\t%q\n", path, kind(row), value)
				})
				golden(t, filepath.Join("testdata", "crawl", name+".golden"), b.String())
			})
		}
	}
}

// kind is what a line of a golden crawl says of the place: its class, with a
// star if it is not listed.
func kind(row *item.Row) string {
	switch {
	case row == nil:
		return "directory"
	case row.Unlisted:
		return row.Class.String() + "*"
	default:
		return row.Class.String()
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test ./internal/dialect/ecs -update makes it)", err)
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(gotLines), len(wantLines)) {
		g, w := line(gotLines, i), line(wantLines, i)
		if g != w {
			t.Fatalf("%s:%d:\nwant %s\ngot  %s", file, i+1, w, g)
		}
	}
}

func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(the end)"
}
