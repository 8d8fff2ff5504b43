package policy

import "unicode/utf8"

// Wildcards of a compiled pattern are bytes that no UTF-8 text has, so that a
// literal asterisk needs no escape.
const (
	anyRun byte = 0xff // any number of characters, none included
	anyOne byte = 0xfe // one character
)

// match reports whether pattern covers the whole of text. With fold, ASCII
// letters of text match the pattern's lower-case ones. It goes back to the last
// asterisk only, so that no pattern costs more than its length times the text's
// (POL-DOC-11).
func match(pattern []byte, text string, fold bool) bool {
	p, t := 0, 0
	star, mark := -1, 0 // the last asterisk, and where the text after its run starts
	for t < len(text) {
		if p < len(pattern) {
			switch c := pattern[p]; {
			case c == anyRun:
				star, mark = p, t
				p++
				continue
			case c == anyOne:
				_, width := utf8.DecodeRuneInString(text[t:])
				p, t = p+1, t+width
				continue
			case c == text[t], fold && c == lower(text[t]):
				p, t = p+1, t+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		_, width := utf8.DecodeRuneInString(text[mark:])
		mark += width
		p, t = star+1, mark
	}
	for p < len(pattern) && pattern[p] == anyRun {
		p++
	}
	return p == len(pattern)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// arnParts is how many parts an IAM resource name has; the last one holds
// whatever colons follow.
const arnParts = 6

// matchARN matches each part of a resource name by itself, so that a wildcard
// never reaches over a colon; a lone asterisk stands for any name
// (POL-COND-14).
func matchARN(pattern []byte, text string) bool {
	if len(pattern) == 1 && pattern[0] == anyRun {
		return true
	}
	for range arnParts - 1 {
		p, t := indexColon(pattern), indexColon(text)
		if p < 0 || t < 0 || !match(pattern[:p], text[:t], false) {
			return false
		}
		pattern, text = pattern[p+1:], text[t+1:]
	}
	return match(pattern, text, false)
}

func indexColon[T string | []byte](s T) int {
	for i := range len(s) {
		if s[i] == ':' {
			return i
		}
	}
	return -1
}
