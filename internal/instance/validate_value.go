package instance

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// quote shows a value in a message: escaped, and no longer than a line bears.
func quote(s string) string {
	const most = 64
	if len(s) <= most {
		return strconv.Quote(s)
	}
	return strconv.Quote(strings.ToValidUTF8(s[:most], "")) + "…"
}

// show is quote for identifiers, which go without quotes when they are harmless.
func show(s string) string {
	if isWord(s) {
		return s
	}
	return quote(s)
}

// required refuses an empty value.
func (c *checker) required(at Path, value string) bool {
	if value == "" {
		c.addf(at, "is required")
	}
	return value != ""
}

// id checks a required word.
func (c *checker) id(at Path, value string) bool {
	return c.required(at, value) && c.word(at, value)
}

// word checks an identifier, which is empty or harmless anywhere: in a path,
// in a listing, in JSON and in a log.
func (c *checker) word(at Path, value string) bool {
	if value == "" || isWord(value) {
		return true
	}
	c.addf(at, "found %s, expected letters, digits and - _ . : + = , @ only, at most 255 of them", quote(value))
	return false
}

func isWord(s string) bool {
	return s != "" && len(s) <= 255 && s != "." && s != ".." && allOf(s, "-_.:+=,@")
}

func (c *checker) words(at Path, list []string) {
	for i, w := range list {
		c.id(at.Index(i), w)
	}
	unique(c, at, list)
}

// key checks the key of a map whose keys become segments of paths.
func (c *checker) key(at Path, key string) {
	if !isWord(key) {
		c.addf(at.Key(key), "found the key %s, expected letters, digits and - _ . : + = , @ only", quote(key))
	}
}

// oneOf checks a value that is empty or one of a few.
func (c *checker) oneOf(at Path, value string, allowed []string) {
	if value != "" && !slices.Contains(allowed, value) {
		last := len(allowed) - 1
		c.addf(at, "found %s, expected %s or %s", quote(value), strings.Join(allowed[:last], ", "), allowed[last])
	}
}

// text checks a value that people write and that stands on one line.
func (c *checker) text(at Path, value string, most int) bool {
	switch {
	case !OneLine(value):
		c.addf(at, "found %s, expected one line of UTF-8 text without control characters", quote(value))
	case utf8.RuneCountInString(value) > most:
		c.addf(at, "found %d characters, expected at most %d", utf8.RuneCountInString(value), most)
	default:
		return true
	}
	return false
}

// OneLine reports whether text is UTF-8 that stands on one line of an answer:
// without line ends and other control characters.
func OneLine(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
	})
}

// secret checks a value that no message may show.
func (c *checker) secret(at Path, value string) {
	if value == "" {
		c.addf(at, "is required")
		return
	}
	for i := range len(value) {
		if value[i] <= ' ' || value[i] > '~' {
			c.addf(at, "found a character that is a space, a control character or not ASCII (character %d of %d)", i+1, len(value))
			return
		}
	}
}

func (c *checker) hostname(at Path, name string) {
	if name != "" && !isHostname(name) {
		c.addf(at, "found %s, expected a host name: letters, digits and - in labels of at most 63, separated by dots", quote(name))
	}
}

func isHostname(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || !allOf(label, "-") ||
			strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
	}
	return true
}

// server checks a host name or address.
func (c *checker) server(at Path, name string) {
	if _, err := netip.ParseAddr(name); err != nil && !isHostname(name) {
		c.addf(at, "found %s, expected a host name or an address", quote(name))
	}
}

func (c *checker) webAddress(at Path, text string) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	if err != nil || !OneLine(text) || strings.Contains(text, " ") ||
		u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		// The text is not shown: URLs may hold passwords.
		c.addf(at, "found something else, expected an http or https URL such as http://mirror.example.com")
	}
}

func (c *checker) count(at Path, n int) {
	if n < 0 {
		c.addf(at, "found %d, expected 0 or more", n)
	}
}

// year refuses times that the wire formats cannot hold.
func (c *checker) year(at Path, t time.Time) {
	if !t.IsZero() && (t.UTC().Year() < 1970 || t.UTC().Year() > 9999) {
		c.addf(at, "found the year %d, expected one from 1970 to 9999", t.UTC().Year())
	}
}

func (c *checker) requiredTime(at Path, t time.Time) {
	if t.IsZero() {
		c.addf(at, "is required: a time such as 2026-01-15T08:00:00Z")
	}
	c.year(at, t)
}

// unique refuses a value that stands in a list twice.
func unique[T comparable](c *checker, at Path, list []T) {
	seen := make(map[T]bool, len(list))
	for i, v := range list {
		if seen[v] {
			c.addf(at.Index(i), "%s stands in the list twice", show(fmt.Sprint(v)))
		}
		seen[v] = true
	}
}

// uniqueBy refuses two elements of a list that have one value at key.
func uniqueBy[T any](c *checker, at Path, list []T, key string, value func(T) string) {
	first := make(map[string]int, len(list))
	for i := range list {
		v := value(list[i])
		if v == "" {
			continue
		}
		if j, twice := first[v]; twice {
			c.addf(at.Index(i).Key(key), "%s is that of %s too", show(v), at.Index(j))
			continue
		}
		first[v] = i
	}
}
