package dialect

import (
	"bytes"

	"openimds/internal/wire"
)

// Marks are what the guards look for among the headers of a request: one pass
// finds all of them.
type Marks struct {
	// Token is the value of the session token header, TTL that of the TTL
	// header; the counts tell a missing header from an empty one.
	Token, TTL   []byte
	Tokens, TTLs int
	// Forwarded: X-Forwarded-For, in either spelling, whatever its value
	// (SEC-03, SEC-04, SEC-05).
	Forwarded bool
	// Proxied: any other header that proxies add (SEC-07).
	Proxied bool
	// Browser: Origin or Sec-Fetch-* (SEC-09).
	Browser bool
	// Agent is the value of the last User-Agent header.
	Agent []byte
}

// Mark reads the headers of r as dialect d understands them.
func (d *Dialect) Mark(r *wire.Request) Marks {
	var m Marks
	for i := range r.Headers {
		h := &r.Headers[i]
		switch h.Name[0] | 0x20 {
		case 'x':
			switch {
			case equalFold(h.Name, d.Session.TokenHeader):
				m.Token = h.Value
				m.Tokens++
			case equalFold(h.Name, d.Session.TTLHeader):
				m.TTL = h.Value
				m.TTLs++
			case isForwardedFor(h.Name):
				m.Forwarded = true
			case equalFold(h.Name, "x-forwarded-host"), equalFold(h.Name, "x-forwarded-proto"), equalFold(h.Name, "x-real-ip"):
				m.Proxied = true
			}
		case 'o':
			m.Browser = m.Browser || equalFold(h.Name, "origin")
		case 's':
			m.Browser = m.Browser || hasPrefixFold(h.Name, "sec-fetch-")
		case 'f':
			m.Proxied = m.Proxied || equalFold(h.Name, "forwarded")
		case 'v':
			m.Proxied = m.Proxied || equalFold(h.Name, "via")
		case 'u':
			if equalFold(h.Name, "user-agent") {
				m.Agent = h.Value
			}
		case 't':
			m.Proxied = m.Proxied || equalFold(h.Name, "true-client-ip")
		}
	}
	return m
}

// equalFold reports whether name is want, which is in lower case, whatever the
// case of its ASCII letters.
func equalFold(name []byte, want string) bool {
	if len(name) != len(want) {
		return false
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != want[i] {
			return false
		}
	}
	return true
}

func hasPrefixFold(name []byte, want string) bool {
	return len(name) >= len(want) && equalFold(name[:len(want)], want)
}

// isForwardedFor matches X-Forwarded-For with any mix of - and _ between its
// words, since some front ends rewrite one into the other.
func isForwardedFor(name []byte) bool {
	const want = "x-forwarded-for"
	if len(name) != len(want) {
		return false
	}
	for i, c := range name {
		switch {
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case c == '_':
			c = '-'
		}
		if c != want[i] {
			return false
		}
	}
	return true
}

// ParseTTL reads the TTL header's value: digits alone, without a leading zero,
// 1 to MaxTTL (SEC-11).
func ParseTTL(m *Marks) (seconds int, ok bool) {
	if m.TTLs != 1 || len(m.TTL) == 0 || len(m.TTL) > 5 || m.TTL[0] == '0' {
		return 0, false
	}
	for _, c := range m.TTL {
		if c < '0' || c > '9' {
			return 0, false
		}
		seconds = seconds*10 + int(c-'0')
	}
	return seconds, seconds <= MaxTTL
}

// TokenTarget is what a path has to do with session tokens.
type TokenTarget uint8

// Token targets.
const (
	NotToken     TokenTarget = iota // some other path
	ExactToken                      // TokenPath to the letter
	InexactToken                    // it would become TokenPath, or a version's, if it were canonical
)

// TokenTargetOf tells what r's path has to do with session tokens. The token
// path is exempt from all leniency: only the exact spelling mints.
func (d *Dialect) TokenTargetOf(r *wire.Request) TokenTarget {
	if string(r.RawPath) == TokenPath {
		return ExactToken
	}
	version, rest, _ := bytes.Cut(r.Path, []byte{'/'})
	if string(rest) != "api/token" {
		return NotToken
	}
	if _, ok := d.Tree.VersionIndex(version); !ok {
		return NotToken
	}
	return InexactToken
}
