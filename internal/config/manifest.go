package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Manifest is one document of a file of resources.
type Manifest struct {
	// Line of the file on which it begins, from 1.
	Line int
	// Kind it says it is of.
	Kind string
	// JSON is the document as a JSON object, its kind included. Bytes (!!binary) are DataURL and base64.
	JSON json.RawMessage
}

// MaxManifests is how many documents a file may have.
const MaxManifests = 10_000

// ReadManifests reads a file of YAML documents, or of JSON, which is YAML too.
// Each has a key kind, or is a list of such, {"items": […]}. Aliases may be used within a document. The name stands
// in problems. The error is Problems.
func ReadManifests(name string, data []byte) ([]Manifest, error) {
	fail := func(line, column int, format string, args ...any) ([]Manifest, error) {
		return nil, Problems{{File: name, Line: line, Column: column, Msg: fmt.Sprintf(format, args...)}}
	}
	if len(data) > MaxSize {
		return fail(0, 0, "the file has %d bytes, expected at most %d", len(data), MaxSize)
	}
	if line, column, bad := invalidUTF8(data); bad {
		return fail(line, column, "found a byte that is not UTF-8, expected a text file in UTF-8")
	}
	var all []Manifest
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		switch {
		case errors.Is(err, io.EOF) && len(all) == 0:
			return fail(0, 0, "the file has no documents, expected keys with values, kind among them")
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return fail(syntaxLine(data, err), 1, "not YAML: %s", explain(err))
		}
		for _, top := range listed(doc.Content[0]) {
			switch {
			case isNull(top):
				continue // nothing between two lines of ---
			case len(all) == MaxManifests:
				return fail(top.Line, top.Column, "found more than %d documents", MaxManifests)
			case top.Kind != yaml.MappingNode:
				return fail(top.Line, top.Column, "found %s, expected keys with values, kind among them", kindOf(top))
			}
			m, problems := manifest(name, top, len(data))
			if len(problems) > 0 {
				return nil, problems.err()
			}
			all = append(all, m)
		}
	}
}

// listed are the documents of a list, {"items": […]}, as the commands write in
// JSON, and else the document itself. A list has no aliases: what they grow to
// is bounded for a document.
func listed(doc *yaml.Node) []*yaml.Node {
	if doc.Kind == yaml.MappingNode && len(doc.Content) == 2 && doc.Content[0].Value == "items" && doc.Content[1].Kind == yaml.SequenceNode && !aliased(doc) {
		return doc.Content[1].Content
	}
	return []*yaml.Node{doc}
}

func aliased(n *yaml.Node) bool {
	return n.Kind == yaml.AliasNode || slices.ContainsFunc(n.Content, aliased)
}

func manifest(name string, top *yaml.Node, size int) (Manifest, Problems) {
	w := &jsonWriter{decoder: decoder{file: name, budget: size*growth + growthFree, open: map[*yaml.Node]bool{}}}
	w.node(top)
	m := Manifest{Line: top.Line, JSON: w.out.Bytes()}
	for _, member := range members(top, ignore) {
		if member.name == "kind" {
			m.Kind = resolve(member.value).Value
		}
	}
	if m.Kind == "" {
		w.addf(top, "", "the document has no kind: add one, such as kind: instances")
	}
	return m, w.problems
}

// jsonWriter writes YAML as JSON. Its decoder bounds what aliases grow to and
// collects problems.
type jsonWriter struct {
	decoder
	out bytes.Buffer
}

func (w *jsonWriter) node(n *yaml.Node) {
	if !w.spend(n, "", len(n.Value)) {
		return
	}
	if n.Kind == yaml.AliasNode {
		if w.open[n.Alias] {
			w.addf(n, "", "the alias *%s stands within its own anchor", n.Value)
			return
		}
		w.open[n.Alias] = true
		defer delete(w.open, n.Alias)
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		w.out.WriteByte('{')
		for i, m := range w.members(n, "") {
			if i > 0 {
				w.out.WriteByte(',')
			}
			w.text(m.name)
			w.out.WriteByte(':')
			w.node(m.value)
		}
		w.out.WriteByte('}')
	case yaml.SequenceNode:
		w.out.WriteByte('[')
		for i, c := range n.Content {
			if i > 0 {
				w.out.WriteByte(',')
			}
			w.node(c)
		}
		w.out.WriteByte(']')
	default:
		w.leaf(n)
	}
}

// leaf writes a scalar: numbers and the two truths if they are in JSON's form,
// and what is written in any other form as the text that it is.
func (w *jsonWriter) leaf(n *yaml.Node) {
	switch {
	case n.Tag == "!!binary":
		w.text(DataURL + strings.Join(strings.Fields(n.Value), ""))
	case !plainTag(n.Tag):
		w.tagged(n, "", "a value")
	case n.Tag == "!!null":
		w.out.WriteString("null")
	case n.Tag == "!!bool" && (strings.EqualFold(n.Value, "true") || strings.EqualFold(n.Value, "false")):
		w.out.WriteString(strings.ToLower(n.Value))
	case n.Tag == "!!int" && jsonInteger(n.Value):
		w.out.WriteString(n.Value)
	default:
		w.text(n.Value)
	}
}

// jsonInteger reports whether a number means the same in YAML and in JSON. An
// account id is one, and is taken as it is written where text is expected.
func jsonInteger(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	return digits != "" && strings.Trim(digits, "0123456789") == "" && (digits[0] != '0' || len(digits) == 1)
}

func (w *jsonWriter) text(s string) {
	data, err := json.Marshal(s)
	if err != nil {
		panic("config: a text cannot be encoded: " + err.Error()) // every text can
	}
	w.out.Write(data)
}

// YAML writes a JSON text as YAML, its members in their order, and texts of
// several lines as blocks.
func YAML(data []byte) (string, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	n, err := yamlNode(dec)
	if err != nil {
		return "", fmt.Errorf("write as YAML: %w", err)
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(n); err != nil {
		return "", fmt.Errorf("write as YAML: %w", err)
	}
	return out.String(), enc.Close()
}

func yamlNode(dec *json.Decoder) (*yaml.Node, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		if t == '{' {
			n.Kind, n.Tag = yaml.MappingNode, "!!map"
		}
		// Members come as key and value, both of which are nodes.
		for dec.More() {
			c, err := yamlNode(dec)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, c)
		}
		if len(n.Content) == 0 {
			n.Style = yaml.FlowStyle
		}
		_, err := dec.Token()
		return n, err
	case string:
		if encoded, ok := strings.CutPrefix(t, DataURL); ok {
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!binary", Value: encoded}, nil
		}
		n := &yaml.Node{}
		n.SetString(t)
		return n, nil
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: t.String()}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(t)}, nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
}
