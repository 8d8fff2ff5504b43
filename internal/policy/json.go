package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// node is a JSON value with its place in the document.
type node struct {
	shape   shape
	at      int    // where it starts, in bytes
	text    string // of a string; of numbers and booleans, as written
	members []member
	items   []node
}

type member struct {
	name  string
	at    int
	value node
}

type shape uint8

const (
	shapeNull shape = iota
	shapeBool
	shapeNumber
	shapeString
	shapeList
	shapeObject
)

func (s shape) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "a list", "an object"}[s]
}

// mostDepth is how deep values may lie in each other; a policy needs six.
const mostDepth = 10

// decoder reads a document into nodes. It is stricter than encoding/json:
// nothing may be given twice, and text must be valid UTF-8.
type decoder struct {
	data []byte
	json *json.Decoder
}

// syntaxError is an error with its place.
type syntaxError struct {
	at  int
	msg string
}

func (e *syntaxError) Error() string { return e.msg }

// decode reads a whole document.
func decode(data []byte) (node, error) {
	if !utf8.Valid(data) {
		at := 0
		for rest := data; len(rest) > 0; {
			r, width := utf8.DecodeRune(rest)
			if r == utf8.RuneError && width == 1 {
				break
			}
			at, rest = at+width, rest[width:]
		}
		return node{}, &syntaxError{at, "is not valid UTF-8"}
	}
	// The syntax first and as a whole: the places that package json gives of
	// mistakes met token by token are not to be relied on.
	if err := json.Unmarshal(data, new(json.RawMessage)); err != nil {
		at := len(data)
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) && int(syntax.Offset) <= len(data) && !strings.HasPrefix(syntax.Error(), "unexpected end") {
			at = int(syntax.Offset) - 1
		}
		return node{}, &syntaxError{at, "is not JSON: " + err.Error()}
	}
	d := decoder{data: data, json: json.NewDecoder(bytes.NewReader(data))}
	d.json.UseNumber()
	return d.value(0)
}

// next returns where the next token starts.
func (d *decoder) next() int {
	at := int(d.json.InputOffset())
	for at < len(d.data) && strings.IndexByte(" \t\r\n,:", d.data[at]) >= 0 {
		at++
	}
	return at
}

func (d *decoder) value(depth int) (node, error) {
	n := node{at: d.next()}
	token, err := d.json.Token()
	if err != nil {
		return n, err
	}
	switch t := token.(type) {
	case nil:
		return n, nil
	case bool:
		n.shape, n.text = shapeBool, fmt.Sprint(t)
		return n, nil
	case json.Number:
		n.shape, n.text = shapeNumber, t.String()
		return n, nil
	case string:
		n.shape, n.text = shapeString, t
		return n, d.whole(n)
	}
	if depth == mostDepth {
		return n, &syntaxError{n.at, "lies too deep: no policy has so many levels"}
	}
	if token == json.Delim('[') {
		n.shape = shapeList
		for d.json.More() {
			item, err := d.value(depth + 1)
			if err != nil {
				return n, err
			}
			n.items = append(n.items, item)
		}
	} else {
		n.shape = shapeObject
		seen := map[string]bool{}
		for d.json.More() {
			name, err := d.value(depth + 1)
			if err != nil {
				return n, err
			}
			if seen[name.text] {
				return n, &syntaxError{name.at, quote(name.text) + " is given twice in one object"}
			}
			seen[name.text] = true
			v, err := d.value(depth + 1)
			if err != nil {
				return n, err
			}
			n.members = append(n.members, member{name.text, name.at, v})
		}
	}
	_, err = d.json.Token() // the closing bracket
	return n, err
}

// whole refuses a string with half of a surrogate pair, which encoding/json
// would replace silently.
func (d *decoder) whole(n node) error {
	if !strings.ContainsRune(n.text, utf8.RuneError) {
		return nil
	}
	raw := string(d.data[n.at:d.json.InputOffset()])
	meant := strings.Count(raw, "\ufffd") + strings.Count(strings.ToLower(raw), `\ufffd`)
	if strings.Count(n.text, "\ufffd") > meant {
		return &syntaxError{n.at, "has half of a surrogate pair"}
	}
	return nil
}

// member returns the value of a member, nil if there is none.
func (n *node) member(name string) *node {
	for i := range n.members {
		if n.members[i].name == name {
			return &n.members[i].value
		}
	}
	return nil
}
