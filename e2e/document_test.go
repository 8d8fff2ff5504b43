//go:build linux

package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A block of a document is what a reader pastes into a shell: a fenced block
// in the language "console". Lines that start with "$ " are commands, those
// that follow with "> " belong to them, and the others show what they print,
// in which "…" stands for anything, and a line of it for any lines. What a
// command prints is compared if anything is shown.
//
// All blocks of a document run in one shell, in a copy of the project's
// directory, in the order of the document. Marks are comments just above a
// block, one a line:
//
//	<!-- not run: REASON -->   it is not run
//	<!-- keeps running -->     its last command goes on while those of the next blocks run; it
//	                           is waited for what is shown, or for a line "ready"
//	<!-- stop first -->        what still runs from earlier blocks is ended before
//	<!-- before: COMMAND -->   a command that the reader does not see, run before
//	<!-- exits: N -->          its last command is to end with this status, not with 0
type block struct {
	line         int // of the fence
	commands     []step
	notRun       string
	keepsRunning bool
	stopFirst    bool
	before       []string
	exits        int
}

// step is one command of a block, and what it is shown to print.
type step struct {
	line int
	text string
	want []string
}

var (
	mark  = regexp.MustCompile(`^\s*<!--\s*(.*?)\s*-->\s*$`)
	fence = regexp.MustCompile("^(\\s*)(```+|~~~+)\\s*(\\S*)")
)

// blocks returns the blocks of a document. An error names the line that is not
// understood.
func blocks(document string) (all []block, err error) {
	lines := strings.Split(document, "\n")
	for i := 0; i < len(lines); i++ {
		open := fence.FindStringSubmatch(lines[i])
		if open == nil {
			continue
		}
		b := block{line: i + 1}
		var inside []string
		for i++; i < len(lines) && strings.TrimSpace(lines[i]) != open[2]; i++ {
			inside = append(inside, strings.TrimRight(strings.TrimPrefix(lines[i], open[1]), " \t"))
		}
		if open[3] != "console" {
			if slices.ContainsFunc(inside, func(l string) bool { return strings.HasPrefix(l, "$ ") }) {
				return nil, fmt.Errorf("line %d: a block with commands is to have the language console, not %q", b.line, open[3])
			}
			continue
		}
		for above := b.line - 2; above >= 0; above-- {
			m := mark.FindStringSubmatch(lines[above])
			if m == nil {
				break
			}
			if err := b.mark(m[1]); err != nil {
				return nil, fmt.Errorf("line %d: %w", above+1, err)
			}
		}
		if err := b.read(inside); err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

func (b *block) mark(text string) (err error) {
	word, rest, _ := strings.Cut(text, ":")
	rest = strings.TrimSpace(rest)
	switch {
	case word == "not run" && rest != "":
		b.notRun = rest
	case text == "keeps running":
		b.keepsRunning = true
	case text == "stop first":
		b.stopFirst = true
	case word == "before" && rest != "":
		b.before = append([]string{rest}, b.before...) // they are read upwards
	case word == "exits":
		b.exits, err = strconv.Atoi(rest)
	default:
		err = fmt.Errorf("%q is no mark of a block with commands", text)
	}
	return err
}

func (b *block) read(inside []string) error {
	continues := false
	for n, line := range inside {
		at := b.line + n + 1
		prompt, isCommand := strings.CutPrefix(line, "$ ")
		more, isMore := strings.CutPrefix(line, "> ")
		last := len(b.commands) - 1
		switch {
		case isCommand:
			b.commands = append(b.commands, step{line: at, text: prompt})
		case last < 0:
			return fmt.Errorf("line %d: output stands before the first command; commands start with %q", at, "$ ")
		case continues && isMore:
			b.commands[last].text += "\n" + more
		default:
			b.commands[last].want = append(b.commands[last].want, line)
		}
		continues = isCommand || continues && isMore
	}
	if len(b.commands) == 0 {
		return fmt.Errorf("line %d: the block has no command; commands start with %q", b.line, "$ ")
	}
	return nil
}

// compare returns an error unless what a command printed is what is shown.
// With more, it may print more behind that.
func compare(want []string, printed string, more bool) error {
	if len(want) == 0 {
		return nil
	}
	var pattern strings.Builder
	pattern.WriteString(`\A`)
	for _, line := range want {
		if line == "…" {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		for i, part := range strings.Split(line, "…") {
			if i > 0 {
				pattern.WriteString(`.*`)
			}
			pattern.WriteString(regexp.QuoteMeta(part))
		}
		pattern.WriteString(`\n`)
	}
	if !more {
		pattern.WriteString(`\z`)
	}
	var lines []string
	for line := range strings.Lines(printed) {
		lines = append(lines, strings.TrimRight(line, " \t\r\n"))
	}
	got := strings.Join(lines, "\n") + "\n"
	if regexp.MustCompile(pattern.String()).MatchString(got) {
		return nil
	}
	return fmt.Errorf("it is shown to print\n%s\nand prints\n%s", strings.Join(want, "\n"), printed)
}
