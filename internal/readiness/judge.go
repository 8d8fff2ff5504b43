package readiness

import (
	"fmt"
	"time"
)

// Reason is one thing that bears on a verdict.
type Reason struct {
	// Code names it for programs.
	Code Code
	// Verdict that it leads to; Ready: it stands in no way.
	Verdict Verdict
	// Text says it for people, and what to do.
	Text string
}

// Code names a reason.
type Code string

// Codes.
const (
	CodeTokenFree    Code = "token-free"         // it came without a token in the window
	CodeBoot         Code = "token-free-at-boot" // it did when it was started
	CodeRejected     Code = "rejected"           // it does, and is refused
	CodeProcess      Code = "process"            // a tracer has seen it
	CodeSuspects     Code = "hop-limit"          // tokens do not reach who asks
	CodeWindows      Code = "windows"            // ECS cannot
	CodeImage        Code = "image"              // its image needs normal mode
	CodeImageUnclear Code = "image-unclear"      // nobody says
	CodeSilent       Code = "silent"             // it never came with a token
	CodeNotObserved  Code = "not-observed"       // it is not counted at all
	CodeShort        Code = "observed-short"     // for less than the window
	CodeGap          Code = "gap"                // counts may be missing
	CodeUnread       Code = "unread"             // counts could not be read
	CodeBootUnseen   Code = "boot-not-observed"  // what runs at a start is not known
	CodeDisabled     Code = "endpoint-disabled"  // it is not answered
	CodeTokened      Code = "tokened"            // it came with tokens
)

// Result is the verdict about an instance, and why.
type Result struct {
	Evidence Evidence
	Verdict  Verdict
	// Reasons, those first that decide.
	Reasons []Reason
}

// startSlack is how much later than an instance's start its counting may have
// begun, to have begun with it: a node reports who it serves once a minute.
const startSlack = time.Minute

// Judge judges an instance. More evidence of token-free requests never makes it
// ready; more evidence that nothing was seen never makes it ready either.
func Judge(e Evidence, r Rules) Result {
	j := judgement{e: e, rules: r}
	j.breaks()
	j.lacks()
	j.notes()
	out := Result{Evidence: e, Verdict: Ready}
	for _, v := range []Verdict{NotReady, Unknown, Ready} {
		for _, reason := range j.reasons {
			if reason.Verdict == v {
				out.Reasons = append(out.Reasons, reason)
			}
		}
	}
	if len(out.Reasons) > 0 {
		out.Verdict = out.Reasons[0].Verdict
	}
	return out
}

type judgement struct {
	e       Evidence
	rules   Rules
	reasons []Reason
}

func (j *judgement) add(c Code, v Verdict, format string, args ...any) {
	j.reasons = append(j.reasons, Reason{c, v, fmt.Sprintf(format, args...)})
}

// breaks finds what would break.
func (j *judgement) breaks() {
	e := &j.e
	if n := e.Recent.TokenFree; n > 0 {
		j.add(CodeTokenFree, NotReady, "it came without a token %s in the last %s, the last time %s", times(n), Span(e.Window), j.who(false))
	} else if n := e.Boot.TokenFree; n > 0 {
		j.add(CodeBoot, NotReady, "it came without a token %s when it was started at %s, %s: it will when it is started again", times(n), stamp(e.Started), j.who(false))
	}
	if n := e.Recent.Rejected + atBoot(e.Recent.Rejected, e.Boot.Rejected); n > 0 {
		j.add(CodeRejected, NotReady, "tokens were required, and it came without one %s, the last time %s", times(n), j.who(true))
	}
	for _, p := range e.Processes {
		j.add(CodeProcess, NotReady, "a tracer has seen %s asking without a token, the last time at %s", p, stamp(p.Last))
	}
	if n := e.Recent.Suspects + atBoot(e.Recent.Suspects, e.Boot.Suspects); n > 0 {
		if e.HopLimit == 0 {
			j.add(CodeSuspects, NotReady, "%s given out did not arrive", tokens(n))
		} else {
			j.add(CodeSuspects, NotReady, "%s given out did not arrive, so that whoever asked is further away than the hop limit %d, as a container is: raise it (imds set-options %s --hop-limit %d)", tokens(n), e.HopLimit, e.Instance, min(e.HopLimit+1, 64))
		}
	}
	if e.Dialect == "ecs" && e.Platform == "windows" {
		j.add(CodeWindows, NotReady, "Windows instances of ECS know no session tokens")
	}
	if e.Dialect == "ecs" && e.Image.Known && !e.Image.Supports {
		j.add(CodeImage, NotReady, "its image %s is marked as one that needs normal mode", e.Image.ID)
	}
}

// atBoot counts what was at the start where the window has none of it: it may
// have the start, too.
func atBoot(recent, boot uint64) uint64 {
	if recent > 0 {
		return 0
	}
	return boot
}

// lacks finds what has not been seen.
func (j *judgement) lacks() {
	e := &j.e
	if e.Disabled {
		j.add(CodeDisabled, Unknown, "its endpoint is disabled: nobody who asks is answered, so nothing can be seen")
	}
	if e.Unread != "" {
		j.add(CodeUnread, Unknown, "what it did before is not known: %s", e.Unread)
	}
	if e.Observed.IsZero() {
		j.add(CodeNotObserved, Unknown, "no node that reports has served it yet")
		return
	}
	from := e.Now.Add(-e.Window)
	if e.Observed.After(from) {
		j.add(CodeShort, Unknown, "its requests are counted only since %s, for %s of the %s that are asked for", stamp(e.Observed), Span(max(e.Now.Sub(e.Observed), 0).Round(time.Second)), Span(e.Window))
	}
	switch {
	case j.rules.AnyBoot:
	case e.Started.IsZero():
		j.add(CodeBootUnseen, Unknown, "when it was started is not known, so that what runs only at a start may not have been seen: restart it, or use --any-boot")
	case e.Observed.After(e.Started.Add(startSlack)):
		j.add(CodeBootUnseen, Unknown, "it was started at %s, and its requests are counted only since %s: what runs only at a start has not been seen: restart it, or use --any-boot", stamp(e.Started), stamp(e.Observed))
	}
	if e.Recent.Tokened+e.Boot.Tokened == 0 {
		if e.Recent.TokenFree+e.Recent.Rejected+e.Boot.TokenFree+e.Boot.Rejected > 0 {
			j.add(CodeSilent, Unknown, "it never came with a token")
		} else {
			j.add(CodeSilent, Unknown, "it never came at all, so nothing says that it can with a token")
		}
	}
	j.gaps(from)
}

// gaps finds times of which counts may be missing: in the window, and while the
// instance was started.
func (j *judgement) gaps(from time.Time) {
	e := &j.e
	var missing time.Duration
	var longest Gap
	for _, g := range e.Gaps {
		part := overlap(g, from, e.Now)
		if !j.rules.AnyBoot && !e.Started.IsZero() && e.Started.Before(from) {
			part += overlap(g, e.Started, minTime(e.Started.Add(BootSpan), from))
		}
		missing += part
		if part > 0 && g.To.Sub(g.From) > longest.To.Sub(longest.From) {
			longest = g
		}
	}
	if missing > j.rules.Gaps {
		j.add(CodeGap, Unknown, "of %s counts may be missing, the longest part from %s to %s: wait for the window to pass, or use --allow-gaps", Span(missing.Round(time.Second)), stamp(longest.From), stamp(longest.To))
	}
}

func overlap(g Gap, from, to time.Time) time.Duration {
	if g.From.After(from) {
		from = g.From
	}
	return max(minTime(g.To, to).Sub(from), 0)
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// notes says what stands in no way.
func (j *judgement) notes() {
	e := &j.e
	if n := e.Recent.Tokened; n > 0 {
		j.add(CodeTokened, Ready, "it came with a token %s in the last %s", times(n), Span(e.Window))
	}
	if !e.Image.Known || e.Dialect == "ec2" && !e.Image.Supports {
		j.add(CodeImageUnclear, Ready, "nothing says whether its image %s can do without normal mode: what it does at a start decides", e.Image.ID)
	}
}
