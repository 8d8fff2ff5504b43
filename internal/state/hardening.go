package state

import "time"

// Hardening is a guarded switch of instances to required session tokens.
type Hardening struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	// By is who started it.
	By string `json:"by"`
	// Watch is how long each instance is watched.
	Watch time.Duration `json:"watch"`
	// ReturnAt is the number of rejections at which an instance is returned; 0: none is.
	ReturnAt uint64 `json:"returnAt"`
	// Rehearsal: every instance is returned when it has been watched.
	Rehearsal bool `json:"rehearsal,omitempty"`
	// Forced: instances that were not ready are switched, too.
	Forced bool `json:"forced,omitempty"`
	// Shares are how much of the instances is switched with each batch and those before it, growing up to 1.
	Shares []float64 `json:"shares"`
	// Batch is the index of the one that is under way.
	Batch int `json:"batch"`
	// Accepted is how many batches the operator has gone on after although instances of them were returned.
	Accepted int    `json:"accepted,omitempty"`
	State    string `json:"state"`
	// Why it is in this state.
	Why   string    `json:"why,omitempty"`
	Ended time.Time `json:"ended,omitzero"`
}

// States of a hardening.
const (
	HardeningRunning = "running"
	HardeningPaused  = "paused" // no batch begins; what is switched is watched
	HardeningAborted = "aborted"
	HardeningDone    = "done"
)

// Hardened is an instance of a hardening.
type Hardened struct {
	Hardening string `json:"hardening"`
	Instance  string `json:"instance"`
	Batch     int    `json:"batch"`
	State     string `json:"state"`
	// Why it is in this state.
	Why string `json:"why,omitempty"`
	// Since is when it was switched, Ended when its watch was over.
	Since time.Time `json:"since,omitzero"`
	Ended time.Time `json:"ended,omitzero"`
	// Base is how many rejections were known of the minute in which it was switched; Rejected how many there were after that.
	Base     uint64 `json:"base,omitempty"`
	Rejected uint64 `json:"rejected,omitempty"`
	// Callers are who was rejected.
	Callers []HardenedCaller `json:"callers,omitempty"`
}

// HardenedCaller is who was rejected.
type HardenedCaller struct {
	Agent  string    `json:"agent"`
	Item   string    `json:"item"`
	Source string    `json:"source,omitempty"`
	Last   time.Time `json:"last"`
	Count  uint64    `json:"count"`
	// Process as a tracer in the instance has seen it.
	Process string `json:"process,omitempty"`
}

// States of an instance of a hardening.
const (
	HardenedWaiting   = "waiting"   // for its batch
	HardenedWatched   = "watched"   // it is switched
	HardenedKept      = "kept"      // it stays so
	HardenedReturned  = "returned"  // it takes requests without tokens again, because of rejections
	HardenedRehearsed = "rehearsed" // it does as the rehearsal is over
	HardenedUndone    = "undone"    // it does as the hardening was aborted
	HardenedRefused   = "refused"   // it was not ready
	HardenedSkipped   = "skipped"   // somebody else has changed it, or it is gone
)

// Key is where it is kept.
func (h Hardened) Key() string { return Key(h.Hardening, h.Instance) }
