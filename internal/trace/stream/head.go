package stream

import (
	"bytes"
	"strconv"
	"strings"
)

// Headers that carry a session token, in lower case.
const (
	TokenEC2 = "x-aws-ec2-metadata-token"
	TokenECS = "x-aliyun-ecs-metadata-token"
)

// maxMethod is the longest method that is taken for one.
const maxMethod = 24

// framing is what follows a head.
type framing struct {
	length  uint64
	chunked bool
	broken  bool // nobody knows
}

// endOfHead returns the length of the head in b, with its empty line, when the
// first had bytes have been searched before; -1: it does not end yet.
func endOfHead(b []byte, had int) int {
	for at := max(0, had-3); ; {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return -1
		}
		at += i + 1
		switch rest := b[at:]; {
		case bytes.HasPrefix(rest, []byte("\n")):
			return at + 1
		case bytes.HasPrefix(rest, []byte("\r\n")):
			return at + 2
		}
	}
}

// plausible tells whether b can be the begin of a request: a method and a
// space, as far as it goes.
func plausible(b []byte) bool {
	for i, c := range b {
		switch {
		case c == ' ':
			return i > 0
		case i >= maxMethod || !isToken(c):
			return false
		}
	}
	return true
}

// looksLikeRequest is stricter than plausible: it finds the begin of a request
// in the midst of anything.
func looksLikeRequest(b []byte) bool {
	method, rest, ok := bytes.Cut(b, []byte(" "))
	if !ok || len(method) == 0 || len(method) > maxMethod || !plausible(append(method[:len(method):len(method)], ' ')) {
		return false
	}
	for _, c := range method {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return bytes.HasPrefix(rest, []byte("/")) || bytes.HasPrefix(rest, []byte("http://")) || bytes.HasPrefix(rest, []byte("*"))
}

// isToken is RFC 9110's tchar.
func isToken(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// parse reads a head, or the begin of one, into r. No header's value is kept
// but those of Host and User-Agent.
func parse(head []byte, r *Request) framing {
	var f framing
	line, rest := cutLine(head)
	if !requestLine(line, r) {
		r.Unreadable, f.broken = true, true
	}
	for len(rest) > 0 {
		line, rest = cutLine(rest)
		if len(line) == 0 || line[0] == ' ' || line[0] == '\t' {
			continue // the end, or more of the line before
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if ok {
			header(string(bytes.ToLower(name)), bytes.Trim(value, " \t"), r, &f)
		}
	}
	return f
}

func header(name string, value []byte, r *Request, f *framing) {
	switch name {
	case TokenEC2, TokenECS:
		if len(value) > 0 {
			r.TokenHeader = name
		} else {
			r.EmptyToken = true
		}
	case "host":
		r.Host = cut(value)
	case "user-agent":
		r.UserAgent = cut(value)
	case "content-length":
		n, err := strconv.ParseUint(string(value), 10, 62)
		f.length, f.broken = n, f.broken || err != nil
	case "transfer-encoding":
		f.chunked = true
	}
}

// requestLine reads method and path.
func requestLine(line []byte, r *Request) bool {
	method, rest, ok := bytes.Cut(line, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	r.Method = string(method[:min(len(method), maxMethod)])
	if !ok {
		return false
	}
	r.Path = path(target)
	return ok2 && bytes.HasPrefix(version, []byte("HTTP/"))
}

// path is what of a target may be told: neither query nor host, in which
// people put secrets.
func path(target []byte) string {
	if _, after, ok := bytes.Cut(target, []byte("://")); ok && target[0] != '/' {
		slash := bytes.IndexByte(after, '/')
		if slash < 0 {
			return "/"
		}
		target = after[slash:]
	}
	if i := bytes.IndexAny(target, "?#"); i >= 0 {
		target = target[:i]
	}
	return cut(target)
}

func cut(b []byte) string { return string(b[:min(len(b), MaxText)]) }

// cutLine returns the first line of b without its end, and what follows.
func cutLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest
}
