package main

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// key is how many letters of a secret are looked up at once. What is shorter
// could be found by accident, and is no secret.
const key = 12

// public is the secret of the keys that `imds dev` prints for everybody.
const public = "imds-dev-secret"

// spelling is a way in which a secret can stand in a log.
type spelling struct{ whose, text string }

// secrets are what nobody may say, by the first letters of every spelling.
type secrets struct {
	known   map[string]bool
	by      map[string][]spelling
	begin   [1 << 16]bool // whether a spelling begins with these two letters
	longest int
}

// add takes a secret and the ways to spell it that loggers have.
func (s *secrets) add(whose, secret string) {
	secret = strings.TrimSpace(secret)
	if len(secret) < key || s.known[secret] || secret == public || secretName.MatchString(secret) {
		return
	}
	if s.known == nil {
		s.known, s.by = map[string]bool{}, map[string][]spelling{}
	}
	s.known[secret] = true
	raw, done := []byte(secret), map[string]bool{}
	for _, text := range []string{
		secret, quoted(secret), escaped(secret), quoted(quoted(secret)), escaped(quoted(secret)), url.QueryEscape(secret), url.PathEscape(secret),
		base64.RawStdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw), hex.EncodeToString(raw),
		strings.Trim(fmt.Sprint(raw), "[]"), //nolint:staticcheck // the numbers of the bytes, as %v writes them
	} {
		if done[text] {
			continue
		}
		done[text] = true
		s.by[text[:key]] = append(s.by[text[:key]], spelling{whose, text})
		s.begin[int(text[0])<<8|int(text[1])] = true
		s.longest = max(s.longest, len(text))
	}
}

// quoted is a text as it stands between Go's quotes.
func quoted(text string) string {
	q := strconv.Quote(text)
	return q[1 : len(q)-1]
}

// escaped is a text as it stands between the quotes of JSON.
func escaped(text string) string {
	q, _ := json.Marshal(text) // a string has a form
	return string(q[1 : len(q)-1])
}

// noted adds what tests noted in a file; none may have noted anything.
func (s *secrets) noted(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var n struct{ Test, Secret string }
		if err := json.Unmarshal(lines.Bytes(), &n); err != nil || len(n.Secret) < key {
			return fmt.Errorf("a secret was noted wrongly: %w", err)
		}
		s.add(n.Test, n.Secret)
	}
	return lines.Err()
}

var (
	// secretName is what fields, constants and variables are called whose value
	// nobody may say.
	// Those that say what a wrong one leads to are none.
	secretName = regexp.MustCompile(`(?i)(secret|secretkey|secretaccesskey|(session|security)token|userdata|password)$`)
	answerName = regexp.MustCompile(`^(?i)(wrong|bad|no)`)
	// secretLine finds them in YAML and JSON.
	secretLine = regexp.MustCompile(`(?i)\b(accessKeySecret|secretAccessKey|sessionToken|securityToken)\\?["']?\s*[:=]\s*\\?["']?([A-Za-z0-9+/=_-]{12,})`)
)

// written adds the secrets that stand in the tests of the module in dir and of
// those above it, and in what they read.
func (s *secrets) written(dir string) error {
	top, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for exists(filepath.Join(filepath.Dir(top), "go.mod")) {
		top = filepath.Dir(top)
	}
	return filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // tests may run beside this
		case err != nil:
			return err
		case d.IsDir() && path != top && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "docs" || d.Name() == "bin"):
			return filepath.SkipDir
		case d.IsDir():
			return nil
		}
		test, data := strings.HasSuffix(path, "_test.go"), filepath.Ext(path) == ".yaml"
		if !test && !data {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		whose, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		for _, m := range secretLine.FindAllSubmatch(text, -1) {
			s.add(whose, string(m[2]))
		}
		if test {
			s.literals(whose, text)
		}
		return nil
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// literals adds the strings that a Go file gives names of secrets. A file that
// is no Go is go test's to report.
func (s *secrets) literals(whose string, text []byte) {
	file, err := parser.ParseFile(token.NewFileSet(), "", text, parser.SkipObjectResolution)
	if err != nil {
		return
	}
	give := func(to, value ast.Expr) {
		name := ""
		switch n := to.(type) {
		case *ast.Ident:
			name = n.Name
		case *ast.SelectorExpr:
			name = n.Sel.Name
		}
		if !secretName.MatchString(name) || answerName.MatchString(name) {
			return
		}
		if call, ok := value.(*ast.CallExpr); ok && len(call.Args) == 1 {
			value = call.Args[0] // a conversion
		}
		if literal, ok := value.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if text, err := strconv.Unquote(literal.Value); err == nil {
				s.add(whose, text)
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.KeyValueExpr:
			give(n.Key, n.Value)
		case *ast.ValueSpec:
			for i, v := range n.Values {
				give(n.Names[i], v)
			}
		case *ast.AssignStmt:
			for i, v := range n.Rhs {
				if i < len(n.Lhs) {
					give(n.Lhs[i], v)
				}
			}
		}
		return true
	})
}
