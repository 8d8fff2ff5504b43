package ec2

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"openimds/internal/config"
	"openimds/internal/instance"
	"openimds/internal/item"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// crawled are the versions whose whole tree is kept: those that clients ask
// for, and the oldest.
var crawled = []string{item.Latest, "2021-03-23", "2016-09-02", "2009-04-04", "1.0"}

// TestGolden crawls the whole tree of every sample instance. The files are
// there to be read: a change of behaviour is a difference in them.
func TestGolden(t *testing.T) {
	kept := map[string]bool{}
	used := map[string]bool{} // paths of rows
	for _, in := range config.Samples() {
		if in.Dialect != New().Name {
			continue
		}
		for _, version := range crawled {
			name := filepath.Join("testdata", "crawl", in.ID+"-"+version+".golden")
			kept[name] = true
			t.Run(in.ID+"-"+version, func(t *testing.T) {
				golden(t, name, crawl(in, version, used))
			})
		}
	}
	files, err := filepath.Glob("testdata/crawl/*.golden")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !kept[file] {
			t.Errorf("%s belongs to no sample", file)
		}
	}
	for _, n := range tree.Nodes() {
		if row := n.Row(); row != nil && !used[row.Path] {
			t.Errorf("no sample has %s", row.Path)
		}
	}
}

// crawl writes a tree as text: a place a line, with what it is and its value.
func crawl(in *instance.Instance, version string, used map[string]bool) []byte {
	var b bytes.Buffer
	at := time.Date(2026, 1, 15, 9, 0, 0, 0, time.UTC)
	q := item.Query{Instance: in, Now: at.Unix(), Signer: stamp{}}
	tree.Crawl(&q, version, func(path string, row *item.Row, value []byte) {
		kind := "directory"
		if row != nil {
			kind = row.Class.String()
			used[row.Path] = true
		}
		fmt.Fprintf(&b, "%s %s %q\n", path, kind, value)
	})
	return b.Bytes()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("%v (run the test with -update)", err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("%s differs (-want +got); if that is right, run the test with -update:\n%s", name, diff)
	}
}
