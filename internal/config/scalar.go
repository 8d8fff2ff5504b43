package config

import (
	"encoding"
	"encoding/base64"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"openimds/internal/instance"
)

var (
	typeAddr      = reflect.TypeFor[netip.Addr]()
	typePrefix    = reflect.TypeFor[netip.Prefix]()
	typeTime      = reflect.TypeFor[time.Time]()
	typeDuration  = reflect.TypeFor[time.Duration]()
	typeBytes     = reflect.TypeFor[[]byte]()
	typeUnmarshal = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// isScalar reports whether a type is written as one scalar.
func isScalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	}
	return t == typeBytes || reflect.PointerTo(t).Implements(typeUnmarshal)
}

// expected says in words what a scalar type wants.
func expected(t reflect.Type) string {
	switch {
	case t == typeAddr:
		return "an IP address such as 10.0.0.5 or 2001:db8::5"
	case t == typePrefix:
		return "a block of addresses such as 10.0.0.0/24 or 2001:db8::/64"
	case t == typeTime:
		return "a time such as 2026-01-15T08:00:00Z"
	case t == typeDuration:
		return "a duration such as 250ms, 5s or 1m30s"
	case t == typeBytes:
		return "text, or !!binary and base64"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case isInteger(t):
		return "a whole number in decimal digits"
	default:
		return "text"
	}
}

func isInteger(t reflect.Type) bool {
	return t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64
}

// scalar decodes n into v. No message shows the value of a string or of bytes,
// which may be a secret.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, at instance.Path) {
	t := v.Type()
	switch {
	case n.Kind != yaml.ScalarNode:
		d.addf(n, at, "found %s, expected %s", kindOf(n), expected(t))
	case !plainTag(n.Tag) && (t != typeBytes || n.Tag != "!!binary"):
		d.tagged(n, at, expected(t))
	case n.Tag == "!!null" && n.Value == "" && (t.Kind() == reflect.String || t == typeBytes):
		// Left empty: empty text.
	case n.Tag == "!!null" && n.Value != "":
		d.addf(n, at, "found %s, expected %s; leave the key out if there is no value, or put the word in quotes", n.Value, expected(t))
	case n.Tag == "!!null":
		d.addf(n, at, "found nothing, expected %s; leave the key out if there is none", expected(t))
	case d.spend(n, at, len(n.Value)):
		d.text(n, v, at)
	}
}

// plainTag reports whether a tag is one that the parser itself gives to
// scalars.
func plainTag(tag string) bool {
	switch tag {
	case "", "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!merge":
		return true
	}
	return false
}

func (d *decoder) text(n *yaml.Node, v reflect.Value, at instance.Path) {
	t := v.Type()
	switch {
	case t == typeBytes:
		d.bytes(n, v, at)
	case t == typeTime:
		if when, ok := parseTime(n.Value); ok {
			v.Set(reflect.ValueOf(when))
			return
		}
		d.mismatch(n, t, at)
	case t == typeDuration:
		if span, err := time.ParseDuration(n.Value); err == nil {
			v.SetInt(int64(span))
			return
		}
		d.mismatch(n, t, at)
	case reflect.PointerTo(t).Implements(typeUnmarshal):
		d.unmarshal(n, v, at)
	case t.Kind() == reflect.String:
		v.SetString(n.Value)
	case t.Kind() == reflect.Bool:
		on, off := strings.EqualFold(n.Value, "true"), strings.EqualFold(n.Value, "false")
		if n.Tag != "!!bool" || !on && !off {
			d.mismatch(n, t, at)
			return
		}
		v.SetBool(on)
	default:
		d.integer(n, v, at)
	}
}

func (d *decoder) mismatch(n *yaml.Node, t reflect.Type, at instance.Path) {
	d.addf(n, at, "found %s, expected %s", shorten(n.Value), expected(t))
}

func (d *decoder) unmarshal(n *yaml.Node, v reflect.Value, at instance.Path) {
	err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value))
	switch t := v.Type(); {
	case t == typeAddr || t == typePrefix:
		// Both take an empty text for no address.
		if err != nil || n.Value == "" {
			d.mismatch(n, t, at)
		}
	case err != nil:
		d.addf(n, at, "%v", err)
	}
}

// integer takes decimal digits alone: 010, 0x10, 1_000 and 1e3 mean different
// things to different readers.
func (d *decoder) integer(n *yaml.Node, v reflect.Value, at instance.Path) {
	t := v.Type()
	digits := strings.TrimPrefix(n.Value, "-")
	switch {
	case strings.Trim(digits, "0123456789") != "" || digits == "" || len(digits) > 1 && digits[0] == '0':
		d.mismatch(n, t, at)
	case n.Tag == "!!str":
		d.addf(n, at, "found the text %s, expected a whole number without quotes", shorten(n.Value))
	case v.CanInt():
		i, err := strconv.ParseInt(n.Value, 10, t.Bits())
		if err != nil {
			most := int64(uint64(1)<<(t.Bits()-1) - 1)
			d.addf(n, at, "found %s, expected a whole number from %d to %d", shorten(n.Value), -most-1, most)
			return
		}
		v.SetInt(i)
	default:
		u, err := strconv.ParseUint(n.Value, 10, t.Bits())
		if err != nil {
			d.addf(n, at, "found %s, expected a whole number from 0 to %d", shorten(n.Value), ^uint64(0)>>(64-t.Bits()))
			return
		}
		v.SetUint(u)
	}
}

func (d *decoder) bytes(n *yaml.Node, v reflect.Value, at instance.Path) {
	if n.Tag != "!!binary" {
		v.SetBytes([]byte(n.Value))
		return
	}
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(n.Value), ""))
	if err != nil {
		d.addf(n, at, "found text that is not base64 after !!binary (%v)", err)
		return
	}
	v.SetBytes(data)
}

// timeForms are RFC 3339 and YAML's own forms of a timestamp.
var timeForms = []string{
	time.RFC3339,
	"2006-1-2T15:4:5.999999999Z07:00",
	"2006-1-2t15:4:5.999999999Z07:00",
	"2006-1-2 15:4:5.999999999 Z07:00",
	"2006-1-2 15:4:5.999999999",
	"2006-1-2",
}

func parseTime(text string) (time.Time, bool) {
	for _, form := range timeForms {
		if t, err := time.Parse(form, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// shorten quotes a value for a message.
func shorten(s string) string {
	const most = 40
	if utf8.RuneCountInString(s) <= most {
		return strconv.Quote(s)
	}
	return fmt.Sprintf("%q…", string([]rune(s)[:most]))
}
