package wire

import (
	"bytes"
	"unicode/utf8"
)

// setTarget takes a request target apart. It reports whether the target has
// origin form or absolute form with the scheme http, and leaves r as it was
// when it has not (SEC-45).
func (r *Request) setTarget(t []byte) bool {
	var host []byte
	absolute := t[0] != '/'
	if absolute {
		const scheme = "http://"
		if len(t) < len(scheme) || !fold(t[:len(scheme)], scheme) {
			return false
		}
		t = t[len(scheme):]
		end := 0
		for end < len(t) && t[end] != '/' && t[end] != '?' {
			end++
		}
		var ok bool
		if host, ok = r.authority(t[:end]); !ok {
			return false
		}
		t = t[end:]
	}
	path, query := t, []byte(nil)
	for i, c := range t {
		if c == '?' {
			path, query = t[:i], t[i+1:]
			break
		}
		if c == '#' {
			return false
		}
	}
	if bytes.IndexByte(query, '#') >= 0 {
		return false
	}
	r.Absolute, r.Host = absolute, host
	r.RawPath, r.Query = path, query // SEC-44
	r.setPath(path)
	return true
}

// setPath finds the canonical form of a raw path. The usual path is a part of
// the raw one.
func (r *Request) setPath(raw []byte) {
	p := bytes.Trim(raw, "/") // SEC-40, SEC-41
	last := byte('/')
	for _, c := range p {
		if !plainByte.has(c) || last == '/' && (c == '/' || c == '.') {
			start := len(r.buf)
			r.buf, r.PathOK = canonical(r.buf, p)
			if r.PathOK {
				r.Path = r.buf[start:]
			}
			return
		}
		last = c
	}
	r.Path, r.PathOK = p, true
}

// canonical appends the canonical form of a raw path to dst. It is false for a
// path that can exist nowhere.
func canonical(dst, raw []byte) ([]byte, bool) {
	base := len(dst)
	for len(raw) > 0 {
		var segment []byte
		segment, raw, _ = bytes.Cut(raw, slash)
		if len(segment) == 0 {
			continue // SEC-40
		}
		if len(dst) > base {
			dst = append(dst, '/')
		}
		start := len(dst)
		for i := 0; i < len(segment); i++ {
			c := segment[i]
			if c == '%' {
				if i+2 >= len(segment) || !hexByte.only(segment[i+1:i+3]) {
					return dst, false // SEC-42
				}
				c = nibble(segment[i+1])<<4 | nibble(segment[i+2])
				i += 2
			}
			// SEC-42, SEC-43, SEC-47: plain or encoded, it makes no difference.
			if c < ' ' || c == 0x7f || c == '/' || c == '\\' || c == ';' {
				return dst, false
			}
			dst = append(dst, c)
		}
		if s := dst[start:]; string(s) == "." || string(s) == ".." {
			return dst, false // SEC-43
		}
	}
	return dst, printable(dst[base:])
}

var slash = []byte{'/'}

// printable reports whether b, which holds no ASCII control, is UTF-8 without
// the controls U+0080 to U+009F.
func printable(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for i := range len(b) - 1 {
		if b[i] == 0xc2 && b[i+1] < 0xa0 {
			return false
		}
	}
	return true
}

func nibble(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return lower(c) - 'a' + 10
}
