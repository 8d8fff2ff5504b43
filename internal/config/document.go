package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"openimds/internal/instance"
)

// MaxSize is how many bytes a file may have.
const MaxSize = 16 << 20

// Document is the one YAML document of a file. It is immutable.
type Document struct {
	name string
	size int // of the file in bytes
	root *yaml.Node
}

// Parse reads data as one YAML document whose top level is a mapping. The name
// stands in problems. The error is Problems.
func Parse(name string, data []byte) (*Document, error) {
	fail := func(line, column int, format string, args ...any) (*Document, error) {
		return nil, Problems{{File: name, Line: line, Column: column, Msg: fmt.Sprintf(format, args...)}}
	}
	if len(data) > MaxSize {
		return fail(0, 0, "the file has %d bytes, expected at most %d", len(data), MaxSize)
	}
	if line, column, ok := invalidUTF8(data); ok {
		return fail(line, column, "found a byte that is not UTF-8, expected a text file in UTF-8")
	}
	docs, err := read(data)
	switch {
	case err != nil:
		line := syntaxLine(data, err)
		return fail(line, 1, "not YAML: %s", explain(err))
	case len(docs) == 0:
		return fail(0, 0, "the file is empty, expected keys with values")
	case len(docs) > 1:
		return fail(docs[1].Line, docs[1].Column, "found a second YAML document, expected one: take the line --- out, or put it into a file of its own")
	}
	top := docs[0].Content[0]
	switch {
	case isNull(top):
		return fail(0, 0, "the file is empty, expected keys with values")
	case top.Kind != yaml.MappingNode:
		return fail(top.Line, top.Column, "found %s, expected keys with values", kindOf(top))
	}
	return &Document{name, len(data), top}, nil
}

// read returns the first two documents of data.
func read(data []byte) ([]*yaml.Node, error) {
	var docs []*yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for len(docs) < 2 {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		docs = append(docs, &doc)
	}
	return docs, nil
}

// mostSearched is the size up to which a syntax error is searched for.
const mostSearched = 1 << 20

// syntaxLine returns the line at which the parser gave up. The parser itself
// names at best the line where the surrounding mapping or list began, so the
// line is searched for: the shortest head of the file that fails alike.
func syntaxLine(data []byte, failure error) int {
	if len(data) > mostSearched {
		var line int
		if _, err := fmt.Sscanf(failure.Error(), "yaml: line %d:", &line); err != nil {
			return 1
		}
		return line
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	ends := make([]int, len(lines))
	end := 0
	for i, l := range lines {
		end += len(l)
		ends[i] = end
	}
	line := 1 + sort.Search(len(ends), func(i int) bool {
		_, err := read(data[:ends[i]])
		return err != nil && err.Error() == failure.Error()
	})
	return min(line, len(lines))
}

var (
	parserLine    = regexp.MustCompile(`^(yaml: )?(line \d+: )?`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor .* referenced$`)
)

// explain turns the parser's error into words, without what the file holds.
func explain(err error) string {
	text := parserLine.ReplaceAllString(err.Error(), "")
	switch {
	case unknownAnchor.MatchString(text):
		return "found an alias (*) to an anchor that no line above defines; put text that begins with * in quotes"
	case text == "mapping values are not allowed in this context":
		return text + "; is the line indented too far, or does text hold a colon and want quotes?"
	case strings.HasPrefix(text, "did not find expected key"), strings.HasPrefix(text, "did not find expected '-' indicator"):
		return text + "; is the line indented like those before it?"
	case text == "found incompatible YAML document":
		return "found a version of YAML that is not 1.1; take the %YAML line out"
	case strings.HasPrefix(text, "found character that cannot start any token"), strings.HasPrefix(text, "found a tab character"):
		return text + "; indent with spaces, and put text that begins with a special character in quotes"
	}
	return text
}

func invalidUTF8(data []byte) (line, column int, found bool) {
	if utf8.Valid(data) {
		return 0, 0, false
	}
	at := 0
	for at < len(data) {
		r, n := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	start := bytes.LastIndexByte(data[:at], '\n') + 1
	return 1 + bytes.Count(data[:at], []byte("\n")), 1 + utf8.RuneCount(data[start:at]), true
}

// Problem returns a problem with the value at a path of the document. Its
// place is that of the value or, where the document has none, that of the
// nearest value around it.
func (doc *Document) Problem(at instance.Path, msg string) Problem {
	n := doc.find(at)
	return Problem{doc.name, n.Line, n.Column, at, msg}
}

// find returns the node at a path, or the nearest one above it.
func (doc *Document) find(at instance.Path) *yaml.Node {
	n := doc.root
	steps, err := at.Steps()
	if err != nil {
		return n
	}
	for _, s := range steps {
		next := child(resolve(n), s)
		if next == nil {
			break
		}
		n = next
	}
	return n
}

// child returns what a step leads to, nil if there is nothing.
func child(n *yaml.Node, s instance.Step) *yaml.Node {
	if s.IsIndex {
		if n.Kind != yaml.SequenceNode || s.Index >= len(n.Content) {
			return nil
		}
		return n.Content[s.Index]
	}
	for _, m := range members(n, ignore) {
		if m.name != s.Key {
			continue
		}
		if isNull(m.value) {
			return m.key
		}
		return m.value
	}
	return nil
}
