package history

import (
	"time"

	"openimds/internal/usage/series"
)

// mostSkew is how far the clock of a node may be from ours before what it says
// of times is put right.
const mostSkew = 90 * time.Second

// right moves the times of a report whose node has another clock, so that they
// are ours. Nothing of it is left in the future: what has been counted has been.
func right(r *series.Report, now time.Time) {
	var off time.Duration
	if r.Age > 0 && !r.To.IsZero() {
		// To was Age ago, whatever the node thinks.
		if off = now.Add(-r.Age).Sub(r.To); off.Abs() <= mostSkew {
			off = 0
		}
	}
	if ahead := r.To.Add(off).Sub(now); !r.To.IsZero() && ahead > mostSkew {
		off -= ahead
	}
	newest := now.Unix() / 60
	samples := make([]series.Sample, len(r.Samples))
	for i, s := range r.Samples {
		s.Minute += int64(off.Round(time.Minute) / time.Minute)
		if s.Minute > newest+1 {
			s.Minute = newest
		}
		samples[i] = s
	}
	r.Samples = samples // the sender keeps its own: it may send them again
	if off == 0 {
		return
	}
	callers := make([]series.Caller, len(r.Callers))
	for i, c := range r.Callers {
		c.First, c.Last = c.First.Add(off), c.Last.Add(off)
		callers[i] = c
	}
	r.Callers = callers
	if !r.From.IsZero() {
		r.From, r.To = r.From.Add(off), r.To.Add(off)
	}
}
