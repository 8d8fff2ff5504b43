package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// foreign are programs that tests start and that are not ours, where that is
// not a name in the call: what they print, passwords too, is for the test.
var foreign = map[string][]string{
	"cmd/imds/serve_disk_linux_test.go":      {"mkfs"},
	"e2e/client_aliyun_test.go":              {"a.program"}, // the Alibaba Cloud CLI
	"e2e/guest_units_test.go":                {"qemu[0]"},
	"e2e/client_ec2_test.go":                 {"path", "a.path"}, // the AWS CLI
	"e2e/client_test.go":                     {"name"},           // clients in other languages
	"e2e/dashboards_test.go":                 {"tool", "promtool(t)"},
	"e2e/docs_test.go":                       {"goTool"},
	"e2e/monitor_clients_test.go":            {"path", "a.path"}, // the AWS CLI, Python
	"e2e/package_test.go":                    {"name"},           // tools that build and unpack
	"e2e/program_test.go":                    {"name", "path"},   // clients; commands of ours that end are e2e's to read
	"e2e/trace/bulk_test.go":                 {"senders"},        // a client in C
	"e2e/trace_guest_test.go":                {"args[0]"},        // QEMU
	"e2e/trace/matrix_test.go":               {"argv[0]"},        // clients
	"internal/node/proxied_linux_test.go":    {"python"},
	"internal/testnet/isolate_linux_test.go": {"os.Args[0]"}, // its tests of itself
}

// TestEverythingIsHeard: what loggers and our programs say in tests is noted,
// so that tools/testreport can look for secrets in all of it. Tests make
// loggers and start programs by internal/testnet alone, and read the metrics of
// those that serve.
func TestEverythingIsHeard(t *testing.T) {
	used := map[string]bool{}
	serves, scrapes := map[string]string{}, map[string]bool{}
	for _, s := range sources(t) {
		if !s.test() || s.dir == "internal/archtest" {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), s.path, s.text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		h := hearing{path: s.path, used: used}
		ast.Inspect(file, h.look)
		for _, p := range h.problems {
			t.Errorf("%s: %s", s.path, p)
		}
		if h.serves {
			serves[s.dir] = s.path
		}
		scrapes[s.dir] = scrapes[s.dir] || h.scrapes
	}
	for dir, path := range serves {
		if !scrapes[dir] {
			t.Errorf("%s starts a program that serves metrics: have the package note them, by testnet.Scrape", path)
		}
	}
	for path, programs := range foreign {
		for _, p := range programs {
			if !used[path+" "+p] {
				t.Errorf("the table of foreign programs has %s in %s, where it is not started any more", p, path)
			}
		}
	}
}

// TestUnheardIsFound: the rules of TestEverythingIsHeard can be broken.
func TestUnheardIsFound(t *testing.T) {
	for code, want := range map[string]string{
		`slog.New(h)`:                                 "testnet.Logger",
		`slog.NewTextHandler(&b, nil)`:                "testnet.Logger",
		`f(slog.DiscardHandler)`:                      "testnet.Quiet",
		`slog.SetDefault(l)`:                          "testnet.Logger",
		`exec.Command("../bin/imds", "serve")`:        "testnet.Command",
		`exec.CommandContext(ctx, program, "dev")`:    "testnet.Command",
		`exec.Command("curl", "-s")`:                  "",
		`exec.CommandContext(ctx, "/usr/bin/aws")`:    "",
		`testnet.Server(program, "serve")`:            "",
		`run(ctx, args, &out, &errs)`:                 "testnet.Hear",
		`run(ctx, args, &out, testnet.Hear(&e, "x"))`: "",
		`slog.Info("x")`:                              "testnet.Logger",
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "", "package main\n\nfunc f() { "+code+" }\n", parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		h := hearing{path: "cmd/x/x_test.go", used: map[string]bool{}}
		ast.Inspect(file, h.look)
		if got := strings.Join(h.problems, "; "); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q, want %q", code, got, want)
		}
	}
}

// hearing looks at a file of tests.
type hearing struct {
	path            string
	used            map[string]bool // of foreign
	problems        []string
	serves, scrapes bool
}

func (h *hearing) problem(format string, args ...any) {
	h.problems = append(h.problems, fmt.Sprintf(format, args...))
}

func (h *hearing) look(n ast.Node) bool {
	if s, ok := n.(*ast.SelectorExpr); ok && name(s) == "slog.DiscardHandler" {
		h.problem("%s is heard by nobody: use testnet.Quiet", name(s))
	}
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return true
	}
	switch what := name(call.Fun); what {
	case "slog.New", "slog.NewTextHandler", "slog.NewJSONHandler", "slog.SetDefault", "slog.Default", "slog.Debug", "slog.Info", "slog.Warn", "slog.Error":
		if !strings.HasPrefix(h.path, "internal/testnet/") && !strings.HasPrefix(h.path, "tools/") {
			h.problem("%s: use testnet.Logger, JSONLogger or Quiet", what)
		}
	case "exec.Command":
		h.program(call.Args[0])
	case "exec.CommandContext":
		h.program(call.Args[1])
	case "testnet.Command", "testnet.Server", "launch", "startDev":
		for _, a := range call.Args {
			if text := literal(a); text == "serve" || text == "dev" {
				h.serves = true
			}
		}
	case "testnet.Scrape":
		h.scrapes = true
	case "run":
		if len(call.Args) == 4 && strings.HasPrefix(h.path, "cmd/") {
			if last, ok := call.Args[3].(*ast.CallExpr); !ok || name(last.Fun) != "testnet.Hear" {
				h.problem("the standard error of run is heard by nobody: use testnet.Hear")
			}
		}
	}
	return true
}

// program looks at what exec.Command starts.
func (h *hearing) program(arg ast.Expr) {
	if text := literal(arg); text != "" {
		if strings.HasPrefix(path.Base(text), "imds") || strings.HasPrefix(text, "/proc/") {
			h.problem("%s is started by exec.Command: use testnet.Command or Server", text)
		}
		return
	}
	if what := name(arg); slices.Contains(foreign[h.path], what) {
		h.used[h.path+" "+what] = true
	} else if !strings.HasPrefix(h.path, "tools/") {
		h.problem("%s is started by exec.Command: use testnet.Command or Server, or add it to the table of foreign programs", what)
	}
}

// literal is the text of a string, empty for anything else.
func literal(e ast.Expr) string {
	if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
		if text, err := strconv.Unquote(l.Value); err == nil {
			return text
		}
	}
	return ""
}

// name is how the source spells an expression.
func name(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return name(e.X) + "." + e.Sel.Name
	case *ast.CallExpr:
		var args []string
		for _, a := range e.Args {
			args = append(args, name(a))
		}
		return name(e.Fun) + "(" + strings.Join(args, ", ") + ")"
	case *ast.IndexExpr:
		return name(e.X) + "[" + name(e.Index) + "]"
	case *ast.BasicLit:
		return e.Value
	}
	return fmt.Sprintf("%T", e)
}
