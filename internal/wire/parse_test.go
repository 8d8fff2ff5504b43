package wire

import (
	"fmt"
	"strings"
	"testing"
)

// request builds a message: a request line and header lines, to which a Host
// is added where none is given.
func request(line string, headers ...string) string {
	all := strings.Join(headers, "\r\n")
	if !strings.Contains(strings.ToLower(all), "host") {
		headers = append([]string{"Host: 169.254.169.254"}, headers...)
	}
	return line + "\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
}

func get(headers ...string) string { return request("GET /latest/meta-data/ HTTP/1.1", headers...) }
func put(headers ...string) string { return request("PUT /latest/api/token HTTP/1.1", headers...) }

// fill returns n header lines of 100 bytes each.
func fill(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf("X-%03d: %s", i, strings.Repeat("x", 91))
	}
	return lines
}

// block returns a request whose header block, the empty line included, has
// size bytes.
func block(size int) string {
	line := "GET / HTTP/1.1\r\n"
	bare := len(request("GET / HTTP/1.1", "X: ")) - len(line)
	return request("GET / HTTP/1.1", "X: "+strings.Repeat("x", size-bare))
}

// malformed are messages and the status they deserve.
var malformed = []struct {
	name, message string
	status        int
}{
	{"SEC-06 space before the colon", get("X-A : b"), 400},
	{"SEC-06 tab before the colon", get("X-A\t: b"), 400},
	{"SEC-13 body over 4 KiB", put("Content-Length: 4097"), 413},
	{"SEC-13 body of eighteen digits", put("Content-Length: 999999999999999999"), 413},
	{"SEC-20 length and coding", put("Content-Length: 5", "Transfer-Encoding: chunked"), 400},
	{"SEC-20 coding and length", put("Transfer-Encoding: chunked", "Content-Length: 5"), 400},
	{"SEC-20 length of 0 and coding", put("Content-Length: 0", "transfer-encoding: chunked"), 400},
	{"SEC-20 coding and length, other method", request("POST / HTTP/1.1", "Transfer-Encoding: chunked", "Content-Length: 5"), 400},
	{"SEC-21 chunked", put("Transfer-Encoding: chunked"), 501},
	{"SEC-21 unknown coding", put("Transfer-Encoding: xchunked"), 501},
	{"SEC-21 two codings", put("Transfer-Encoding: chunked, identity"), 501},
	{"SEC-21 identity", put("Transfer-Encoding: identity"), 501},
	{"SEC-21 empty coding", put("Transfer-Encoding:"), 501},
	{"SEC-21 coding in HTTP/1.0", request("PUT / HTTP/1.0", "Transfer-Encoding: chunked"), 501},
	{"SEC-21 coding of another method", request("POST / HTTP/1.1", "Transfer-Encoding: chunked"), 501},
	{"SEC-22 two lengths", put("Content-Length: 5", "Content-Length: 5"), 400},
	{"SEC-22 list of lengths", put("Content-Length: 5, 5"), 400},
	{"SEC-22 negative length", put("Content-Length: -1"), 400},
	{"SEC-22 length with a sign", put("Content-Length: +5"), 400},
	{"SEC-22 hexadecimal length", put("Content-Length: 0x5"), 400},
	{"SEC-22 length with a fraction", put("Content-Length: 5.0"), 400},
	{"SEC-22 no length", put("Content-Length:"), 400},
	{"SEC-22 length in two words", put("Content-Length: 5 5"), 400},
	{"SEC-22 length of nineteen digits", put("Content-Length: 0000000000000000005"), 400},
	{"SEC-22 length over 64 bits", put("Content-Length: 18446744073709551621"), 400},
	{"SEC-22 full-width digit", put("Content-Length: \uff15"), 400},
	{"SEC-23 GET with a length", get("Content-Length: 1"), 400},
	{"SEC-23 GET with a large length", get("Content-Length: 100000"), 400},
	{"SEC-23 HEAD with a length", request("HEAD / HTTP/1.1", "Content-Length: 1"), 400},
	{"SEC-23 GET with a coding", get("Transfer-Encoding: chunked"), 400},
	{"SEC-24 folded line", get("X-A: b\r\n c"), 400},
	{"SEC-24 folded line with a tab", get("X-A: b\r\n\tc"), 400},
	{"SEC-24 folded first line", "GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n", 400},
	{"SEC-24 bare LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
	{"SEC-24 bare LF behind a header", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400},
	{"SEC-24 bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
	{"SEC-24 bare CR in a header", get("X-A: b\rc"), 400},
	{"SEC-24 bare CR at the end", "GET / HTTP/1.1\r\nHost: a\r\n\rx", 400},
	{"SEC-24 NUL in a header", get("X-A: b\x00c"), 400},
	{"SEC-24 NUL far behind in a header", get("X-A: 0123456789abcdef\x00"), 400},
	{"SEC-24 NUL in the target", request("GET /\x00 HTTP/1.1"), 400},
	{"SEC-24 escape in a header", get("X-A: \x1b[0m"), 400},
	{"SEC-24 DEL in a header", get("X-A: abcdefg\x7f"), 400},
	{"SEC-25 two hosts", get("Host: a", "host: a"), 400},
	{"SEC-25 two hosts, HTTP/1.0", request("GET / HTTP/1.0", "Host: a", "Host: b"), 400},
	{"SEC-25 no host", "GET / HTTP/1.1\r\n\r\n", 400},
	{"SEC-25 no host, absolute form", "GET http://a/ HTTP/1.1\r\n\r\n", 400},
	{"SEC-25 list of hosts", get("Host: a, b"), 400},
	{"SEC-25 list of hosts without space", get("Host: a,b"), 400},
	{"SEC-25 empty host", get("Host:"), 400},
	{"SEC-25 empty host, HTTP/1.0", request("GET / HTTP/1.0", "Host: "), 400},
	{"SEC-25 port alone", get("Host: :80"), 400},
	{"SEC-25 empty port", get("Host: a:"), 400},
	{"SEC-25 port of letters", get("Host: a:http"), 400},
	{"SEC-25 port out of range", get("Host: a:65536"), 400},
	{"SEC-25 two ports", get("Host: a:80:80"), 400},
	{"SEC-25 user", get("Host: a@b"), 400},
	{"SEC-25 path", get("Host: a/b"), 400},
	{"SEC-25 escape", get("Host: a%2eb"), 400},
	{"SEC-25 host beyond ASCII", get("Host: \uff41"), 400},
	{"SEC-25 long host", get("Host: " + strings.Repeat("a", 256)), 400},
	{"SEC-25 open bracket", get("Host: [::1"), 400},
	{"SEC-25 name in brackets", get("Host: [localhost]"), 400},
	{"SEC-25 IPv4 in brackets", get("Host: [127.0.0.1]"), 400},
	{"SEC-25 zone", get("Host: [fe80::1%25eth0]"), 400},
	{"SEC-25 rubbish behind brackets", get("Host: [::1]a"), 400},
	{"SEC-25 IPv6 without brackets", get("Host: ::1"), 400},
	{"SEC-26 long target", request("GET /" + strings.Repeat("a", MaxTarget) + " HTTP/1.1"), 414},
	{"SEC-26 endless target", "GET /" + strings.Repeat("a", MaxTarget), 414},
	{"SEC-26 header block", block(MaxHead + 1), 431},
	{"SEC-26 endless header block", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", MaxHead), 431},
	{"SEC-26 endless header name", "GET / HTTP/1.1\r\n" + strings.Repeat("a", MaxHead), 431},
	{"SEC-26 65 headers", get(fill(MaxHeaders)...), 431},
	{"SEC-26 the 65th header's first byte", strings.TrimSuffix(get(fill(MaxHeaders-1)...), "\r\n") + "X", 431},
	{"SEC-27 HTTP/0.9", "GET /\r\n", 400},
	{"SEC-27 HTTP/0.9 with a space", "GET / \r\n", 400},
	{"SEC-27 HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
	{"SEC-27 HTTP/2.0", request("GET / HTTP/2.0"), 505},
	{"SEC-27 HTTP/3.0", request("GET / HTTP/3.0"), 505},
	{"SEC-27 HTTP/1.2", request("GET / HTTP/1.2"), 505},
	{"SEC-27 HTTP/0.9 spelled out", request("GET / HTTP/0.9"), 505},
	{"version of two digits", request("GET / HTTP/1.10"), 400},
	{"version without a point", request("GET / HTTP/2"), 400},
	{"version in lower case", request("GET / http/1.1"), 400},
	{"another protocol", request("GET / ICAP/1.0"), 400},
	{"space behind the version", request("GET / HTTP/1.1 "), 400},
	{"two spaces behind the method", request("GET  / HTTP/1.1"), 400},
	{"two spaces behind the target", request("GET /  HTTP/1.1"), 400},
	{"tab for a space", request("GET\t/ HTTP/1.1"), 400},
	{"space before the method", request(" GET / HTTP/1.1"), 400},
	{"empty line before the request", "\r\n" + get(), 400},
	{"byte order mark", "\ufeff" + get(), 400},
	{"method that is no token", request("G(T / HTTP/1.1"), 400},
	{"long method", strings.Repeat("A", 33), 400},
	{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400},
	{"PROXY protocol", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + get(), 400},
	{"header without a colon", get("X-A"), 400},
	{"header without a name", get(": a"), 400},
	{"header name beyond ASCII", get("X-\u00e4: a"), 400},
	{"header name in quotes", get(`"X": a`), 400},
	{"fragment", request("GET /#a HTTP/1.1"), 400},
	{"fragment behind a query", request("GET /?a#b HTTP/1.1"), 400},
	{"target beyond ASCII", request("GET /\u00e4 HTTP/1.1"), 400},
	{"DEL in the target", request("GET /\x7f HTTP/1.1"), 400},
	{"asterisk form", request("GET * HTTP/1.1"), 400},
	{"authority form", request("PUT a:80 HTTP/1.1"), 400},
	{"relative target", request("GET latest/ HTTP/1.1"), 400},
	{"SEC-45 another scheme", request("GET https://a/ HTTP/1.1"), 400},
	{"SEC-45 no authority", request("GET http:/// HTTP/1.1"), 400},
	{"SEC-45 scheme alone", request("GET http:// HTTP/1.1"), 400},
	{"SEC-45 one slash", request("GET http:/a HTTP/1.1"), 400},
	{"SEC-45 user", request("GET http://u@a/ HTTP/1.1"), 400},
	{"SEC-45 user and password", request("GET http://u:p@a/ HTTP/1.1"), 400},
	{"SEC-45 backslash", request(`GET http://a\b/ HTTP/1.1`), 400},
	{"SEC-45 escape", request("GET http://a%2fb/ HTTP/1.1"), 400},
	{"SEC-45 port out of range", request("GET http://a:99999/ HTTP/1.1"), 400},
	{"SEC-45 fragment", request("GET http://a#b HTTP/1.1"), 400},
}

func TestMalformed(t *testing.T) {
	for _, tt := range malformed {
		t.Run(tt.name, func(t *testing.T) {
			var r Request
			n, status := r.Parse([]byte(tt.message))
			if n != 0 || status != tt.status {
				t.Errorf("Parse = %d, %d; want 0, %d", n, status, tt.status)
			}
			checkCuts(t, []byte(tt.message))
		})
	}
}

// show is a request in one line.
func show(r *Request) string {
	methods := map[Method]string{GET: "GET", HEAD: "HEAD", PUT: "PUT", Other: "other"}
	s := methods[r.Method]
	if r.PathOK {
		s += fmt.Sprintf(" path=%q", r.Path)
	}
	if len(r.Query) > 0 {
		s += fmt.Sprintf(" query=%q", r.Query)
	}
	s += fmt.Sprintf(" host=%s", r.Host)
	if string(r.Host) != string(r.HostHeader) {
		s += fmt.Sprintf(" header=%s", r.HostHeader)
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"absolute", r.Absolute}, {"1.0", r.HTTP10}, {"keep-alive", r.KeepAlive},
		{"close", r.Close}, {"expect", r.Expect100},
	} {
		if f.set {
			s += " " + f.name
		}
	}
	if r.BodyLength > 0 {
		s += fmt.Sprintf(" body=%d", r.BodyLength)
	}
	return s
}

// wellFormed are messages and what they mean.
var wellFormed = []struct{ name, message, want string }{
	{"GET", request("GET /latest/meta-data/instance-id HTTP/1.1", "Host: 169.254.169.254"), `GET path="latest/meta-data/instance-id" host=169.254.169.254`},
	{"HEAD", request("HEAD / HTTP/1.1", "Host: a"), `HEAD path="" host=a`},
	{"PUT", request("PUT /latest/api/token? HTTP/1.1", "Host: a", "Content-Length: 0"), `PUT path="latest/api/token" host=a`},
	{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", `GET path="" host= 1.0`},
	{"HTTP/1.0 with a host", request("GET / HTTP/1.0", "Host: a"), `GET path="" host=a 1.0`},
	{"SEC-13 body of 4 KiB", request("PUT / HTTP/1.1", "Host: a", "Content-Length: 4096"), `PUT path="" host=a body=4096`},
	{"length with a leading zero", request("PUT / HTTP/1.1", "Host: a", "Content-Length: 010"), `PUT path="" host=a body=10`},
	{"SEC-23 GET with a length of 0", request("GET / HTTP/1.1", "Host: a", "Content-Length: 0"), `GET path="" host=a`},
	{"SEC-25 host and port", request("GET / HTTP/1.1", "Host: a:80"), `GET path="" host=a`},
	{"SEC-25 largest port", request("GET / HTTP/1.1", "Host: a:65535"), `GET path="" host=a`},
	{"SEC-25 host in upper case", request("GET / HTTP/1.1", "HOST: LocalHost"), `GET path="" host=localhost`},
	{"SEC-25 IPv6", request("GET / HTTP/1.1", "Host: [fd00:EC2::254]"), `GET path="" host=fd00:ec2::254`},
	{"SEC-25 IPv6 and port", request("GET / HTTP/1.1", "Host: [fd00:ec2::254]:80"), `GET path="" host=fd00:ec2::254`},
	{"SEC-25 longest host", request("GET / HTTP/1.1", "Host: "+strings.Repeat("a", 255)), `GET path="" host=` + strings.Repeat("a", 255)},
	{"SEC-26 longest target", request("GET /"+strings.Repeat("a", MaxTarget-1)+" HTTP/1.1", "Host: a"), `GET path="` + strings.Repeat("a", MaxTarget-1) + `" host=a`},
	{"SEC-26 longest header block", block(MaxHead), `GET path="" host=169.254.169.254`},
	{"SEC-26 64 headers", request("GET / HTTP/1.1", append(fill(MaxHeaders-1), "Host: a")...), `GET path="" host=a`},
	{"SEC-27 Upgrade is ignored", request("GET / HTTP/1.1", "Host: a", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: x"), `GET path="" host=a`},
	{"SEC-29 Expect", request("PUT / HTTP/1.1", "Host: a", "Expect: 100-Continue", "Content-Length: 5"), `PUT path="" host=a expect body=5`},
	{"SEC-29 Expect in a list", request("PUT / HTTP/1.1", "Host: a", "Expect: x, 100-continue"), `PUT path="" host=a expect`},
	{"SEC-29 another Expect", request("PUT / HTTP/1.1", "Host: a", "Expect: 200-ok"), `PUT path="" host=a`},
	{"SEC-29 Expect in HTTP/1.0", request("PUT / HTTP/1.0", "Host: a", "Expect: 100-continue"), `PUT path="" host=a 1.0`},
	{"Connection: close", request("GET / HTTP/1.1", "Host: a", "Connection: close"), `GET path="" host=a close`},
	{"Connection: keep-alive", request("GET / HTTP/1.0", "Host: a", "Connection: Keep-Alive"), `GET path="" host=a 1.0 keep-alive`},
	{"Connection: list", request("GET / HTTP/1.1", "Host: a", "Connection: te ,\tCLOSE,,"), `GET path="" host=a close`},
	{"Connection: twice", request("GET / HTTP/1.1", "Host: a", "Connection: close", "connection: keep-alive"), `GET path="" host=a keep-alive close`},
	{"Connection: part of a word", request("GET / HTTP/1.1", "Host: a", "Connection: closed, not-close"), `GET path="" host=a`},
	{"Connection: Kelvin sign", request("GET / HTTP/1.1", "Host: a", "Connection: \u212aeep-alive"), `GET path="" host=a`},
	{"another method", request("POST /a HTTP/1.1", "Host: a", "Content-Length: 100000"), `other path="a" host=a body=100000`},
	{"lower case is another method", request("get /a HTTP/1.1", "Host: a"), `other path="a" host=a`},
	{"longest method", request(strings.Repeat("A", 32)+" / HTTP/1.1", "Host: a"), `other path="" host=a`},
	{"other method, asterisk form", request("OPTIONS * HTTP/1.1", "Host: a"), `other host=a`},
	{"other method, authority form", request("CONNECT b:443 HTTP/1.1", "Host: a"), `other host=a`},
	{"other method, absolute form", request("TRACE http://b/x HTTP/1.1", "Host: a"), `other path="x" host=b header=a absolute`},
	{"other method, foreign scheme", request("TRACE ftp://b/x HTTP/1.1", "Host: a"), `other host=a`},
	{"other method, fragment", request("TRACE /x#y HTTP/1.1", "Host: a"), `other host=a`},
	{"SEC-44 query", request("GET /a?b=c%2f&d HTTP/1.1", "Host: a"), `GET path="a" query="b=c%2f&d" host=a`},
	{"SEC-44 bare question mark", request("GET /a/? HTTP/1.1", "Host: a"), `GET path="a" host=a`},
	{"SEC-44 two question marks", request("GET /a??b?c HTTP/1.1", "Host: a"), `GET path="a" query="?b?c" host=a`},
	{"SEC-45 absolute form", request("GET http://B:80//x/?y HTTP/1.1", "Host: a:8080"), `GET path="x" query="y" host=b header=a absolute`},
	{"SEC-45 scheme in upper case", request("GET HTTP://b/ HTTP/1.1", "Host: b"), `GET path="" host=b absolute`},
	{"SEC-45 IPv6", request("GET http://[fd00:ec2::254]:80/ HTTP/1.1", "Host: b"), `GET path="" host=fd00:ec2::254 header=b absolute`},
	{"SEC-45 no path", request("GET http://b HTTP/1.1", "Host: b"), `GET path="" host=b absolute`},
	{"SEC-45 query without a path", request("GET http://b?/c HTTP/1.1", "Host: b"), `GET path="" query="/c" host=b absolute`},
	{"SEC-45 HTTP/1.0", "GET http://b/ HTTP/1.0\r\n\r\n", `GET path="" host=b header= absolute 1.0`},
	{"SEC-40 authority look-alike", request("GET //evil/x HTTP/1.1", "Host: a"), `GET path="evil/x" host=a`},
}

func TestWellFormed(t *testing.T) {
	for _, tt := range wellFormed {
		t.Run(tt.name, func(t *testing.T) {
			var r Request
			n, status := r.Parse([]byte(tt.message + "GET"))
			if n != len(tt.message) || status != 0 {
				t.Fatalf("Parse = %d, %d; want %d, 0", n, status, len(tt.message))
			}
			if got := show(&r); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
			checkCuts(t, []byte(tt.message))
			checkAgainstStd(t, []byte(tt.message))
		})
	}
}

func TestHeaders(t *testing.T) {
	const message = "GET / HTTP/1.1\r\n" +
		"Host: a\r\n" +
		"X-Empty:\r\n" +
		"X-Blank: \t \r\n" +
		"x-trim: \t a  b\t \r\n" +
		"X-Tight:a:b\r\n" +
		"X-Obs: \xe4\u00e4\r\n" +
		"!#$%&'*+-.^_`|~9: token\r\n" +
		"X_Forwarded_For: 1.2.3.4\r\n\r\n"
	want := []string{"Host=a", "X-Empty=", "X-Blank=", "x-trim=a  b", "X-Tight=a:b", "X-Obs=\xe4\u00e4",
		"!#$%&'*+-.^_`|~9=token", "X_Forwarded_For=1.2.3.4"}
	var r Request
	if n, status := r.Parse([]byte(message)); n != len(message) {
		t.Fatalf("Parse = %d, %d; want %d, 0", n, status, len(message))
	}
	var got []string
	for _, h := range r.Headers {
		got = append(got, string(h.Name)+"="+string(h.Value))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("headers\n%q, want\n%q", got, want)
	}
	checkCuts(t, []byte(message))
	checkAgainstStd(t, []byte(message))
}

// Every byte, in every kind of place.
func TestBytes(t *testing.T) {
	for c := range 256 {
		b := byte(c)
		letters := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
		tests := []struct {
			place, message string
			ok             bool
		}{
			{"method", "G" + string([]byte{b}) + "T / HTTP/1.1\r\nHost: a\r\n\r\n", letters || strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0},
			{"target", "GET /" + string([]byte{b}) + " HTTP/1.1\r\nHost: a\r\n\r\n", b > ' ' && b < 0x7f && b != '#'},
			{"name", "GET / HTTP/1.1\r\nHost: a\r\nX" + string([]byte{b}) + ": y\r\n\r\n", letters || strings.IndexByte("!#$%&'*+-.^_`|~:", b) >= 0},
			{"value", "GET / HTTP/1.1\r\nHost: a\r\nX: y" + string([]byte{b}) + "zzzzzzzzz\r\n\r\n", b == '\t' || b >= ' ' && b != 0x7f},
			{"host", "GET / HTTP/1.1\r\nHost: a" + string([]byte{b}) + "\r\n\r\n", letters || strings.IndexByte("-._~ \t", b) >= 0},
		}
		for _, tt := range tests {
			var r Request
			n, status := r.Parse([]byte(tt.message))
			if ok := n == len(tt.message); ok != tt.ok || !ok && status != 400 {
				t.Errorf("byte %#02x in %s: Parse = %d, %d; want accepted: %v", b, tt.place, n, status, tt.ok)
			}
		}
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	for _, tt := range wellFormed {
		var r Request
		b := []byte(tt.message)
		if n := testing.AllocsPerRun(100, func() { r.Parse(b) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", tt.name, n)
		}
	}
	for _, tt := range malformed {
		var r Request
		b := []byte(tt.message)
		if n := testing.AllocsPerRun(100, func() { r.Parse(b) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", tt.name, n)
		}
	}
}
