package policy

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Problem is one thing that is wrong with a document.
type Problem struct {
	// Line and Column count from 1, columns in characters.
	Line, Column int
	// Path is where the value stands, such as Statement[0].Effect; empty for
	// the document itself.
	Path string
	// Msg says what was found and what is expected.
	Msg string
}

// String returns the problem as one line: line:column: path: message.
func (p Problem) String() string {
	at := fmt.Sprintf("%d:%d: ", p.Line, p.Column)
	if p.Path != "" {
		at += p.Path + ": "
	}
	return at + p.Msg
}

// Problems is an error: what is wrong with a document, in its order.
type Problems []Problem

// mostProblems is how many problems are looked for.
const mostProblems = 10

// Error returns the problems on one line.
func (ps Problems) Error() string {
	all := make([]string, len(ps))
	for i, p := range ps {
		all[i] = p.String()
	}
	return strings.Join(all, "; ")
}

// quote returns a text of the document in quotes and not too long.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strconv.Quote(s)
}

// position returns line and column of a byte of data.
func position(data []byte, at int) (line, column int) {
	before := data[:min(at, len(data))]
	line = 1
	for i, c := range before {
		if c == '\n' {
			line, column = line+1, i+1
		}
	}
	return line, utf8.RuneCount(before[column:]) + 1
}
