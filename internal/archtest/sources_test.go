package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// longest is how many lines a file of code may have. Tables may be longer, and
// are listed with the reason.
const longest = 600

var longer = map[string]string{}

// source is a parsed file of any module of the repository.
type source struct {
	path string // from the top of the repository
	dir  string
	text string
	file *ast.File
}

func (s source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

// sources parses every Go file of the repository. Reading them here also tells
// go test when the results of this package are out of date.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	set := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules" || d.Name() == "bin"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(set, path, text, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		all = append(all, source{filepath.ToSlash(rel), filepath.ToSlash(filepath.Dir(rel)), string(text), file})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d Go files found below %s", len(all), root)
	}
	return all
}

// TestPackageComments: every package says once, in a sentence or more, what it
// is for.
func TestPackageComments(t *testing.T) {
	type said struct{ files, tests []string }
	comments := map[string]*said{}
	code := map[string]bool{}
	for _, s := range sources(t) {
		if comments[s.dir] == nil {
			comments[s.dir] = &said{}
		}
		code[s.dir] = code[s.dir] || !s.test()
		if s.file.Doc == nil {
			continue
		}
		text := s.file.Doc.Text()
		if s.test() {
			comments[s.dir].tests = append(comments[s.dir].tests, s.path)
		} else {
			comments[s.dir].files = append(comments[s.dir].files, s.path)
		}
		want := "Package " + s.file.Name.Name + " "
		if s.file.Name.Name == "main" {
			want = "Command " + filepath.Base(s.dir) + " "
		}
		if !strings.HasPrefix(text, want) {
			t.Errorf("%s: the package comment starts with %q, want %q", s.path, text[:min(len(text), len(want))], want)
		}
		if words := len(strings.Fields(text)); words < 8 {
			t.Errorf("%s: the package comment has %d words, which is too few to say what the package is for", s.path, words)
		}
	}
	for dir, c := range comments {
		where := c.files
		if !code[dir] {
			where = c.tests
		} else if len(c.tests) > 0 {
			t.Errorf("%s: the package comment belongs to the code, not to %q", dir, c.tests)
		}
		if len(where) != 1 {
			t.Errorf("%s has %d package comments, want one: %q", dir, len(where), where)
		}
	}
}

// TestFilesAreShort: a file is about one thing.
func TestFilesAreShort(t *testing.T) {
	for _, s := range sources(t) {
		lines := strings.Count(s.text, "\n")
		if _, ok := longer[s.path]; lines > longest && !ok && !s.test() {
			t.Errorf("%s has %d lines: split it, or list it as a table", s.path, lines)
		}
	}
	for path := range longer {
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			t.Errorf("listed as a table: %v", err)
		}
	}
}

// clients are modules whose packages have a metadata service's address built
// in.
var clients = []string{
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds",
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds",
	"github.com/aws/aws-sdk-go-v2/config",
	"github.com/aliyun/credentials-go",
	"github.com/aliyun/alibaba-cloud-sdk-go",
	"github.com/denverdino/aliyungo",
	"github.com/AliyunContainerService/ack-ram-tool/pkg/ecsmetadata",
	"github.com/hashicorp/vault/builtin/credential/aws",
	"github.com/smallstep/certificates/authority/provisioner",
}

// TestClientsAreIsolated: whoever's tests link a metadata client runs them in
// a network namespace of their own, so that no mistake sends a packet to the
// service of the machine that the tests run on.
func TestClientsAreIsolated(t *testing.T) {
	type use struct{ where, isolates string }
	uses := map[string]*use{}
	for _, s := range sources(t) {
		if uses[s.dir] == nil {
			uses[s.dir] = &use{}
		}
		for _, spec := range s.file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			if slices.ContainsFunc(clients, func(c string) bool { return path == c || strings.HasPrefix(path, c+"/") }) {
				uses[s.dir].where = s.path
			}
		}
		if s.test() && strings.Contains(s.text, "func TestMain(") && strings.Contains(s.text, "testnet.Isolate(") {
			uses[s.dir].isolates = s.path
		}
	}
	for _, u := range uses {
		if u.where != "" && u.isolates == "" {
			t.Errorf("%s imports a metadata client: the package's TestMain must call testnet.Isolate", u.where)
		}
	}
}
