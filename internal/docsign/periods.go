package docsign

import (
	"slices"
	"time"
)

// Periods say how long a key does what. A key is published for Ahead before it
// signs, signs for Life, and stays published for Keep after that.
type Periods struct {
	// Life is how long a key signs. Default: 365 days.
	Life time.Duration
	// Ahead is how long a certificate is published before its key signs: the
	// time that people have to bring it to their verifiers. Default: 60 days.
	Ahead time.Duration
	// Keep is how long a certificate stays published when its key no longer
	// signs: how long a verifier may be shown an old document. Default: 90
	// days.
	Keep time.Duration
}

const day = 24 * time.Hour

func (p Periods) orDefault() Periods {
	if p.Life <= 0 {
		p.Life = 365 * day
	}
	if p.Ahead <= 0 {
		p.Ahead = 60 * day
	}
	if p.Keep <= 0 {
		p.Keep = 90 * day
	}
	return p
}

// notAfter is the end of the certificate of a key that signs from a time on. It
// leaves room for a service that was off when the next key was due.
func (p Periods) notAfter(from time.Time) time.Time {
	return from.Add(2*p.Life + p.Ahead + p.Keep)
}

// current returns the index of the key that signs at now, which is the newest
// that has begun; -1 without keys. Keys are in the order in which they begin.
func current(keys []*key, now time.Time) int {
	for i := len(keys) - 1; i > 0; i-- {
		if !now.Before(keys[i].from) {
			return i
		}
	}
	return min(len(keys), 1) - 1
}

// due tells whether a key is to be made at now, and from when on it signs.
func (p Periods) due(keys []*key, now time.Time) (from time.Time, ok bool) {
	if len(keys) == 0 {
		return now, true
	}
	last := keys[len(keys)-1]
	switch {
	case now.Add(p.Keep).After(last.certificate.NotAfter):
		// What it signs now could not be verified for as long as promised.
		return now, true
	case now.Before(last.from.Add(p.Life - p.Ahead)):
		return time.Time{}, false
	}
	if from = last.from.Add(p.Life); from.Before(now.Add(p.Ahead)) {
		from = now.Add(p.Ahead)
	}
	return from, true
}

// forget returns the keys without those whose successor has signed for Keep.
func (p Periods) forget(keys []*key, now time.Time) []*key {
	n := 0
	for n+1 < len(keys) && !now.Before(keys[n+1].from.Add(p.Keep)) {
		n++
	}
	return slices.Clone(keys[n:])
}
