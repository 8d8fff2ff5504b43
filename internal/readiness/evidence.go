// Package readiness judges whether an instance can be switched to session
// tokens alone, from what is known of it. It is a function of its evidence:
// the same evidence has the same verdict.
package readiness

import (
	"net/netip"
	"time"
)

// Verdict says whether an instance can do without normal mode.
type Verdict string

// Verdicts.
const (
	Ready    Verdict = "ready"
	NotReady Verdict = "not ready" // something would break
	Unknown  Verdict = "unknown"   // too little has been seen
)

// Verdicts returns all of them.
func Verdicts() []Verdict { return []Verdict{Ready, NotReady, Unknown} }

// Evidence is what is known of an instance.
type Evidence struct {
	Instance string
	// Dialect is ecs or ec2; Platform linux or windows.
	Dialect, Platform string
	// Required: tokens are required already.
	Required bool
	// Disabled: the endpoint answers nobody.
	Disabled bool
	// HopLimit of token answers, as the data plane applies it.
	HopLimit int
	Image    Image

	// Now is when the evidence was gathered, Window how far back it is to reach.
	Now    time.Time
	Window time.Duration
	// Started is when the instance was started last; zero: unknown.
	Started time.Time
	// Observed is since when its requests are counted; zero: they never were.
	Observed time.Time
	// Gaps are times since the start of the window, or since the instance was started, of which counts may be missing.
	Gaps []Gap

	// Unread says why what it did before could not be read where it is kept; empty: it was read. Recent and Boot may lack something, then.
	Unread string

	// Recent is what it did in the window, Boot what it did in its first hour (BootSpan) after Started.
	Recent, Boot Counts
	// Free are those who asked without a token in the window, or at the start, the newest first.
	Free []Caller
	// Processes are those who did as a tracer in the instance has seen it.
	Processes []Process
}

// BootSpan is how long what runs at a start runs.
const BootSpan = time.Hour

// Image is what is known of the image of an instance.
type Image struct {
	ID string
	// Known: the image is a resource here, and Supports says whether it is marked as one that lives with tokens alone.
	Known, Supports bool
}

// Counts are requests.
type Counts struct {
	// TokenFree were answered without a token, Rejected refused for want of one; Tokened were answered with one.
	TokenFree, Rejected, Tokened uint64
	// Minted are tokens given out, Suspects those that did not arrive.
	Minted, Suspects uint64
	// Last is when the last step with token-free or rejected requests began; zero: there were none.
	Last time.Time
}

// Gap is a time of which counts may be missing.
type Gap struct{ From, To time.Time }

// Caller is who asked without a token.
type Caller struct {
	Agent, Item string
	Source      netip.Addr
	Last        time.Time
	// Rejected: it was refused.
	Rejected bool
	Count    uint64
}

// Process is a process that a tracer has seen asking without a token.
type Process struct {
	// Name is its command, Exe the file it runs, Unit of systemd and Container what it belongs to; what is empty is not known.
	Name, Exe, Unit, Container string
	PID                        int
	Agent, Path                string
	Last                       time.Time
	Count                      uint64
}

// Rules are what the verdict may pass over.
type Rules struct {
	// Gaps is how much of the time may be missing in total.
	Gaps time.Duration
	// AnyBoot judges without the instance's start having been seen.
	AnyBoot bool
}
