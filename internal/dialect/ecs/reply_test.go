package ecs

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"openimds/internal/dialect"
)

var date = []byte("Sun, 01 Jun 2025 03:00:00 GMT")

// TestReplies spells whole answers out (ECS-FMT-03 to ECS-FMT-05, ECS-FMT-13,
// ECS-FMT-14, ECS-ERR-06, ECS-TOK-15).
func TestReplies(t *testing.T) {
	const tail = "Date: Sun, 01 Jun 2025 03:00:00 GMT\r\n"
	for name, test := range map[string]struct {
		reply dialect.Reply
		want  string
	}{
		"value": {
			dialect.Reply{Status: 200, Body: []byte("i-1"), TokenTTL: 60, Modified: date},
			"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n" + tail + "\r\ni-1",
		},
		"empty value": {
			dialect.Reply{Status: 200},
			"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n" + tail + "\r\n",
		},
		"user data, close": {
			dialect.Reply{Status: 200, Body: []byte("#!\n"), Content: dialect.Binary, Close: true},
			"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 3\r\n" + tail + "Connection: close\r\n\r\n#!\n",
		},
		"head, keep alive": {
			dialect.Reply{Status: 200, Body: []byte("i-1"), Head: true, KeepAlive: true},
			"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n" + tail + "Connection: keep-alive\r\n\r\n",
		},
		"unknown caller": {
			dialect.Reply{Status: 404, Outcome: dialect.UnknownCaller, Close: true},
			"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n" + tail + "Connection: close\r\n\r\n",
		},
		"a status nobody named": {
			dialect.Reply{Status: 599, Outcome: dialect.Injected, Content: dialect.Error},
			"HTTP/1.1 599 Error\r\nContent-Length: 0\r\n" + tail + "\r\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.reply.Date = date
			if got := string(New().Append([]byte("before"), &test.reply)); got != "before"+test.want {
				t.Errorf("want\n%q\ngot\n%q", "before"+test.want, got)
			}
		})
	}
}

// TestRefusals: titles and headers of the error pages (ECS-ERR-01 to
// ECS-ERR-05, ECS-THR-02), as net/http reads them.
func TestRefusals(t *testing.T) {
	titles := map[int]string{
		400: "400 - Missing or Invalid Parameters", 401: "401 - Unauthorized", 403: "403 - Forbidden", 404: "404 - Not Found",
		405: "405 - Method Not Allowed", 413: "413 - Request Entity Too Large", 414: "414 - Request URI Too Long",
		429: "429 - Too Many Requests", 431: "431 - Request Header Fields Too Large",
		500: "500 - Internal Server Error", 501: "501 - Not Implemented", 503: "503 - Service Unavailable", 505: "505 - HTTP Version Not Supported",
	}
	d := New()
	for status, title := range titles {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			r := dialect.Reply{Status: status, Outcome: dialect.Malformed, Content: dialect.Error, Date: date}
			want := http.Header{"Content-Type": {"text/html"}, "Date": {string(date)}}
			switch status {
			case 405:
				r.Outcome, r.Allow = dialect.MethodRefused, "GET, HEAD"
				want.Set("Allow", "GET, HEAD")
			case 429:
				r.Outcome, r.RetryAfter = dialect.Throttled, 7
				want.Set("Retry-After", "7")
			}
			got, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(d.Append(nil, &r))), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(got.Body)
			if err != nil || got.Status != strconv.Itoa(status)+" "+http.StatusText(status) {
				t.Errorf("got status %q, %v", got.Status, err)
			}
			want.Set("Content-Length", strconv.Itoa(len(body)))
			if len(got.Header) != len(want) {
				t.Errorf("want headers %v, got %v", want, got.Header)
			}
			for name := range want {
				if got.Header.Get(name) != want.Get(name) {
					t.Errorf("want %s: %s, got %q", name, want.Get(name), got.Header.Get(name))
				}
			}
			for _, tag := range []string{"title", "h1"} {
				if element := "<" + tag + ">" + title + "</" + tag + ">"; !strings.Contains(string(body), element) {
					t.Errorf("no %s in %s", element, body)
				}
			}
			r.Head = true
			if head := d.Append(nil, &r); !bytes.HasSuffix(head, []byte("\r\n\r\n")) || bytes.Contains(head, []byte("<")) {
				t.Errorf("the answer to HEAD is %q", head)
			}
		})
	}
}

func TestReplyAllocatesNothing(t *testing.T) {
	d := New()
	dst := make([]byte, 0, 4<<10)
	for _, r := range []dialect.Reply{
		{Status: 200, Body: []byte("i-1"), Date: date, KeepAlive: true},
		{Status: 401, Outcome: dialect.BadToken, Content: dialect.Error, Date: date},
		{Status: 405, Outcome: dialect.MethodRefused, Allow: "PUT", Date: date},
		{Status: 429, Outcome: dialect.Throttled, RetryAfter: 1234, Date: date},
		{Status: 404, Outcome: dialect.UnknownCaller, Date: date, Close: true},
	} {
		if allocs := testing.AllocsPerRun(100, func() { dst = d.Append(dst[:0], &r) }); allocs != 0 {
			t.Errorf("status %d: %v allocations", r.Status, allocs)
		}
	}
}
