// Package series is what usage is reported and kept as: counts of an instance
// and a minute, and the steps in which they add up.
package series

import (
	"slices"
	"time"

	"openimds/internal/usage"
)

// Kind is what was counted.
type Kind uint8

// Kinds. Their order is that of the file: new ones go to the end.
const (
	TokenFree Kind = iota // requests without a token that were answered
	Rejected              // requests without a token that were refused because tokens are required
	Tokened               // requests with a good token that were answered
	BadToken              // requests whose token was not good
	Minted                // session tokens given out
	Throttled             // requests over the instance's rate
	Suspects              // token answers that were never acknowledged: a client beyond the hop limit
	Kinds                 // how many there are
)

var kindNames = [Kinds]string{"tokenFree", "rejected", "tokened", "badToken", "minted", "throttled", "suspects"}

// String returns the kind's name in answers and documents.
func (k Kind) String() string {
	if k >= Kinds {
		return "unknown"
	}
	return kindNames[k]
}

// Counts has a number for each kind.
type Counts [Kinds]uint64

// Add adds o to c.
func (c *Counts) Add(o Counts) {
	for k := range c {
		c[k] += o[k]
	}
}

// Zero reports whether nothing was counted.
func (c Counts) Zero() bool { return c == Counts{} }

// Sample is what one instance did in one minute, or the part of it that one
// report has: samples of one minute add up.
type Sample struct {
	Instance string `json:"instance"`
	// Minute is Unix time in minutes.
	Minute int64  `json:"minute"`
	Counts Counts `json:"counts"`
}

// Report is what a node has counted since its report before. It may arrive more
// than once, and in another order.
type Report struct {
	// Node and Boot say which run of which node it is; Sequence counts its reports from 1.
	Node     string   `json:"node"`
	Boot     string   `json:"boot"`
	Sequence uint64   `json:"sequence"`
	Samples  []Sample `json:"samples,omitempty"`
	// Callers are who asked, since the report before.
	Callers []Caller `json:"callers,omitempty"`
	// From and To are of when this is: from the report before, or from the start of the run. A report that has counted nothing says that there was nothing.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
	// Age is how long ago To was when the report was sent, by a clock that does not jump; 0: unknown.
	Age time.Duration `json:"age,omitempty"`
	// Final: the run ended with it, in order, and nothing was lost.
	Final bool `json:"final,omitempty"`
	// Overlaps: the run before this one may not have ended yet, and hands over to it.
	Overlaps bool `json:"overlaps,omitempty"`
	// Began are the instances that are served since this report; Ended those that are not any more.
	Began []string `json:"began,omitempty"`
	Ended []string `json:"ended,omitempty"`
	// Skipped is how many reports just before this one are lost, with what was counted from Lost until From.
	Skipped uint64    `json:"skipped,omitempty"`
	Lost    time.Time `json:"lost,omitzero"`
}

// Caller is who asked, of one instance.
type Caller struct {
	Instance string `json:"instance"`
	usage.Caller
}

// Point is what an instance did in one step of a range.
type Point struct {
	// Start of the step.
	Start  time.Time
	Counts Counts
}

// Resolution is how fine points are, and how long they are kept.
type Resolution struct{ Step, Keep time.Duration }

var resolutions = [...]Resolution{
	{time.Minute, 15 * 24 * time.Hour},
	{5 * time.Minute, 63 * 24 * time.Hour},
	{time.Hour, 455 * 24 * time.Hour},
}

// Resolutions returns all resolutions, the finest first.
func Resolutions() []Resolution { return slices.Clone(resolutions[:]) }

// Finest returns the finest resolution that still has what was at a time.
func Finest(at, now time.Time) Resolution {
	for _, r := range resolutions {
		if now.Sub(at) <= r.Keep {
			return r
		}
	}
	return resolutions[len(resolutions)-1]
}
