package wire

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var paths = []struct {
	fact, raw string
	want      string // - for a path that can exist nowhere
}{
	{"", "/", ""},
	{"", "/latest/meta-data/instance-id", "latest/meta-data/instance-id"},
	{"SEC-40", "//latest//meta-data/ami-id", "latest/meta-data/ami-id"},
	{"SEC-40", "///", ""},
	{"SEC-41", "/latest/meta-data/", "latest/meta-data"},
	{"SEC-41", "/latest/meta-data///", "latest/meta-data"},
	{"SEC-42", "/%6catest/%6Deta-data", "latest/meta-data"},
	{"SEC-42", "/latest%2fmeta-data", "-"},
	{"SEC-42", "/latest%2Fmeta-data", "-"},
	{"SEC-42", "/a%5cb", "-"},
	{"SEC-42", "/a%00", "-"},
	{"SEC-42", "/%2e%2e/a", "-"},
	{"SEC-42", "/a/%2E%2e", "-"},
	{"SEC-42", "/a/.%2e/b", "-"},
	{"SEC-42", "/a/%2e/b", "-"},
	{"SEC-42", "/a%2eb", "a.b"},
	{"SEC-42", "/%252e%252e/%252f", "%2e%2e/%2f"},
	{"SEC-42", "/a%", "-"},
	{"SEC-42", "/a%2", "-"},
	{"SEC-42", "/a%2/f", "-"},
	{"SEC-42", "/a%zz", "-"},
	{"SEC-42", "/a%+1", "-"},
	{"SEC-42", "/a%u002f", "-"},
	{"SEC-43", "/.", "-"},
	{"SEC-43", "/..", "-"},
	{"SEC-43", "/a/./b", "-"},
	{"SEC-43", "/a/../b", "-"},
	{"SEC-43", "/a/..//", "-"},
	{"SEC-43", "/a/..;/b", "-"},
	{"SEC-43", "/a;x=1", "-"},
	{"SEC-43", "/a%3bx", "-"},
	{"SEC-43", `/a\b`, "-"},
	{"SEC-43", "/...", "..."},
	{"SEC-43", "/.a/..b/c.", ".a/..b/c."},
	{"SEC-47", "/a%0d%0aX:%20y", "-"},
	{"SEC-47", "/a%09", "-"},
	{"SEC-47", "/a%7f", "-"},
	{"SEC-47", "/a%1b", "-"},
	{"SEC-47", "/a%c2%85b", "-"},
	{"", "/tags/instance/a%20b+c", "tags/instance/a b+c"},
	{"", "/tags/instance/%E5%90%8D", "tags/instance/名"},
	{"", "/tags/instance/%e5%90", "-"},
	{"", "/tags/instance/%ff", "-"},
	{"", "/tags/instance/%c0%af", "-"},
	{"", "/tags/instance/%ed%a0%80", "-"},
	{"", "/a%23b%3fc", "a#b?c"},
	{"", "/a:b@c!$&'()*,=~\"<>^`{|}[]", "a:b@c!$&'()*,=~\"<>^`{|}[]"},
}

func TestPath(t *testing.T) {
	for _, tt := range paths {
		t.Run(tt.fact+" "+tt.raw, func(t *testing.T) {
			var r Request
			message := request("GET "+tt.raw+" HTTP/1.1", "Host: a")
			if n, status := r.Parse([]byte(message)); n != len(message) {
				t.Fatalf("Parse = %d, %d; want %d, 0", n, status, len(message))
			}
			want := tt.want
			if want == "-" {
				want = ""
			}
			if r.PathOK != (tt.want != "-") || string(r.Path) != want {
				t.Errorf("path %q, %v; want %q", r.Path, r.PathOK, tt.want)
			}
			if string(r.RawPath) != tt.raw {
				t.Errorf("raw path %q, want %q", r.RawPath, tt.raw)
			}
			checkPath(t, &r)
			checkAgainstStd(t, []byte(message))
		})
	}
}

// failer is what testing.TB and rapid.T have in common.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkPath asserts what is true of every canonical path.
func checkPath(t failer, r *Request) {
	t.Helper()
	p := r.Path
	if !r.PathOK {
		if len(p) > 0 {
			t.Fatalf("a path that is not OK is %q", p)
		}
		return
	}
	if len(p) > 0 {
		for _, segment := range strings.Split(string(p), "/") {
			if segment == "" || segment == "." || segment == ".." {
				t.Fatalf("path %q has the segment %q", p, segment)
			}
		}
	}
	if strings.ContainsAny(string(p), "\\;\x00\r\n\x7f") {
		t.Fatalf("path %q holds what it must not", p)
	}
	// A canonical path, escaped, is its own canonical form.
	escaped := []byte("/" + strings.ReplaceAll(url.PathEscape(string(p)), "%2F", "/"))
	again, ok := canonical(nil, escaped)
	if !ok || !bytes.Equal(again, p) {
		t.Fatalf("path %q is in canonical form %q, %v", p, again, ok)
	}
}

// However a path is spelled, its canonical form is the same.
func TestSpellings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		segment := rapid.StringMatching(`[a-zA-Z0-9 :@+%名.-]{1,8}`).Filter(func(s string) bool { return strings.Trim(s, ".") != "" })
		segments := rapid.SliceOfN(segment, 0, 6).Draw(t, "segments")
		want := strings.Join(segments, "/")
		raw := ""
		for _, s := range segments {
			raw += strings.Repeat("/", rapid.IntRange(1, 3).Draw(t, "slashes"))
			for _, c := range []byte(s) {
				if plainByte.has(c) && rapid.Bool().Draw(t, "plain") {
					raw += string(c)
					continue
				}
				digits := rapid.SampledFrom([]string{"0123456789abcdef", "0123456789ABCDEF"}).Draw(t, "digits")
				raw += "%" + string(digits[c>>4]) + string(digits[c&15])
			}
		}
		raw += strings.Repeat("/", rapid.IntRange(0, 2).Draw(t, "trailing"))
		var r Request
		r.setPath([]byte(raw))
		if !r.PathOK || string(r.Path) != want {
			t.Fatalf("path of %q is %q, %v; want %q", raw, r.Path, r.PathOK, want)
		}
		checkPath(t, &r)
	})
}
