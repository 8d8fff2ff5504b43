package alisign

import (
	"crypto/sha256"
	"errors"
	"sync"
	"time"
)

// ErrUsed says that a nonce was used within the window.
var ErrUsed = errors.New("nonce has been used")

// ErrFull says that no further nonce can be remembered. What cannot be
// remembered must not be accepted: to forget another instead would let whoever
// holds one key replay what was signed with another.
var ErrFull = errors.New("too many nonces in use")

// Nonces remembers what may be used once only. Each costs the same few bytes,
// however long it is. The memory belongs to one process: behind a balancer, a
// request can be repeated once on each. Nonces is safe for concurrent use.
type Nonces struct {
	window time.Duration
	limit  int

	mu sync.Mutex
	// Guarded by mu: what was used since begun, and what was used in the window
	// before that, which goes when recent is a window old.
	recent, before map[nonceSum]struct{}
	begun          time.Time
}

type nonceSum [16]byte

// NewNonces remembers each nonce for the window at least and twice the window
// at most, and never more than limit of them.
func NewNonces(window time.Duration, limit int) *Nonces {
	return &Nonces{window: window, limit: limit, recent: map[nonceSum]struct{}{}}
}

// Use returns ErrUsed if the nonce was used within the window that ends now,
// and ErrFull if there is no room; otherwise the nonce is used from now on.
func (n *Nonces) Use(nonce string, now time.Time) error {
	sum := sha256.Sum256([]byte(nonce))
	key := nonceSum(sum[:])

	n.mu.Lock()
	defer n.mu.Unlock()
	n.forget(now)
	if _, used := n.recent[key]; used {
		return ErrUsed
	}
	if _, used := n.before[key]; used {
		return ErrUsed
	}
	if len(n.recent)+len(n.before) >= n.limit {
		return ErrFull
	}
	n.recent[key] = struct{}{}
	return nil
}

// forget drops what is older than the window, a whole map at a time.
func (n *Nonces) forget(now time.Time) {
	switch age := now.Sub(n.begun); {
	case age >= 2*n.window:
		n.before, n.recent, n.begun = nil, map[nonceSum]struct{}{}, now
	case age >= n.window:
		n.before, n.recent, n.begun = n.recent, map[nonceSum]struct{}{}, n.begun.Add(n.window)
	case age < -n.window:
		// The clock was set back: what is remembered stays for a window more.
		n.begun = now
	}
}
