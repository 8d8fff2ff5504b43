// Package token mints and verifies session tokens. They are stateless: a
// token is an expiry sealed with AES-256-GCM under a key of its instance, so it
// survives a restart, is valid on every node that holds the instance's keys,
// and is worth nothing on another instance. Time and randomness are parameters.
package token

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// EpochLength is how long one master key mints. It is longer than the longest
// life of a token, so that the previous epoch's master covers every token that
// is still alive.
const EpochLength = 12 * time.Hour

// Master is the secret of one epoch. It never leaves the control plane: nodes
// of a fleet receive keys derived for their own instances.
type Master [32]byte

// held is how many epochs a ring holds: previous, current and next. The next
// one is there so that a node whose clock is ahead is understood.
const held = 3

// Secrets are the masters of three epochs in a row, the first of which is
// epoch First.
type Secrets struct {
	First   int64
	Masters [held]Master
}

// Epoch returns the number of the epoch that t falls into.
func Epoch(t time.Time) int64 { return t.Unix() / int64(EpochLength/time.Second) }

// NewSecrets makes random masters for the epochs around now.
func NewSecrets(now time.Time, random io.Reader) (Secrets, error) {
	s := Secrets{First: Epoch(now) - 1}
	for i := range s.Masters {
		if _, err := io.ReadFull(random, s.Masters[i][:]); err != nil {
			return Secrets{}, fmt.Errorf("make token master key: %w", err)
		}
	}
	return s, nil
}

// Advance returns the secrets for now: masters of epochs that are over are
// dropped and new ones made. It reports false when nothing had to change. A
// clock that went backwards changes nothing.
func (s Secrets) Advance(now time.Time, random io.Reader) (Secrets, bool, error) {
	shift := Epoch(now) - 1 - s.First
	if shift <= 0 {
		return s, false, nil
	}
	next, err := NewSecrets(now, random)
	if err != nil {
		return s, false, err
	}
	for i := range next.Masters {
		if from := int64(i) + shift; from < held {
			next.Masters[i] = s.Masters[from]
		}
	}
	return next, true, nil
}

// Ring holds the secrets in force. It is safe for concurrent use.
type Ring struct{ secrets atomic.Pointer[Secrets] }

// NewRing returns a ring that holds s.
func NewRing(s Secrets) *Ring {
	r := &Ring{}
	r.Set(s)
	return r
}

// Set replaces the secrets.
func (r *Ring) Set(s Secrets) { r.secrets.Store(&s) }

// Secrets returns the secrets in force.
func (r *Ring) Secrets() Secrets { return *r.secrets.Load() }

// key derives the key of an instance for the i-th epoch that s holds.
func (s *Secrets) key(i int, instance string) ([]byte, error) {
	return hkdf.Key(sha256.New, s.Masters[i][:], nil, "openimds session token\x00"+instance, 32)
}

// String keeps the masters out of logs.
func (s Secrets) String() string { return fmt.Sprintf("token secrets from epoch %d", s.First) }

// GoString keeps the masters out of %#v.
func (s Secrets) GoString() string { return s.String() }
