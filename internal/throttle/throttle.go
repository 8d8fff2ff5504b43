// Package throttle limits the rate of one caller with the generic cell rate
// algorithm: the whole state is one word, moved by compare-and-swap.
package throttle

import (
	"sync/atomic"
	"time"
)

// Policy is a rate and how far a caller may run ahead of it. The zero value
// does not limit.
type Policy struct {
	// Interval between two requests at the sustained rate; 0: no limit.
	Interval time.Duration
	// Burst is how many requests may come at once, at least 1.
	Burst int
}

// PerSecond returns the policy of a rate in requests per second. A rate of 0
// or less does not limit.
func PerSecond(rate float64, burst int) Policy {
	if rate <= 0 {
		return Policy{}
	}
	return Policy{Interval: max(1, time.Duration(float64(time.Second)/rate)), Burst: max(1, burst)}
}

// Limiter is the state of one caller. The zero value has never seen a request.
type Limiter struct {
	// arrival is the theoretical arrival time in nanoseconds: when the
	// requests so far would have ended at the sustained rate.
	arrival atomic.Int64
}

// Allow reports whether a request at now, in nanoseconds of any steady clock,
// is within the policy, and if not, after how long the next one will be.
func (l *Limiter) Allow(p Policy, now int64) (wait time.Duration, ok bool) {
	if p.Interval <= 0 {
		return 0, true
	}
	ahead := int64(p.Interval) * int64(max(1, p.Burst))
	for {
		old := l.arrival.Load()
		next := max(old, now) + int64(p.Interval)
		if next-now > ahead {
			return time.Duration(next - now - ahead), false
		}
		if l.arrival.CompareAndSwap(old, next) {
			return 0, true
		}
	}
}
