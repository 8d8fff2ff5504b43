package ec2

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"openimds/internal/dialect"
)

var (
	today    = []byte("Sun, 01 Jun 2025 03:00:00 GMT")
	modified = []byte("Wed, 02 Feb 2022 02:02:02 GMT")
)

// TestReplies spells whole answers out, the order of headers included
// (EC2-HDR-01 to EC2-HDR-10, EC2-ERR-01, EC2-ERR-03, EC2-ERR-05, EC2-ERR-07,
// EC2-ERR-09, EC2-THR-01, EC2-TOK-02, EC2-TOK-13, EC2-TOK-14, EC2-MET-01).
func TestReplies(t *testing.T) {
	const (
		when = "Date: Sun, 01 Jun 2025 03:00:00 GMT\r\nServer: EC2ws\r\n"
		last = "Accept-Ranges: none\r\nLast-Modified: Wed, 02 Feb 2022 02:02:02 GMT\r\n"
		text = "Content-Type: text/plain\r\n"
		over = "Connection: close\r\n"
	)
	token := strings.Repeat("A", 56)
	for name, test := range map[string]struct {
		reply dialect.Reply
		want  string
	}{
		"value": {
			dialect.Reply{Status: 200, Body: []byte("i-1"), TokenTTL: -1, Close: true},
			"HTTP/1.1 200 OK\r\n" + text + last + "Content-Length: 3\r\n" + when + over + "\r\ni-1",
		},
		"value, with a token": {
			dialect.Reply{Status: 200, Body: []byte("i-1"), TokenTTL: 21583, Close: true},
			"HTTP/1.1 200 OK\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21583\r\n" + text + last + "Content-Length: 3\r\n" + when + over + "\r\ni-1",
		},
		"value, kept alive": {
			dialect.Reply{Status: 200, Body: []byte("i-1"), TokenTTL: -1, KeepAlive: true},
			"HTTP/1.1 200 OK\r\n" + text + last + "Content-Length: 3\r\n" + when + "\r\ni-1",
		},
		"empty value": {
			dialect.Reply{Status: 200, TokenTTL: -1, Close: true},
			"HTTP/1.1 200 OK\r\n" + text + last + "Content-Length: 0\r\n" + when + over + "\r\n",
		},
		"head": {
			dialect.Reply{Status: 200, Body: []byte("i-1"), TokenTTL: 0, Head: true, Close: true},
			"HTTP/1.1 200 OK\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 0\r\n" + text + last + "Content-Length: 3\r\n" + when + over + "\r\n",
		},
		"user data": {
			dialect.Reply{Status: 200, Body: []byte("#!\n"), Content: dialect.Binary, TokenTTL: -1, Close: true},
			"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n" + last + "Content-Length: 3\r\n" + when + over + "\r\n#!\n",
		},
		"token": {
			dialect.Reply{Status: 200, Outcome: dialect.Minted, Body: []byte(token), TokenTTL: 21600, Close: true},
			"HTTP/1.1 200 OK\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\r\nContent-Length: 56\r\n" + when + over + text + "\r\n" + token,
		},
		"absent": {
			dialect.Reply{Status: 404, Outcome: dialect.Absent, Content: dialect.Error, TokenTTL: -1, Close: true},
			"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 339\r\n" + when + over + "\r\n" + notFound,
		},
		"absent, with a token, head, kept alive": {
			dialect.Reply{Status: 404, Outcome: dialect.Absent, Content: dialect.Error, TokenTTL: 5, Head: true, KeepAlive: true},
			"HTTP/1.1 404 Not Found\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 5\r\nContent-Type: text/html\r\nContent-Length: 339\r\n" + when + "\r\n",
		},
		"unknown caller": {
			dialect.Reply{Status: 404, Outcome: dialect.UnknownCaller, Content: dialect.Error, TokenTTL: -1, Close: true},
			"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nDate: Sun, 01 Jun 2025 03:00:00 GMT\r\n" + over + "\r\n",
		},
		"bad token": {
			dialect.Reply{Status: 401, Outcome: dialect.BadToken, Content: dialect.Error, TokenTTL: -1, Close: true},
			"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n" + when + over + text + "\r\n",
		},
		"inexact token path": {
			dialect.Reply{Status: 403, Outcome: dialect.TokenPathRefused, Content: dialect.Error, TokenTTL: -1, KeepAlive: true},
			"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n" + when + text + "\r\n",
		},
		"token path, other method": {
			dialect.Reply{Status: 405, Outcome: dialect.MethodRefused, Content: dialect.Error, TokenTTL: -1, Allow: "OPTIONS, PUT", Close: true},
			"HTTP/1.1 405 Not Allowed\r\nAllow: OPTIONS, PUT\r\nContent-Length: 0\r\n" + when + over + text + "\r\n",
		},
		"throttled": {
			dialect.Reply{Status: 503, Outcome: dialect.Throttled, Content: dialect.Error, TokenTTL: -1, RetryAfter: 7, Close: true},
			"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n" + when + over + text + "\r\n",
		},
		"a status nobody named": {
			dialect.Reply{Status: 599, Outcome: dialect.Injected, Content: dialect.Error, TokenTTL: -1, Close: true},
			"HTTP/1.1 599 Error\r\nContent-Length: 0\r\n" + when + over + text + "\r\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.reply.Date, test.reply.Modified = today, modified
			if got := string(New().Append([]byte("before"), &test.reply)); got != "before"+test.want {
				t.Errorf("want\n%q\ngot\n%q", "before"+test.want, got)
			}
		})
	}
}

const notFound = "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n" +
	"<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"\n" +
	"\t\t \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n" +
	"<html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n" +
	" <head>\n  <title>404 - Not Found</title>\n </head>\n" +
	" <body>\n  <h1>404 - Not Found</h1>\n </body>\n</html>\n"

// TestRefusals: which refusals have a page, and how long it is (EC2-ERR-02,
// EC2-ERR-04, EC2-ERR-06, EC2-ERR-08, EC2-HDR-11).
func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		status  int
		outcome dialect.Outcome
		length  int
	}{
		{400, dialect.Malformed, 343},
		{400, dialect.BadTTL, 343},
		{401, dialect.NoToken, 0},
		{403, dialect.EndpointDisabled, 339},
		{403, dialect.HostRefused, 339},
		{403, dialect.Browser, 339},
		{403, dialect.Forwarded, 339},
		{405, dialect.MethodRefused, 0},
		{413, dialect.Malformed, 0},
		{414, dialect.Malformed, 0},
		{417, dialect.ExpectRefused, 0},
		{429, dialect.Injected, 0},
		{431, dialect.Malformed, 0},
		{500, dialect.Injected, 0},
		{501, dialect.Malformed, 0},
		{505, dialect.Malformed, 0},
	} {
		t.Run(fmt.Sprint(test.status, test.outcome), func(t *testing.T) {
			r := dialect.Reply{Status: test.status, Outcome: test.outcome, Content: dialect.Error, TokenTTL: -1, Date: today, Close: true}
			head, body, _ := bytes.Cut(New().Append(nil, &r), []byte("\r\n\r\n"))
			reason := http.StatusText(test.status)
			if test.status == 405 {
				reason = "Not Allowed"
			}
			status := strconv.Itoa(test.status)
			if !bytes.HasPrefix(head, []byte("HTTP/1.1 "+status+" "+reason+"\r\n")) || !bytes.Contains(head, fmt.Appendf(nil, "\r\nContent-Length: %d\r\n", test.length)) {
				t.Errorf("got %q", head)
			}
			want := ""
			if test.length > 0 {
				want = strings.ReplaceAll(notFound, "404 - Not Found", status+" - "+reason)
			}
			if string(body) != want || len(body) != test.length {
				t.Errorf("want %d bytes\n%s\ngot %d\n%s", test.length, want, len(body), body)
			}
		})
	}
}

func TestReplyAllocatesNothing(t *testing.T) {
	d := New()
	dst := make([]byte, 0, 4<<10)
	for _, r := range []dialect.Reply{
		{Status: 200, Body: []byte("i-1"), TokenTTL: 21583, Date: today, Modified: modified, Close: true},
		{Status: 200, Outcome: dialect.Minted, Body: []byte("token"), TokenTTL: 21600, Date: today},
		{Status: 401, Outcome: dialect.BadToken, Content: dialect.Error, Date: today},
		{Status: 404, Outcome: dialect.Absent, Content: dialect.Error, TokenTTL: 5, Date: today},
		{Status: 405, Outcome: dialect.MethodRefused, Allow: "GET, HEAD", Date: today},
		{Status: 503, Outcome: dialect.Throttled, RetryAfter: 1234, Date: today},
		{Status: 404, Outcome: dialect.UnknownCaller, Date: today, Close: true},
	} {
		if allocs := testing.AllocsPerRun(100, func() { dst = d.Append(dst[:0], &r) }); allocs != 0 {
			t.Errorf("status %d: %v allocations", r.Status, allocs)
		}
	}
}

// TestDialect: what the guards are told (EC2-ADDR-01, EC2-ADDR-02, EC2-HOP-01,
// EC2-TOK-03, EC2-TOK-04, EC2-TOK-08, EC2-TOK-12, EC2-TOK-13, EC2-TOK-14,
// EC2-THR-01).
func TestDialect(t *testing.T) {
	d := New()
	if d.Name != "ec2" || len(d.Addresses) != 2 || d.Addresses[0] != addr("169.254.169.254") || d.Addresses[1] != addr("fd00:ec2::254") {
		t.Errorf("%s at %v", d.Name, d.Addresses)
	}
	session := dialect.Session{
		TokenHeader: "x-aws-ec2-metadata-token", TTLHeader: "x-aws-ec2-metadata-token-ttl-seconds", Prefix: [4]byte{1, 0, 4, 0},
	}
	if d.Session != session {
		t.Errorf("session %+v", d.Session)
	}
	refusals := dialect.Refusals{
		MissingToken: 401, InexactTokenPath: 403, Throttled: 503, ForwardedRead: 403, Expect100: 417, TokenPathAllow: "OPTIONS, PUT",
	}
	if d.Refusals != refusals {
		t.Errorf("refusals %+v", d.Refusals)
	}
	if !d.CloseByDefault || d.DefaultHopLimit != 1 || !d.IPv6OptIn {
		t.Errorf("close by default %v, hop limit %d, IPv6 opt-in %v", d.CloseByDefault, d.DefaultHopLimit, d.IPv6OptIn)
	}
}
