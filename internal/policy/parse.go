package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Limits of a document. They are wider than the vendors' (POL-DOC-10).
const (
	// MaxSize is the size of a document in bytes, white space included.
	MaxSize = 20 << 10
	// MaxStatements is how many statements a document may have.
	MaxStatements = 100
	// maxText is the length of one string in bytes.
	maxText = 2 << 10
)

// defaultVersion is what a document of IAM without Version has.
const defaultVersion = "2008-10-17"

// Parse reads a document and compiles it. The error is of type Problems and
// names up to ten mistakes, each with its place and what is expected. Parse
// keeps no reference to data.
func Parse(data []byte, lang Language) (*Policy, error) {
	r := reader{data: data, lang: lang}
	if lang != IAM && lang != RAM {
		r.report(0, "", "is of language %d, which does not exist", lang)
		return nil, r.problems
	}
	if len(data) > MaxSize {
		r.report(0, "", "has %d bytes: want at most %d", len(data), MaxSize)
		return nil, r.problems
	}
	doc, err := decode(data)
	if err != nil {
		at := 0
		var s *syntaxError
		if errors.As(err, &s) {
			at = s.at
		}
		r.report(at, "", "%v", err)
		return nil, r.problems
	}
	p := r.policy(&doc)
	if len(r.problems) > 0 {
		slices.SortStableFunc(r.problems, func(a, b Problem) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
		return nil, r.problems
	}
	return p, nil
}

// reader turns nodes into a policy and collects what is wrong with them.
type reader struct {
	data     []byte
	lang     Language
	version  string
	problems Problems
}

func (r *reader) report(at int, path, format string, args ...any) {
	if len(r.problems) == mostProblems {
		return
	}
	line, column := position(r.data, at)
	r.problems = append(r.problems, Problem{line, column, clip(path), fmt.Sprintf(format, args...)})
}

// clip keeps a path short and on one line: keys and operators are anybody's
// text.
func clip(path string) string {
	const most = 200
	if strings.ContainsFunc(path, func(c rune) bool { return !unicode.IsPrint(c) }) {
		path = strings.Trim(strconv.Quote(path), `"`)
	}
	if len(path) <= most {
		return path
	}
	return strings.ToValidUTF8(path[:most], "") + "…"
}

// form returns what a text of this document may have besides f: variables
// exist in one version of one language only (POL-VAR-01).
func (r *reader) form(f form) form {
	if r.lang == IAM && r.version == "2012-10-17" {
		return f | variables
	}
	return f
}

func (r *reader) policy(doc *node) *Policy {
	if doc.shape != shapeObject {
		r.report(doc.at, "", "is %s: want an object with Version and Statement", doc.shape)
		return nil
	}
	r.known(doc, "", "Version", "Statement")
	p := &Policy{language: r.lang, version: r.readVersion(doc)}
	r.version = p.version
	statements := doc.member("Statement")
	if statements == nil {
		r.report(doc.at, "", "has no Statement")
		return p
	}
	list, path := []node{*statements}, func(int) string { return "Statement" }
	if statements.shape == shapeList {
		list, path = statements.items, func(i int) string { return fmt.Sprintf("Statement[%d]", i) }
	}
	switch {
	case len(list) == 0:
		r.report(statements.at, "Statement", "is empty: want at least one statement")
	case len(list) > MaxStatements:
		r.report(statements.at, "Statement", "has %d statements: want at most %d", len(list), MaxStatements)
		return p
	}
	sids := map[string]string{}
	for i := range list {
		s := r.statement(&list[i], path(i))
		p.statements = append(p.statements, s)
		if first, twice := sids[s.sid]; twice && s.sid != "" && r.lang == IAM {
			r.report(list[i].member("Sid").at, path(i)+".Sid", "is %s, as that of %s: want each Sid once", quote(s.sid), first)
		}
		sids[s.sid] = path(i)
	}
	return p
}

// readVersion reads the version of the language; IAM's default is the older
// one (POL-DOC-02).
func (r *reader) readVersion(doc *node) string {
	want := []string{"2012-10-17", defaultVersion}
	if r.lang == RAM {
		want = []string{"1"}
	}
	v := doc.member("Version")
	switch {
	case v == nil && r.lang == IAM:
		return defaultVersion
	case v == nil:
		r.report(doc.at, "", `has no Version: want "1"`)
	case v.shape != shapeString || !slices.Contains(want, v.text):
		r.report(v.at, "Version", `is %s: want "%s" in a policy of %s`, r.show(v), strings.Join(want, `" or "`), r.lang)
	default:
		return v.text
	}
	return ""
}

// show describes a value for a message.
func (r *reader) show(n *node) string {
	switch n.shape {
	case shapeString:
		return quote(n.text)
	case shapeNumber, shapeBool:
		return n.text
	}
	return n.shape.String()
}

// known reports members that should not be there.
func (r *reader) known(n *node, path string, names ...string) {
	for _, m := range n.members {
		if slices.Contains(names, m.name) {
			continue
		}
		want := "want " + strings.Join(names, ", ")
		if i := slices.IndexFunc(names, func(name string) bool { return strings.EqualFold(name, m.name) }); i >= 0 {
			want = "want " + names[i] + ", in this case of letters"
		}
		switch m.name {
		case "Principal", "NotPrincipal":
			want = "a policy is attached to whom it is about, so leave it out"
		case "Id":
			want = "only policies of resources have one, so leave it out"
		}
		r.report(m.at, join(path, m.name), "is not expected here: %s", want)
	}
}

// join adds a member to a path.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
