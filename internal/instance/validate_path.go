package instance

import (
	"fmt"
	"strconv"
	"strings"
)

// Path is the place of a value, in the keys of the instances file:
// instances[0].interfaces[1].mac, tags["k8s.io/role"]. The empty path is the
// whole.
type Path string

// Key returns the path of the value at key. A key that is not a plain word is
// put in brackets and quotes.
func (p Path) Key(key string) Path {
	switch {
	case !plainWord(key):
		return p + Path("["+strconv.Quote(key)+"]")
	case p == "":
		return Path(key)
	default:
		return p + "." + Path(key)
	}
}

// Index returns the path of the i-th value, from 0.
func (p Path) Index(i int) Path {
	return p + Path("["+strconv.Itoa(i)+"]")
}

// Step is one step of a path: a key or, if IsIndex is set, an index.
type Step struct {
	Key     string
	Index   int
	IsIndex bool
}

// Steps takes the path apart. It returns an error for a text that Key and
// Index do not make.
func (p Path) Steps() ([]Step, error) {
	var steps []Step
	rest := string(p)
	for rest != "" {
		var s Step
		var err error
		if s, rest, err = nextStep(rest, len(steps) == 0); err != nil {
			return nil, fmt.Errorf("read path %q: %w", string(p), err)
		}
		steps = append(steps, s)
	}
	return steps, nil
}

func nextStep(text string, first bool) (s Step, rest string, err error) {
	if text[0] != '[' {
		if !first {
			if text[0] != '.' {
				return s, "", fmt.Errorf("found %q, expected a dot or a bracket", text[0])
			}
			text = text[1:]
		}
		end := strings.IndexAny(text, ".[")
		if end < 0 {
			end = len(text)
		}
		if !plainWord(text[:end]) {
			return s, "", fmt.Errorf("%q is not a plain key", text[:end])
		}
		return Step{Key: text[:end]}, text[end:], nil
	}
	text = text[1:]
	if quoted, err := strconv.QuotedPrefix(text); err == nil {
		rest, ok := strings.CutPrefix(text[len(quoted):], "]")
		if !ok {
			return s, "", fmt.Errorf("a bracket is not closed")
		}
		key, err := strconv.Unquote(quoted)
		return Step{Key: key}, rest, err
	}
	digits, rest, ok := strings.Cut(text, "]")
	i, err := strconv.Atoi(digits)
	if !ok || err != nil || i < 0 {
		return s, "", fmt.Errorf("found %q in brackets, expected an index or a quoted key", digits)
	}
	return Step{Index: i, IsIndex: true}, rest, nil
}

// plainWord reports whether s is made of letters, digits, - and _ alone.
func plainWord(s string) bool {
	return s != "" && allOf(s, "-_")
}

// allOf reports whether s is made of ASCII letters, digits and the characters
// of extra alone.
func allOf(s, extra string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && strings.IndexByte(extra, c) < 0 {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
