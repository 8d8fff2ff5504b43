package ecs

import (
	"bytes"
	"unicode/utf8"

	"openimds/internal/item"
)

// identityDocument is the instance identity document: compact, in this order,
// all strings, because signatures cover its bytes (ECS-IDENT-01). An audience
// in the query string is its last member (ECS-IDENT-03).
func identityDocument(dst []byte, q *item.Query) ([]byte, bool) {
	in := q.Instance
	f := in.Primary()
	dst = append(dst, `{"zone-id":`...)
	dst = item.AppendString(dst, in.Zone)
	dst = append(dst, `,"serial-number":`...)
	dst = item.AppendString(dst, in.Serial)
	dst = append(dst, `,"instance-id":`...)
	dst = item.AppendString(dst, in.ID)
	dst = append(dst, `,"region-id":`...)
	dst = item.AppendString(dst, in.Region)
	dst = append(dst, `,"private-ipv4":"`...)
	dst, _ = privateIPv4(dst, f) // ECS-IDENT-02: empty on an IPv6-only instance
	dst = append(dst, `","owner-account-id":`...)
	dst = item.AppendString(dst, in.Account)
	dst = append(dst, `,"mac":`...)
	dst = item.AppendString(dst, f.MAC)
	dst = append(dst, `,"image-id":`...)
	dst = item.AppendString(dst, in.Image.ID)
	dst = append(dst, `,"instance-type":`...)
	dst = item.AppendString(dst, in.Type)

	var room [MaxAudience]byte
	audience, ok := audienceOf(room[:0], q.RawQuery)
	if !ok {
		return dst, false
	}
	if len(audience) > 0 {
		dst = append(dst, `,"audience":`...)
		dst = item.AppendString(dst, audience)
	}
	return append(dst, '}'), true
}

// MaxAudience is the longest audience in bytes, after decoding (ECS-IDENT-04).
const MaxAudience = 512

// audienceOf appends the decoded value of the first `audience` parameter of a
// query string to dst, within dst's capacity. It reports false for one that
// cannot be put into a document: too long, a broken escape, not UTF-8.
func audienceOf(dst, query []byte) ([]byte, bool) {
	for len(query) > 0 {
		var parameter []byte
		parameter, query, _ = bytes.Cut(query, []byte{'&'})
		value, ok := bytes.CutPrefix(parameter, []byte("audience="))
		if !ok {
			continue
		}
		dst, ok = unescape(dst, value)
		return dst, ok && utf8.Valid(dst)
	}
	return dst, true
}

// unescape appends s with its percent escapes and plus signs decoded, within
// dst's capacity.
func unescape(dst, s []byte) ([]byte, bool) {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			if i+2 >= len(s) {
				return dst, false
			}
			high, low := unhex(s[i+1]), unhex(s[i+2])
			if high < 0 || low < 0 {
				return dst, false
			}
			c = byte(high<<4 | low)
			i += 2
		}
		if len(dst) == cap(dst) {
			return dst, false
		}
		dst = append(dst, c)
	}
	return dst, true
}

// unhex returns the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
