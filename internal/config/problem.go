// Package config reads files that people write: strict YAML, decoded into Go
// structs by their json tags. It reports everything that is wrong with a file,
// each with its line, column and key, and never stops at the first mistake.
package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"openimds/internal/instance"
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	// File is the name the file was given.
	File string
	// Line and Column count from 1; Line 0: the file as a whole.
	Line, Column int
	// Key is the path of the value in the file; empty: there is none.
	Key instance.Path
	// Msg says what was found and what is expected, without secrets.
	Msg string
}

// String returns the problem as one line: file:line:column: key: message.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	if p.Key != "" {
		b.WriteString(": " + clip(string(p.Key), mostKey))
	}
	return b.String() + ": " + p.Msg
}

// mostKey is how many bytes of a path are shown: keys are what people write.
const mostKey = 256

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// Problems is an error: everything wrong with a file, in the order of lines.
type Problems []Problem

// mostShown is how many problems a person is shown at once.
const mostShown = 50

// Error returns one line for each of the first fifty problems, and how many
// more there are.
func (ps Problems) Error() string {
	lines := make([]string, 0, min(len(ps), mostShown+1))
	for i, p := range ps {
		if i == mostShown {
			lines = append(lines, fmt.Sprintf("and %d more", len(ps)-mostShown))
			break
		}
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// err returns the problems sorted as an error, nil if there are none.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(a.Line-b.Line, a.Column-b.Column, strings.Compare(string(a.Key), string(b.Key)))
	})
	return slices.Compact(ps)
}
