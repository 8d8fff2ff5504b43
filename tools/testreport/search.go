package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// window is how much of a file is looked at in one piece, beside what the
// longest secret needs.
const window = 1 << 20

// search says what a file has that nobody may say, each once, and what stands
// before it on the line.
func (s *secrets) search(path string) (found []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	name := strings.TrimPrefix(filepath.Base(path), "said-")
	said := map[string]bool{}
	say := func(what, text string, at int, in []byte) {
		if said[text] {
			return
		}
		said[text] = true
		line := string(in[bytes.LastIndexByte(in[:at], '\n')+1 : at])
		found = append(found, fmt.Sprintf("%s has %s, after: %s", name, what, line[max(0, len(line)-120):]))
	}
	// What may begin before the end of a piece and end after it is looked at
	// again with the next one.
	keep := max(s.longest, longestRun)
	buffer := make([]byte, 0, window+keep)
	for first := true; ; first = false {
		n, err := io.ReadFull(f, buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+n]
		s.spelled(buffer, say)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		forms(buffer, first, last, say)
		if last {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("look for secrets: %w", err)
		}
		buffer = append(buffer[:0], buffer[len(buffer)-keep:]...)
	}
}

// spelled finds the spellings of known secrets.
func (s *secrets) spelled(text []byte, say func(what, text string, at int, in []byte)) {
	for i := 0; i+key <= len(text); i++ {
		if !s.begin[int(text[i])<<8|int(text[i+1])] {
			continue
		}
		for _, k := range s.by[string(text[i:i+key])] {
			if bytes.HasPrefix(text[i:], []byte(k.text)) {
				say("a secret of "+k.whose, k.text, i, text)
			}
		}
	}
}

// A secret of ours that no test has seen, as one that an SDK fetched for
// itself, is known by its form.
const (
	tokenStart   = "AQAEA" // the prefix of session tokens of the metadata services
	tokenLetters = 54
	sessionLeast = 160 // session tokens of credentials are longer
	longestRun   = 16 << 10
)

// secretLengths are those of access keys' secrets (40), of admin tokens and of
// keys of 32 bytes (43).
var secretLengths = map[int]bool{40: true, 43: true}

// forms finds what looks like a secret. What goes on before or after a piece
// that is not the first or the last is whole in another.
func forms(text []byte, first, last bool, say func(what, text string, at int, in []byte)) {
	for i := 0; i < len(text); i++ {
		if class(text[i]) == 0 {
			continue
		}
		if i > 0 && text[i-1] == '\\' && text[i] == 'n' {
			continue // an escaped end of a line
		}
		from := i
		for i < len(text) && class(text[i]) != 0 {
			i++
		}
		run := text[from:i]
		if len(run) < 40 || from == 0 && !first || i == len(text) && !last {
			continue
		}
		if at := bytes.Index(run, []byte(tokenStart)); at >= 0 && len(run)-at >= tokenLetters {
			say("what looks like a session token", string(run[at:]), from+at, text)
		}
		if (secretLengths[len(run)] || len(run) >= sessionLeast) && mixed(run) && !encoded(text, from, i) {
			say("what looks like a secret or a session token of credentials", string(run), from, text)
		}
		if len(run) == 52 && bytes.Trim(run, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == nil && bytes.ContainsAny(run, "234567") {
			say("what looks like a key", string(run), from, text)
		}
	}
	if at := bytes.Index(text, []byte("PRIVATE KEY-----")); at >= 0 {
		say("a private key", "PRIVATE KEY", at, text)
	}
}

// Lengths of the lines into which base64 is broken, for PEM and for mail.
const (
	pemLine  = 64
	mailLine = 76
)

// encoded reports whether a run is a part of something longer in base64's other
// alphabet, such as a certificate, a public key or a signature.
func encoded(text []byte, from, to int) bool {
	first, end := start(text, from), to
	for end < len(text) && other(text[end]) {
		end++
	}
	whole := text[first:end]
	switch {
	case bytes.ContainsRune(whole, '+'), bytes.HasPrefix(whole, []byte("AAAA")):
		return true
	case len(whole) == pemLine || len(whole) == mailLine:
		return len(whole) > to-from
	case bytes.Count(whole, []byte("/"))*pemLine > len(whole):
		return len(whole) > mailLine // in base64 there are twice as many, in a path with a secret fewer
	}
	// The last line of several may have any length.
	before := first
	for before > 0 {
		if strings.IndexByte(" \t\r\n", text[before-1]) >= 0 {
			before--
		} else if before > 1 && text[before-2] == '\\' && text[before-1] == 'n' {
			before -= 2
		} else {
			break
		}
	}
	line := before - start(text, before)
	return before < first && (line == pemLine || line == mailLine)
}

// start is where that begins of which text[:to] is the end.
func start(text []byte, to int) int {
	at := to
	for at > 0 && other(text[at-1]) {
		at--
	}
	if at > 0 && at < to && text[at-1] == '\\' && text[at] == 'n' {
		at++
	}
	return at
}

// other is the other alphabet of base64, with this one.
func other(b byte) bool { return class(b) != 0 || b == '+' || b == '/' }

// class is that of a letter of base64url, 0 of all others.
func class(b byte) int {
	switch {
	case 'a' <= b && b <= 'z':
		return 1
	case 'A' <= b && b <= 'Z':
		return 2
	case '0' <= b && b <= '9':
		return 3
	case b == '-', b == '_':
		return 4
	}
	return 0
}

// mixed reports whether letters are random: their class changes two
// times in five or more often, which that of names and of hexadecimal numbers
// does not.
func mixed(run []byte) bool {
	if len(bytes.Trim(run, "0123456789ABCDEF")) == 0 {
		return false // a fingerprint
	}
	changes, upper := 0, false
	for i := 1; i < len(run); i++ {
		if class(run[i]) != class(run[i-1]) {
			changes++
		}
		upper = upper || class(run[i]) == 2
	}
	return upper && changes*5 > len(run)*2
}
