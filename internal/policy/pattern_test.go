package policy

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func glob(t testing.TB, pattern string, f form) []byte {
	t.Helper()
	c, err := compile(pattern, f|wildcards)
	if err != nil {
		t.Fatal(err)
	}
	return c.fixed
}

// POL-DOC-09: an asterisk is any run of characters, a question mark one.
func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "a:b/c", true},
		{"a", "a", true}, {"a", "A", false}, {"a", "ab", false}, {"?", "", false}, {"?", "é", true}, {"??", "é", false},
		{"*??", "€", false}, {"*??c*", "€cx", false}, {"*??c*", "€dcx", true}, {"*?", "€", true}, {"a*c", "abbc", true}, {"a*c", "abbcd", false}, {"*b*", "abc", true},
		{"a**?", "a", false}, {"a**?", "ab", true}, {"*ab", "aab", true}, {"*a*b*c", "xaybzc", true}, {"*a*b*c", "xaybz", false},
		{"i-?23*", "i-1234", true}, {"arn:aws:ec2:*:*:instance/*", instanceARN, true}, {"arn:aws:ec2:*:instance/*", instanceARN, true},
		{"arn:aws:ec2:*:*:volume/*", instanceARN, false},
	} {
		if got := match(glob(t, c.pattern, 0), c.text, false); got != c.want {
			t.Errorf("%q covers %q: %v, want %v", c.pattern, c.text, got, c.want)
		}
	}
}

const instanceARN = "arn:aws:ec2:us-east-1:123456789012:instance/i-0123456789abcdef0"

// POL-DOC-06: the case of an action's name does not count.
func TestMatchFold(t *testing.T) {
	for text, want := range map[string]bool{
		"ec2:RunInstances": true, "EC2:RUNINSTANCES": true, "ec2:runinstances": true, "ec2:RunInstance": false, "ecs:RunInstances": false,
	} {
		if got := match(glob(t, "ec2:Run*S", foldCase), text, true); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// POL-COND-14: a wildcard does not reach over a colon.
func TestMatchARN(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"arn:aws:iam::*:role/admins", "arn:aws:iam::123456789012:role/admins", true},
		{"arn:aws:iam::*:role/admins", "arn:aws:iam:us-east-1:123456789012:role/admins", false},
		{"arn:aws:iam:*:role/admins", "arn:aws:iam::123456789012:role/admins", false},
		{"arn:aws:iam::*:role/*", "arn:aws:iam::1:role/a:b", true},
		{"arn:aws:iam::*:role/a", "arn:aws:iam::1:user/x:role/a", false},
		{"arn:aws:iam::*:role/a", "arn:aws:iam:1", false},
		{"arn:aws:iam::?:role/a", "arn:aws:iam::12:role/a", false},
		{"arn:*:*:*:*:*", "arn:aws:iam::1:role/a", true},
		{"arn:*:*:*:*:*", "role/a", false},
		{"*", "role/a", true},
		{"arn:aws:iam::1:role/a", "ARN:aws:iam::1:role/a", false},
	} {
		if got := matchARN(glob(t, c.pattern, 0), c.text); got != c.want {
			t.Errorf("%q covers %q: %v, want %v", c.pattern, c.text, got, c.want)
		}
	}
}

// oracle is what package regexp says.
func oracle(pattern, text string) bool {
	var b strings.Builder
	for _, c := range pattern {
		switch c {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	return regexp.MustCompile(`(?s)\A(?:` + b.String() + `)\z`).MatchString(text)
}

func TestMatchEqualsRegexp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		pattern := rapid.StringOfN(rapid.SampledFrom([]rune("ab:é€*?")), 0, 12, -1).Draw(rt, "pattern")
		text := rapid.StringOfN(rapid.SampledFrom([]rune("ab:é€*?")), 0, 16, -1).Draw(rt, "text")
		if got, want := match(glob(t, pattern, 0), text, false), oracle(pattern, text); got != want {
			rt.Fatalf("%q covers %q: %v, want %v", pattern, text, got, want)
		}
	})
}

func FuzzMatch(f *testing.F) {
	f.Add("a*b?c", "aXXbYc")
	f.Add("*??c*", "€cx")
	f.Add("**", "\n")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(text) || len(pattern)+len(text) > 1<<10 {
			t.Skip()
		}
		if got, want := match(glob(t, pattern, 0), text, false), oracle(pattern, text); got != want {
			t.Errorf("%q covers %q: %v, want %v", pattern, text, got, want)
		}
	})
}

// POL-DOC-11: a pattern made to blow up does not. A matcher that tries every
// asterisk would not end while anybody waits.
func TestMatchEnds(t *testing.T) {
	pattern := glob(t, strings.Repeat("a*", maxText/2), 0)
	if match(pattern, strings.Repeat("a", 64<<10)+"b", false) != true {
		t.Error("the last asterisk covers the b")
	}
	if match(append(pattern, 'c'), strings.Repeat("a", 64<<10)+"b", false) {
		t.Error("there is no c")
	}
}

// POL-VAR-07: a value of a variable is never a pattern.
func TestVariableIsNoPattern(t *testing.T) {
	c, err := compile("x${aws:username}y", wildcards|variables)
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]bool{"abc": false, "*": false, "\xff": false, "\xfe": false, "": false} {
		e := env{shared: Context{"aws:username": {value}}}
		p, ok := e.expand(&c)
		if got := ok && match(p, "xQQQy", false); got != want {
			t.Errorf("%q as a value covers: %v, want %v", value, got, want)
		}
		if literal := "x" + value + "y"; utf8.ValidString(value) && !match(p, literal, false) {
			t.Errorf("%q does not cover itself", literal)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	p := glob(b, "arn:aws:ec2:*:*:instance/*", 0)
	b.ReportAllocs()
	for b.Loop() {
		match(p, instanceARN, false)
	}
}
