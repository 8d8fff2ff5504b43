// Package redact makes strangers' text fit for a log: what may be a secret is
// taken out, and what would move a cursor or begin a new line is written as an
// escape.
package redact

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Redacted stands where something was taken out.
const Redacted = "[redacted]"

var (
	// A header that carries a secret: everything after it goes, as quoting
	// differs from program to program.
	header = regexp.MustCompile(`(?i)(x-(?:aws-ec2|aliyun-ecs)-metadata-token|\b(?:proxy-)?authorization\b|\bx-amz-security-token|\bcookie)(["']?\s*[:=,].*)$`)
	// The name of a setting whose value is a secret.
	name = `[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)[\w.-]*`
	// name=value, "name": "value", name: value.
	setting = regexp.MustCompile(`(?i)(` + name + `)(["']?\s*[=:]\s*)("[^"]*"?|'[^']*'?|[^\s"'&,;]+)`)
	// --name, whose value is the next word.
	option = regexp.MustCompile(`(?i)^--?` + name + `$`)
	// user:password@ in a URL.
	userinfo = regexp.MustCompile(`(://[^/\s:@]*:)[^/\s@]+@`)
	// Words that can be keys or tokens.
	word = regexp.MustCompile(`[A-Za-z0-9_+=-]{32,}`)
	// Session tokens of EC2's form: Base64 of 01 00.
	token = regexp.MustCompile(`AQ[AB][A-Za-z0-9_+/=-]{40,}`)
)

// Args joins a command line, without what may be secret in it, to at most
// limit bytes.
func Args(args []string, limit int) string {
	var b strings.Builder
	secret := false // the word is the value of the option before it
	for i, a := range args {
		if i > 0 {
			b.WriteByte(' ')
		}
		switch {
		case secret && !strings.HasPrefix(a, "-"):
			b.WriteString(Redacted)
			secret = false
		default:
			b.WriteString(argument(a))
			secret = option.MatchString(a) && !strings.Contains(strings.ToLower(a), "ttl") || headerAlone(a)
		}
		if b.Len() > limit {
			break
		}
	}
	return Cut(b.String(), limit)
}

// headerAlone: an unquoted header whose value is the next word.
func headerAlone(a string) bool {
	m := header.FindStringSubmatch(a)
	return m != nil && strings.Trim(m[2], `"': =,`) == ""
}

func argument(a string) string {
	a = token.ReplaceAllString(a, Redacted)
	// A header's value cannot span the lines of a script.
	if header.MatchString(a) || strings.Contains(a, "\n") {
		lines := strings.Split(a, "\n")
		for i, l := range lines {
			lines[i] = header.ReplaceAllString(l, "${1}: "+Redacted)
		}
		a = strings.Join(lines, "\n")
	}
	a = setting.ReplaceAllStringFunc(a, func(s string) string {
		m := setting.FindStringSubmatch(s)
		if strings.Contains(strings.ToLower(m[1]), "ttl") || strings.HasPrefix(m[3], "//") || strings.HasPrefix(m[3], Redacted[:1]) {
			return s
		}
		return m[1] + m[2] + Redacted
	})
	a = userinfo.ReplaceAllString(a, "${1}"+Redacted+"@")
	return word.ReplaceAllStringFunc(a, func(s string) string {
		if random(s) {
			return Redacted
		}
		return s
	})
}

// random: upper case, lower case and digits, all in one word.
func random(s string) bool {
	var upper, lower, digit int
	for _, c := range s {
		switch {
		case c >= 'A' && c <= 'Z':
			upper++
		case c >= 'a' && c <= 'z':
			lower++
		case c >= '0' && c <= '9':
			digit++
		}
	}
	return upper > 2 && lower > 2 && digit > 2
}

// Text takes session tokens out of a text in which they do not belong, such as
// a path.
func Text(s string) string { return token.ReplaceAllString(s, Redacted) }

// Escape returns s on one line: what is not printable, and the backslash, are
// written as in Go.
func Escape(s string) string {
	clean := true
	for i := 0; i < len(s) && clean; i++ {
		clean = s[i] >= ' ' && s[i] < 0x7f && s[i] != '\\'
	}
	if clean {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case r == '\\':
			b.WriteString(`\\`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case unicode.IsPrint(r):
			b.WriteString(s[:n])
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		s = s[n:]
	}
	return b.String()
}

// Cut returns at most limit bytes of s, with an ellipsis if that is not all,
// and no half character.
func Cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	s = s[:max(0, limit-3)]
	for range utf8.UTFMax - 1 {
		if r, n := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || n != 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s + "..."
}
