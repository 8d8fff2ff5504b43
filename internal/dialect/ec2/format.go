package ec2

import (
	"time"

	"openimds/internal/item"
)

// Layouts of times, which are in UTC.
const (
	isoTime   = "2006-01-02T15:04:05Z"
	eventTime = "2 Jan 2006 15:04:05 GMT" // EC2-ITEM-011: the day has one or two digits
)

// The JSON of the service has one member a line, blanks on both sides of the
// colon, and no line end after the last brace (EC2-FMT-04).

// field appends what stands before a member's value. An object begins with a
// brace, and no value ends with one.
func field(dst []byte, indent, key string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(append(dst, '\n'), indent...)
	return append(append(append(dst, '"'), key...), `" : `...)
}

// Indents of members: of an object, and of an object in a list.
const (
	outer = "  "
	inner = "    "
)

// text appends a member that is a string.
func text(dst []byte, indent, key, value string) []byte {
	return item.AppendString(field(dst, indent, key), value)
}

// textOrNull is text, but null for an empty string.
func textOrNull(dst []byte, indent, key, value string) []byte {
	if value == "" {
		return append(field(dst, indent, key), "null"...)
	}
	return text(dst, indent, key, value)
}

// list appends a member that is an array of strings on one line, or null for
// an empty one (EC2-IDENT-02).
func list(dst []byte, indent, key string, values []string) []byte {
	dst = field(dst, indent, key)
	if len(values) == 0 {
		return append(dst, "null"...)
	}
	dst = append(dst, "[ "...)
	for i, v := range values {
		dst = item.AppendString(between(dst, i, ", "), v)
	}
	return append(dst, " ]"...)
}

// moment appends a member that is a time.
func moment(dst []byte, indent, key, layout string, t time.Time) []byte {
	dst = append(field(dst, indent, key), '"')
	return append(t.UTC().AppendFormat(dst, layout), '"')
}

// between appends sep before every element of a list but the first.
func between(dst []byte, i int, sep string) []byte {
	if i == 0 {
		return dst
	}
	return append(dst, sep...)
}

// lines appends texts, one a line (EC2-FMT-03).
func lines(dst []byte, values []string) []byte {
	for i, v := range values {
		dst = append(between(dst, i, "\n"), v...)
	}
	return dst
}

// textual is an address or a prefix.
type textual interface{ AppendTo([]byte) []byte }

// lined appends addresses or prefixes, one a line (EC2-FMT-03). IPv6 is in the
// form of RFC 5952 (EC2-FMT-05).
func lined[T textual](dst []byte, values []T) []byte {
	for i, v := range values {
		dst = v.AppendTo(between(dst, i, "\n"))
	}
	return dst
}
