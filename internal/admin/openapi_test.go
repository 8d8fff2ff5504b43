package admin

import (
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

//go:generate go test -run TestComments . -update

var update = flag.Bool("update", false, "write the comments of types anew")

// The embedded comments are those of the source.
func TestComments(t *testing.T) {
	all := map[string]string{}
	for _, dir := range []string{".", "../instance", "../usage", "../audit", "../node", "../docsign", "../feed/hub"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			addComments(all, f)
		}
	}
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	data = append(data, '\n')
	if *update {
		if err := os.WriteFile("comments.json", data, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(data), string(comments)); diff != "" {
		t.Errorf("comments.json is not what the source says; write it with go generate ./internal/admin: %s", diff)
	}
}

func addComments(all map[string]string, f *ast.File) {
	sentence := func(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }
	ast.Inspect(f, func(n ast.Node) bool {
		g, ok := n.(*ast.GenDecl)
		if !ok {
			return true
		}
		for _, spec := range g.Specs {
			ts, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			st, ok := ts.Type.(*ast.StructType)
			if !ok {
				continue
			}
			name, tagged := f.Name.Name+"."+ts.Name.Name, false
			for _, field := range st.Fields.List {
				if field.Tag == nil {
					continue
				}
				key, _, _ := strings.Cut(reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json"), ",")
				if key != "" && key != "-" {
					tagged = true
					if doc := sentence(field.Doc); doc != "" {
						all[name+"."+key] = doc
					}
				}
			}
			if doc := sentence(g.Doc); doc != "" && tagged {
				all[name] = doc
			}
		}
		return false
	})
}

// The description names every route, every reference in it leads somewhere,
// and no operation's name is given twice.
func TestOpenAPI(t *testing.T) {
	doc, err := OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Paths map[string]map[string]struct {
			ID        string         `json:"operationId"`
			Summary   string         `json:"summary"`
			Responses map[string]any `json:"responses"`
		} `json:"paths"`
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Description string
				}
			}
			Responses map[string]any
		}
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, r := range routes() {
		op := d.Paths[r.path][strings.ToLower(r.method)]
		if op.ID != r.id || op.Summary == "" || len(op.Responses) == 0 {
			t.Errorf("%s %s is described as %+v", r.method, r.path, op)
		}
		ids = append(ids, r.id)
	}
	slices.Sort(ids)
	if unique := slices.Compact(slices.Clone(ids)); len(unique) != len(ids) {
		t.Errorf("operations of one name: %q", ids)
	}
	for _, part := range strings.Split(string(data), `"$ref":"#/components/`)[1:] {
		ref, _, _ := strings.Cut(part, `"`)
		section, name, _ := strings.Cut(ref, "/")
		if _, ok := d.Components.Schemas[name]; section == "schemas" && !ok {
			t.Errorf("nothing is called %s", ref)
		}
	}
	for name, s := range d.Components.Schemas {
		for key, p := range s.Properties {
			if p.Description == "" && !strings.HasPrefix(name, "Audit") {
				t.Errorf("%s.%s has no description", name, key)
			}
		}
	}
}
