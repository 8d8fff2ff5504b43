// Package section writes the part of bench/results.md that one program
// measures, and leaves those of the others.
package section

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// marks is how every section but the first begins.
const marks = "<!-- Written by "

// Put replaces the section of a script, such as bench/guests, in a file, or adds
// it at the end. The path - is standard output.
func Put(path, script, text string, stdout io.Writer) error {
	text = marks + script + " from here on. -->\n\n" + strings.TrimSpace(text) + "\n"
	if path == "-" {
		_, err := io.WriteString(stdout, text)
		return err
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("write the section of %s: %w", script, err)
	}
	return os.WriteFile(path, []byte(replaced(string(old), script, text)), 0o644)
}

func replaced(all, script, text string) string {
	before, after, found := strings.Cut(all, marks+script+" ")
	rest := ""
	if at := strings.Index(after, marks); found && at >= 0 {
		rest = "\n" + after[at:]
	}
	return strings.TrimRight(before, "\n") + "\n\n" + text + rest
}
