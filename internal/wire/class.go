package wire

import "encoding/binary"

// A class tells where in a message a byte may stand.
type class uint8

const (
	tokenByte   class = 1 << iota // method, header name (RFC 9110 §5.6.2)
	visibleByte                   // target: 0x21 to 0x7e
	fieldByte                     // header value: visible, SP, HTAB, obs-text
	plainByte                     // path, needing no second look: visible without % ; \ #
	nameByte                      // host name: unreserved (RFC 3986 §2.3)
	hexByte
)

// classes is the class of every byte. It is never written to.
var classes = func() (t [256]class) {
	for i := range t {
		c := byte(i)
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		digit := '0' <= c && c <= '9'
		if letter || digit || in(c, "!#$%&'*+-.^_`|~") {
			t[i] |= tokenByte
		}
		if 0x21 <= c && c <= 0x7e {
			t[i] |= visibleByte | fieldByte
			if !in(c, `%;\#`) {
				t[i] |= plainByte
			}
		}
		if c == ' ' || c == '\t' || c >= 0x80 {
			t[i] |= fieldByte
		}
		if letter || digit || in(c, "-._~") {
			t[i] |= nameByte
		}
		if digit || letter && c|0x20 <= 'f' {
			t[i] |= hexByte
		}
	}
	return t
}()

func in(c byte, set string) bool {
	for i := range len(set) {
		if set[i] == c {
			return true
		}
	}
	return false
}

func (c class) has(b byte) bool { return classes[b]&c != 0 }

// only reports whether b consists of bytes of class c.
func (c class) only(b []byte) bool {
	for _, x := range b {
		if !c.has(x) {
			return false
		}
	}
	return true
}

// A word of eight bytes: one in each of them, and the high bit of each.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// skipField returns the index of the first byte of b from i on that may not
// stand in a header value. It passes over words that hold neither controls nor DEL without
// looking at their bytes; header values are most of a message.
func skipField(b []byte, i int) int {
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		below := (x - ' '*ones) &^ x // high bit set: byte < 0x20
		del := x ^ 0x7f*ones         // zero: byte is DEL
		if (below|(del-ones)&^del)&highs != 0 {
			break
		}
	}
	for i < len(b) && fieldByte.has(b[i]) {
		i++
	}
	return i
}

// fold reports whether b is s, which is in lower case, but for the case of
// ASCII letters. Unlike bytes.EqualFold it knows no other letters: U+212A is
// not a k.
func fold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range len(s) {
		if lower(b[i]) != s[i] {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
