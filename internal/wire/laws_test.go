package wire

import (
	"bufio"
	"bytes"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// checkCuts asserts that the outcome of a message does not depend on how it
// was cut: what is decided of a prefix is decided of the whole in the same
// way, and a head is found as soon as it is there.
func checkCuts(t failer, b []byte) {
	t.Helper()
	var whole, part Request
	n, status := whole.Parse(b)
	decided := false
	for i := range len(b) + 1 {
		if len(b) > 1024 && i > 300 && i%97 != 0 && i < len(b)-300 {
			continue // all cuts of a long message would take too long
		}
		n1, status1 := part.Parse(b[:i:i])
		if n1 == 0 && status1 == 0 {
			if decided {
				t.Fatalf("undecided at %d bytes of %q although decided before", i, b)
			}
			if n > 0 && i >= n {
				t.Fatalf("undecided at %d bytes of %q, whose head has %d", i, b, n)
			}
			continue
		}
		decided = true
		if n1 != n || status1 != status {
			t.Fatalf("%d bytes of %q: %d, %d; all of it: %d, %d", i, b, n1, status1, n, status)
		}
		if n > 0 && (i < n || show(&part) != show(&whole) || len(part.Headers) != len(whole.Headers)) {
			t.Fatalf("%d bytes of %q: %s; all of it: %s", i, b, show(&part), show(&whole))
		}
	}
	if decided != (n > 0 || status != 0) {
		t.Fatalf("%q: decided in pieces: %v; at once: %d, %d", b, decided, n, status)
	}
}

// checkAgainstStd asserts that net/http reads a message in the same way if
// Parse accepts it.
func checkAgainstStd(t failer, b []byte) {
	t.Helper()
	var r Request
	n, _ := r.Parse(b)
	if n == 0 {
		return
	}
	// CONNECT has targets of its own kind; nobody here looks at them.
	uninterpreted := r.Method == Other && (!r.PathOK || bytes.HasPrefix(b, []byte("CONNECT ")))
	std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b[:n])))
	if err != nil {
		if uninterpreted || !r.PathOK { // a broken escape is answered with 404
			return
		}
		t.Fatalf("net/http refuses %q: %v", b[:n], err)
	}
	method := map[string]Method{"GET": GET, "HEAD": HEAD, "PUT": PUT}[std.Method]
	if r.Method != method || r.HTTP10 != (std.ProtoMinor == 0) || std.ProtoMajor != 1 {
		t.Fatalf("%q: method %d, 1.0 %v; net/http: %s %s", b, r.Method, r.HTTP10, std.Method, std.Proto)
	}
	if std.Close != (r.Close || r.HTTP10 && !r.KeepAlive) {
		t.Fatalf("%q: close %v, keep-alive %v; net/http: close %v", b, r.Close, r.KeepAlive, std.Close)
	}
	if int64(r.BodyLength) != min(std.ContentLength, 1<<31-1) {
		t.Fatalf("%q: body %d; net/http: %d", b, r.BodyLength, std.ContentLength)
	}
	checkHeaders(t, &r, std)
	if uninterpreted {
		return
	}
	if host := bareHost(std.Host); string(r.Host) != host {
		t.Fatalf("%q: host %q; net/http: %q", b, r.Host, host)
	}
	if r.Absolute != std.URL.IsAbs() || string(r.Query) != std.URL.RawQuery {
		t.Fatalf("%q: absolute %v, query %q; net/http: %s", b, r.Absolute, r.Query, std.URL)
	}
	if r.PathOK {
		segments := slices.DeleteFunc(strings.Split(std.URL.Path, "/"), func(s string) bool { return s == "" })
		if want := strings.Join(segments, "/"); string(r.Path) != want {
			t.Fatalf("%q: path %q; net/http: %q", b, r.Path, want)
		}
	}
}

func checkHeaders(t failer, r *Request, std *http.Request) {
	t.Helper()
	want := http.Header{}
	for _, h := range r.Headers {
		name := textproto.CanonicalMIMEHeaderKey(string(h.Name))
		want[name] = append(want[name], string(h.Value))
	}
	if hosts := want["Host"]; len(hosts) > 0 {
		if host := bareHost(hosts[0]); string(r.HostHeader) != host {
			t.Fatalf("host header %q; net/http: %q", r.HostHeader, host)
		}
	}
	// net/http moves and adds some.
	delete(want, "Host")
	if p := want["Pragma"]; len(p) > 0 && p[0] == "no-cache" && want["Cache-Control"] == nil {
		want["Cache-Control"] = []string{"no-cache"}
	}
	if !maps.EqualFunc(want, std.Header, slices.Equal) {
		t.Fatalf("headers %q; net/http: %q", want, std.Header)
	}
}

// bareHost is a host without port and brackets, in lower case.
func bareHost(s string) string {
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		s = s[:i]
	}
	return strings.ToLower(strings.Trim(s, "[]"))
}

// checkTake asserts what is true of every message that is taken.
func checkTake(t failer, b []byte) {
	t.Helper()
	var x Exchange
	n, missing := x.take(b)
	r := &x.Request
	switch {
	case n < 0 || n > len(b) || n > maxMessage:
		t.Fatalf("%q: %d bytes taken of %d", b, n, len(b))
	case missing != nothing && (n != 0 || x.Malformed != 0 || len(b) >= maxMessage):
		t.Fatalf("%q: %d bytes taken, status %d, and part %d missing", b, n, x.Malformed, missing)
	case missing == nothing && (n == 0) != (x.Malformed != 0):
		t.Fatalf("%q: %d bytes taken with status %d", b, n, x.Malformed)
	case n > 0 && r.BodyLength > 0 && r.Method != PUT && r.Method != Other:
		t.Fatalf("%q: a body that is read over", b)
	case x.unread && !r.Close:
		t.Fatalf("%q: kept in spite of an unread body", b)
	case len(r.Headers) > MaxHeaders:
		t.Fatalf("%q: %d headers", b, len(r.Headers))
	}
}

func checkAll(t failer, b []byte) {
	t.Helper()
	checkCuts(t, b)
	checkAgainstStd(t, b)
	checkTake(t, b)
	var r Request
	r.Parse(b)
	checkPath(t, &r)
}

func FuzzParse(f *testing.F) {
	for _, tt := range malformed {
		f.Add([]byte(tt.message))
	}
	for _, tt := range wellFormed {
		f.Add([]byte(tt.message))
	}
	for _, tt := range paths {
		f.Add([]byte(request("GET " + tt.raw + " HTTP/1.1")))
	}
	for _, s := range literals {
		f.Add([]byte(get("Host: [" + s + "]")))
	}
	f.Add([]byte(put("Content-Length: 5") + "hello" + get()))
	f.Fuzz(func(t *testing.T, b []byte) { checkAll(t, b) })
}

// Messages put together from telling parts, which random bytes rarely are.
func TestLaws(t *testing.T) {
	pick := func(s ...string) *rapid.Generator[string] { return rapid.SampledFrom(s) }
	method := pick("GET", "HEAD", "PUT", "POST", "get", "PRI", "OPTIONS", "CONNECT", "G T", "")
	target := rapid.OneOf(
		pick("*", "a:80", "http://", "http://a", "HTTP://A:80/b?c", "http://[::1]/", "http://u@a/", "https://a/", "//", "/?", "/#"),
		rapid.StringMatching(`/([a-z.;%\\/]|%2[eEfF5]|%[0-9a-f]{2}|\?){0,20}`),
	)
	proto := pick("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.2", "http/1.1", "")
	end := pick("\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n ")
	line := rapid.OneOf(
		pick("Host: a", "Host: a", "Host: a", "host: [::1]:80", "Host: a,b", "Content-Length: 5", "content-length: 0", "Content-Length: +5",
			"Transfer-Encoding: chunked", "Connection: close", "Connection: keep-alive, TE", "Expect: 100-continue",
			"Pragma: no-cache", "Trailer: X", "X : y", " X: y"),
		rapid.StringMatching(`[!-~]{1,10}:[ -~\t]{0,20}`),
	)
	rapid.Check(t, func(t *rapid.T) {
		b := method.Draw(t, "method") + " " + target.Draw(t, "target") + " " + proto.Draw(t, "proto") + end.Draw(t, "end")
		for _, l := range rapid.SliceOfN(line, 0, 5).Draw(t, "lines") {
			b += l + end.Draw(t, "end")
		}
		checkAll(t, []byte(b+"\r\n"+"hello"+get()))
	})
}
