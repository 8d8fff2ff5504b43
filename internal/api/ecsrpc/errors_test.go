package ecsrpc

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"openimds/internal/control"
)

// TestReasons: every reason of package control has a code here.
func TestReasons(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../control/reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Reason" {
			return true
		}
		for _, v := range spec.Values {
			text, err := strconv.Unquote(v.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found++
			if _, ok := reasons[control.Reason(text)]; !ok {
				t.Errorf("%s (%q) has no code", spec.Names[0], text)
			}
		}
		return true
	})
	if found < 25 || found != len(reasons) {
		t.Errorf("found %d reasons, have codes for %d", found, len(reasons))
	}
	form := regexp.MustCompile(`^[A-Za-z]+(\.[A-Za-z0-9]+)?$`)
	for reason, e := range reasons {
		if !form.MatchString(e.code) || e.status < 400 || e.message == "" || strings.Count(e.message, "%") > 1 {
			t.Errorf("%s: %+v", reason, e)
		}
	}
}
