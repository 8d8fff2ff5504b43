package policy

import (
	"errors"
	"fmt"
	"strings"
)

// template is a text of a policy: a pattern or a literal, perhaps with
// variables in it.
type template struct {
	source string
	fold   bool    // match letters in either case
	fixed  []byte  // the whole, if there are no variables
	pieces []piece // otherwise
}

// piece is a stretch of text, or a variable.
type piece struct {
	text     []byte // the stretch; of a variable, its default
	key      string // of a variable, in lower case
	fallback bool   // the variable has a default
}

// form says how a text is compiled.
type form uint8

const (
	wildcards form = 1 << iota // * and ? are wildcards
	variables                  // ${key} is a variable
	foldCase                   // letters match in either case
)

// compile makes a template. The text is valid UTF-8.
func compile(text string, f form) (template, error) {
	t := template{source: text, fold: f&foldCase != 0}
	var lit []byte
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case f&wildcards != 0 && c == '*':
			// A run of asterisks means what one means.
			if len(lit) == 0 || lit[len(lit)-1] != anyRun {
				lit = append(lit, anyRun)
			}
		case f&wildcards != 0 && c == '?':
			lit = append(lit, anyOne)
		case f&variables != 0 && strings.HasPrefix(text[i:], "${"):
			inside, err := variable(text[i+2:])
			if err != nil {
				return template{}, err
			}
			i += 2 + len(inside)
			if inside == "*" || inside == "?" || inside == "$" {
				lit = append(lit, inside[0])
				continue
			}
			p, err := parseVariable(inside)
			if err != nil {
				return template{}, err
			}
			if len(lit) > 0 {
				t.pieces = append(t.pieces, piece{text: lit})
				lit = nil
			}
			t.pieces = append(t.pieces, p)
		case t.fold:
			lit = append(lit, lower(c))
		default:
			lit = append(lit, c)
		}
	}
	if t.pieces == nil {
		t.fixed = lit
		return t, nil
	}
	if len(lit) > 0 {
		t.pieces = append(t.pieces, piece{text: lit})
	}
	return t, nil
}

// variable returns what stands between the braces of a variable, of whose
// text the start was cut off. A brace in a quoted default does not end it.
func variable(text string) (string, error) {
	quoted := false
	for i := range len(text) {
		switch {
		case text[i] == '\'':
			quoted = !quoted
		case text[i] == '}' && !quoted:
			return text[:i], nil
		}
	}
	return "", errors.New(`a variable lacks its }: write ${key} or ${key, 'default'}, and ${$} for a dollar sign`)
}

// parseVariable reads "key" or "key, 'default'".
func parseVariable(inside string) (piece, error) {
	key, def, has := strings.Cut(inside, ",")
	if err := checkKey(key); err != nil {
		return piece{}, fmt.Errorf("the variable ${%s}: %w", inside, err)
	}
	p := piece{key: strings.ToLower(key), fallback: has}
	if has {
		def = strings.TrimLeft(def, " ")
		if len(def) < 2 || def[0] != '\'' || strings.IndexByte(def[1:], '\'') != len(def)-2 {
			return piece{}, fmt.Errorf("the variable ${%s}: a default stands in single quotes: ${key, 'default'}", inside)
		}
		p.text = []byte(def[1 : len(def)-1])
	}
	return p, nil
}

// expand returns the template with the values of its variables, which are
// literal whatever they hold. It reports false if a variable has no value and
// no default. The result is good until the next call.
func (e *env) expand(t *template) ([]byte, bool) {
	if t.pieces == nil {
		return t.fixed, true
	}
	out := e.room[:0]
	for i := range t.pieces {
		p := &t.pieces[i]
		if p.key == "" {
			out = append(out, p.text...)
			continue
		}
		// A key with several values has none as a variable (POL-VAR-02).
		v := e.values(p.key)
		switch {
		case len(v) == 1 && !hasWildcardByte(v[0]):
			out = append(out, v[0]...)
		case len(v) == 0 && p.fallback:
			out = append(out, p.text...)
		default:
			return nil, false
		}
	}
	return out, true
}

// hasWildcardByte reports whether a value, which is no valid UTF-8 then, would
// be taken for a pattern.
func hasWildcardByte(s string) bool {
	return strings.IndexByte(s, anyRun) >= 0 || strings.IndexByte(s, anyOne) >= 0
}
