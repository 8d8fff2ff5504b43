package stream

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// secret stands for a token's value; it must be in nothing that comes out.
const secret = "c2VjcmV0LXRva2VuLXZhbHVl"

func read(t testing.TB, text string) []Request {
	t.Helper()
	var c Conn
	all := c.Add(1, 0, []byte(text), 1)
	if r, ok := c.Close(); ok {
		all = append(all, r)
	}
	for _, r := range all {
		if strings.Contains(fmt.Sprintf("%+v", r), secret) {
			t.Errorf("a token's value came out: %+v", r)
		}
	}
	return all
}

func TestRequests(t *testing.T) {
	const get = "GET /latest/meta-data/ HTTP/1.1\r\n"
	for _, c := range []struct {
		name, text string
		want       []Request // of which the texts, and what is true
	}{
		{"token-free", get + "Host: h\r\nUser-Agent: curl/8\r\n\r\n", []Request{{Method: "GET", Path: "/latest/meta-data/", Host: "h", UserAgent: "curl/8"}}},
		{"token", get + "X-AWS-EC2-Metadata-Token: " + secret + "\r\n\r\n", []Request{{Method: "GET", Path: "/latest/meta-data/", TokenHeader: TokenEC2}}},
		{"ECS token", get + "x-aliyun-ecs-metadata-token:" + secret + "\r\n\r\n", []Request{{Method: "GET", Path: "/latest/meta-data/", TokenHeader: TokenECS}}},
		{"empty token", get + "X-aws-ec2-metadata-token: \t\r\n\r\n", []Request{{Method: "GET", Path: "/latest/meta-data/", EmptyToken: true}}},
		{"only a TTL", get + "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n", []Request{{Method: "GET", Path: "/latest/meta-data/"}}},
		{"name in a value", get + "User-Agent: X-aws-ec2-metadata-token: a\r\n\r\n", []Request{{Method: "GET", Path: "/latest/meta-data/", UserAgent: "X-aws-ec2-metadata-token: a"}}},
		{"name in a folded line", get + "A: b\r\n X-aws-ec2-metadata-token: a\r\n\r\n", []Request{{Method: "GET", Path: "/latest/meta-data/"}}},
		{"space before the colon", get + "X-aws-ec2-metadata-token : a\r\n\r\n", []Request{{Method: "GET", Path: "/latest/meta-data/"}}},
		{"name in the path", "GET /x-aws-ec2-metadata-token:a HTTP/1.1\r\n\r\n", []Request{{Method: "GET", Path: "/x-aws-ec2-metadata-token:a"}}},
		{"query", "GET /a?X-aws-ec2-metadata-token=" + secret + " HTTP/1.1\r\n\r\n", []Request{{Method: "GET", Path: "/a"}}},
		{"absolute form", "PUT http://u:" + secret + "@100.100.100.200/latest/api/token? HTTP/1.1\r\n\r\n", []Request{{Method: "PUT", Path: "/latest/api/token"}}},
		{"line feeds alone", "GET /a HTTP/1.0\nHost: h\n\nGET /b HTTP/1.0\n\n", []Request{{Method: "GET", Path: "/a", Host: "h"}, {Method: "GET", Path: "/b"}}},
		{"empty lines before", "\r\n\r\nGET /a HTTP/1.1\r\n\r\n", []Request{{Method: "GET", Path: "/a"}}},
		{"body", "POST /a HTTP/1.1\r\nContent-Length: 31\r\n\r\nX-aws-ec2-metadata-token: a\r\n\r\nGET /b HTTP/1.1\r\n\r\n", []Request{{Method: "POST", Path: "/a"}, {Method: "GET", Path: "/b"}}},
		{"chunks", "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nGET /\r\n3\r\nabc\r\n0\r\nTrailer: x\r\n\r\nGET /b HTTP/1.1\r\n\r\n", []Request{{Method: "POST", Path: "/a"}, {Method: "GET", Path: "/b"}}},
		{"pipelined", get + "\r\n" + get + "X-aws-ec2-metadata-token: a\r\n\r\n", []Request{{Method: "GET", Path: "/latest/meta-data/"}, {Method: "GET", Path: "/latest/meta-data/", TokenHeader: TokenEC2}}},
		{"not HTTP", "\x16\x03\x01\x02", []Request{{Unreadable: true}}},
		{"no version", "GET /\r\n\r\n", []Request{{Method: "GET", Path: "/", Unreadable: true}}},
		{"does not end", get + "Host: h\r\n", []Request{{Method: "GET", Path: "/latest/meta-data/", Host: "h", Unreadable: true}}},
		{"only empty lines", "\r\n\r\n", nil},
	} {
		got := read(t, c.text)
		for i := range got {
			got[i].Segments, got[i].Time, got[i].End = 0, 0, 0
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

func TestTooLong(t *testing.T) {
	pad := "X-Pad: " + strings.Repeat("p", maxHead) + "\r\n"
	for _, c := range []struct {
		name, text string
		unreadable bool
	}{
		{"token first", "GET /a HTTP/1.1\r\nX-aws-ec2-metadata-token: " + secret + "\r\n" + pad + "\r\n", false},
		{"token last", "GET /a HTTP/1.1\r\n" + pad + "X-aws-ec2-metadata-token: " + secret + "\r\n\r\n", true},
	} {
		var conn Conn
		var got []Request
		text := c.text + "GET /b HTTP/1.1\r\n\r\n"
		for i := 0; i < len(text); i += 1000 {
			got = append(got, conn.Add(uint32(i), 0, []byte(text[i:min(i+1000, len(text))]), 1)...)
		}
		if len(got) != 2 || got[0].Path != "/a" || got[0].Unreadable != c.unreadable || !got[0].Truncated || got[1].Path != "/b" {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	var c Conn
	c.Add(0, 0, []byte("GET /a HTTP/1.1\r\n"), 1)
	for i := range 10000 {
		c.Add(uint32(17+i*100), 0, bytes.Repeat([]byte("h"), 100), 1)
		if len(c.head) > maxHead+100 || len(c.line) > maxLine {
			t.Fatalf("%d bytes of a head are kept", len(c.head))
		}
	}
	var d Conn
	d.Add(0, 0, []byte("GET"), 1)
	for i := range 1000 { // never the one that is missing
		d.Add(uint32(100+i*200), 0, bytes.Repeat([]byte("h"), 100), 1)
		if d.order.held > maxAhead+100 {
			t.Fatalf("%d bytes of early segments are kept", d.order.held)
		}
	}
}

func TestTokenIsForgotten(t *testing.T) {
	var c Conn
	head := "GET /a HTTP/1.1\r\nX-aws-ec2-metadata-token: " + secret
	c.Add(0, 0, []byte(head), 1)
	kept := c.head
	c.Add(uint32(len(head)), 0, []byte("\r\n\r\n"), 1)
	if bytes.Contains(kept[:cap(kept)], []byte(secret)) {
		t.Error("the buffer has the token still")
	}
}

func TestJoined(t *testing.T) {
	c := Conn{Joined: true}
	got := c.Add(5000, 0, []byte("data/ HTTP/1.1\r\n\r\n"), 1)
	got = append(got, c.Add(4000, 0, []byte("old"), 1)...)
	got = append(got, c.Add(5018, 0, []byte("GET /a HTTP/1.1\r\n\r\n"), 1)...)
	if len(got) != 1 || got[0].Path != "/a" {
		t.Errorf("%+v", got)
	}
}

func TestGap(t *testing.T) {
	var c Conn
	text := "GET /a HTTP/1.1\r\nHost: h\r\n"
	c.Add(0, 0, []byte(text), 1)
	var got []Request
	// A hole, and then so much that the hole is given up.
	for i := range maxAheadCount + 1 {
		got = append(got, c.Add(uint32(1000+i*19), 0, []byte("GET /b HTTP/1.1\r\n\r\n"), 1)...)
	}
	if len(got) != maxAheadCount+2 || !got[0].Unreadable || !got[0].Truncated || got[0].Path != "/a" || got[1].Path != "/b" || got[1].Unreadable {
		t.Errorf("%+v", got)
	}
}

// stream of requests, and the same however it is cut, repeated and swapped.
func TestAnySegmentation(t *testing.T) {
	text := "GET /a HTTP/1.1\r\nHost: h\r\n\r\n" +
		"PUT /latest/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\nContent-Length: 0\r\n\r\n" +
		"POST /b HTTP/1.1\r\nContent-Length: 28\r\n\r\nX-aws-ec2-metadata-token: x\n" +
		"GET /c HTTP/1.1\r\nX-aws-ec2-metadata-token: " + secret + "\r\n\r\n" +
		"POST /d HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n" +
		"GET /e HTTP/1.1\n\n"
	var whole Conn
	want := names(whole.Add(0, 0, []byte(text), 0))
	if len(want) != 6 {
		t.Fatalf("%q", want)
	}
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Uint32().Draw(t, "sequence number")
		var c Conn
		var got []Request
		var late []int
		for at := 0; at < len(text); {
			n := rapid.IntRange(1, 60).Draw(t, "size")
			end := min(at+n, len(text))
			from := max(0, at-rapid.IntRange(0, 20).Draw(t, "repeated"))
			if at > 0 && end < len(text) && len(late) < 3 && rapid.IntRange(0, 4).Draw(t, "swap") == 0 {
				late = append(late, from, end)
			} else {
				got = append(got, c.Add(start, uint32(from), []byte(text[from:end]), 0)...)
				for i := 0; i+1 < len(late); i += 2 {
					got = append(got, c.Add(start, uint32(late[i]), []byte(text[late[i]:late[i+1]]), 0)...)
				}
				late = nil
			}
			at = end
		}
		for i := 0; i+1 < len(late); i += 2 {
			got = append(got, c.Add(start, uint32(late[i]), []byte(text[late[i]:late[i+1]]), 0)...)
		}
		if !reflect.DeepEqual(names(got), want) {
			t.Fatalf("got %q, want %q", names(got), want)
		}
	})
}

func names(all []Request) (s []string) {
	for _, r := range all {
		s = append(s, fmt.Sprint(r.Method, r.Path, r.TokenHeader, r.Unreadable))
	}
	return s
}

func FuzzConn(f *testing.F) {
	f.Add([]byte("GET /a HTTP/1.1\r\nHost: h\r\n\r\n"), uint8(3), uint8(1), false)
	f.Add([]byte("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), uint8(9), uint8(3), true)
	f.Fuzz(func(t *testing.T, b []byte, size, skip uint8, joined bool) {
		c := Conn{Joined: joined}
		step := int(size) + 1
		for at, i := 0, 0; at < len(b); at, i = at+step, i+1 {
			if skip > 0 && i%(int(skip)+1) == int(skip) {
				continue
			}
			for _, r := range c.Add(0, uint32(at), b[at:min(at+step, len(b))], 0) {
				if len(r.Path) > MaxText || len(r.Host) > MaxText || len(r.UserAgent) > MaxText || len(r.Method) > maxMethod {
					t.Errorf("%+v is too long", r)
				}
			}
		}
		c.Close()
		if c.order.held > 0 {
			t.Errorf("%d bytes are held after the end", c.order.held)
		}
	})
}
