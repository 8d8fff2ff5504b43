package readiness

import (
	"fmt"
	"strings"
	"time"
)

// who names the newest caller without a token.
func (j *judgement) who(rejected bool) string {
	for _, c := range j.e.Free {
		if c.Rejected == rejected {
			return fmt.Sprintf("at %s: %s", stamp(c.Last), c)
		}
	}
	return fmt.Sprintf("soon after %s", stamp(j.e.Recent.Last))
}

// String names a caller.
func (c Caller) String() string {
	agent := "a program without a user agent"
	if c.Agent != "" {
		agent = c.Agent
	}
	text := agent + " for " + c.Item
	if c.Source.IsValid() {
		text += " from " + c.Source.String()
	}
	return text
}

// String names a process.
func (p Process) String() string {
	name := p.Name
	if name == "" {
		name = "a process"
	}
	var more []string
	if p.PID > 0 {
		more = append(more, fmt.Sprintf("pid %d", p.PID))
	}
	unit := p.Unit
	if p.Container != "" && strings.Contains(unit, p.Container) {
		unit = "" // the container's own, which says nothing more
	}
	for _, m := range []struct{ what, value string }{{"", p.Exe}, {"unit ", unit}, {"container ", p.Container}} {
		if m.value != "" {
			more = append(more, m.what+m.value)
		}
	}
	if len(more) > 0 {
		name += " (" + strings.Join(more, ", ") + ")"
	}
	return name
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func tokens(n uint64) string {
	if n == 1 {
		return "a token"
	}
	return fmt.Sprintf("%d tokens", n)
}

// Span writes a duration as a person does: 14d, 36h, 90s.
func Span(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := d.String()
	for _, zero := range []string{"0s", "0m"} {
		if rest, ok := strings.CutSuffix(text, zero); ok && rest != "" && (strings.HasSuffix(rest, "m") || strings.HasSuffix(rest, "h")) {
			text = rest
		}
	}
	return text
}
