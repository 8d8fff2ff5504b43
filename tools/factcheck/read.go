package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// place is a line of a file.
type place struct {
	file string
	line int
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

// fact is a fact of docs/spec, or the excuse of one.
type fact struct {
	place
	statement string
}

// cite is a mention of a fact outside its own line.
type cite struct {
	place
	id   string
	test bool // in a test, a script or a golden file
}

const idPattern = `(?:(?:ECS|EC2|POL)-[A-Z][A-Z0-9]*-[0-9]+[a-z]?|SEC-O?[0-9]+)`

var (
	cited    = regexp.MustCompile(`\b` + idPattern + `\b`)
	row      = regexp.MustCompile(`^\| *(` + idPattern + `) *\|(.*)$`)
	line     = regexp.MustCompile(`^(?:[-*] )?(` + idPattern + `)[:.]? +(\S.*)$`)
	anyRow   = regexp.MustCompile(`^\| *((?:ECS|EC2|POL|SEC)-[^ |]*) *\|`)
	unsplit  = strings.NewReplacer(`\|`, "\x00")
	resplit  = strings.NewReplacer("\x00", "|")
	certains = []string{"documented", "observed", "inferred", "chosen"}
)

// skipped are folders without citations: of the tools themselves, whose tests
// make facts up, and of what is not the project's.
var skipped = []string{".git", "bin", "node_modules", ".cache", "tools", "testnet"}

// readSpec reads the facts of docs/spec/*.md and what is wrong with them.
func readSpec(root string) (map[string]fact, []string, error) {
	facts := map[string]fact{}
	var problems []string
	files, err := filepath.Glob(filepath.Join(root, "docs", "spec", "*.md"))
	if err != nil {
		return nil, nil, err
	}
	if len(files) == 0 {
		return nil, nil, fmt.Errorf("%s: no *.md", filepath.Join(root, "docs", "spec"))
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, nil, err
		}
		for i, l := range strings.Split(string(text), "\n") {
			at := place{relative(root, file), i + 1}
			id, statement, problem := definition(l)
			if problem != "" {
				problems = append(problems, fmt.Sprintf("%s: %s", at, problem))
			}
			if id == "" {
				continue
			}
			if first, twice := facts[id]; twice {
				problems = append(problems, fmt.Sprintf("%s: %s stands at %s already", at, id, first.place))
				continue
			}
			facts[id] = fact{at, statement}
		}
	}
	return facts, problems, nil
}

// definition reads a line of docs/spec. Of a table, the columns are id,
// statement, source and how sure it is.
func definition(l string) (id, statement, problem string) {
	if m := row.FindStringSubmatch(l); m != nil {
		cells := strings.Split(strings.TrimSuffix(strings.TrimSpace(unsplit.Replace(m[2])), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(resplit.Replace(cells[i]))
		}
		switch {
		case len(cells) != 3:
			problem = fmt.Sprintf("%s has %d columns, want 4: id, statement, source, how sure", m[1], len(cells)+1)
		case !slices.Contains(certains, cells[2]):
			problem = fmt.Sprintf("%s is %q, want one of %s", m[1], cells[2], strings.Join(certains, ", "))
		case cells[0] == "":
			problem = m[1] + " says nothing"
		case cells[1] == "" && cells[2] != "chosen":
			problem = m[1] + " has no source, and only what we chose needs none"
		}
		return m[1], cells[0], problem
	}
	if m := anyRow.FindStringSubmatch(l); m != nil {
		return "", "", fmt.Sprintf("%s has not the form of an id, such as EC2-TOK-03, POL-VAR-01 or SEC-23", m[1])
	}
	if m := line.FindStringSubmatch(l); m != nil {
		return m[1], m[2], ""
	}
	return "", "", ""
}

// readCites finds every citation in the project's Go files, scripts,
// documents and test data. The line that states a fact does not cite it.
func readCites(root string) (cites []cite, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && slices.Contains(skipped, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		name := relative(root, path)
		test := strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".http") || strings.Contains(name, "testdata/")
		if !test && !strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, ".md") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.IndexByte(text, 0) >= 0 {
			return nil // binary
		}
		spec := strings.HasPrefix(name, "docs/spec/")
		for i, l := range strings.Split(string(text), "\n") {
			own := ""
			if spec {
				own, _, _ = definition(l)
			}
			for _, id := range cited.FindAllString(l, -1) {
				if id != own {
					cites = append(cites, cite{place{name, i + 1}, id, test})
				}
			}
		}
		return nil
	})
	return cites, err
}

// readExcuses reads lines "ID reason"; "#" starts a comment.
func readExcuses(file string) (map[string]fact, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	excuses := map[string]fact{}
	for i, l := range strings.Split(string(text), "\n") {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		id, reason, _ := strings.Cut(l, " ")
		if reason = strings.TrimSpace(reason); reason == "" {
			return nil, fmt.Errorf("%s:%d: %s has no reason", file, i+1, id)
		}
		excuses[id] = fact{place{file, i + 1}, reason}
	}
	return excuses, nil
}

func relative(root, path string) string {
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return path
	}
	return filepath.ToSlash(rel)
}

func sortedIDs(facts map[string]fact) []string { return slices.Sorted(maps.Keys(facts)) }
