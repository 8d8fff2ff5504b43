package alisign_test

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openimds/internal/api/alisign"
)

// TestNoncesLaws holds the memory against a list of all uses: within the window
// a nonce is refused, after twice the window it is free, and there are never
// more than the limit.
func TestNoncesLaws(t *testing.T) {
	const window = time.Minute
	rapid.Check(t, func(r *rapid.T) {
		limit := rapid.IntRange(0, 8).Draw(r, "limit")
		n := alisign.NewNonces(window, limit)
		now := noon
		last := map[string]time.Time{}
		var uses []time.Time
		for range rapid.IntRange(1, 60).Draw(r, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 50).Draw(r, "seconds")) * time.Second)
			nonce := strconv.Itoa(rapid.IntRange(0, 9).Draw(r, "nonce"))
			at, seen := last[nonce]
			held, certain := 0, 0
			for _, u := range uses {
				if now.Sub(u) < 2*window {
					held++
				}
				if now.Sub(u) < window {
					certain++
				}
			}
			err := n.Use(nonce, now)
			switch {
			case errors.Is(err, alisign.ErrUsed):
				if !seen || now.Sub(at) >= 2*window {
					r.Fatalf("%s refused at %v, used %v at %v", nonce, now, seen, at)
				}
			case errors.Is(err, alisign.ErrFull):
				if held < limit {
					r.Fatalf("full with %d of %d", held, limit)
				}
			case err != nil:
				r.Fatal(err)
			default:
				if seen && now.Sub(at) <= window {
					r.Fatalf("%s accepted at %v, used at %v", nonce, now, at)
				}
				if certain >= limit {
					r.Fatalf("accepted with %d of %d", certain, limit)
				}
				last[nonce] = now
				uses = append(uses, now)
			}
		}
	})
}

// TestNoncesWhenTheClockIsSetBack: they are kept, and not for ever.
func TestNoncesWhenTheClockIsSetBack(t *testing.T) {
	n := alisign.NewNonces(time.Minute, 1)
	if err := n.Use("a", noon); err != nil {
		t.Fatal(err)
	}
	yesterday := noon.Add(-24 * time.Hour)
	if err := n.Use("a", yesterday); !errors.Is(err, alisign.ErrUsed) {
		t.Errorf("forgotten: %v", err)
	}
	if err := n.Use("b", yesterday); !errors.Is(err, alisign.ErrFull) {
		t.Errorf("no room is %v", err)
	}
	if err := n.Use("b", yesterday.Add(2*time.Minute)); err != nil {
		t.Errorf("still full after two windows: %v", err)
	}
}

// TestNoncesConcurrently: of many uses at once, one wins.
func TestNoncesConcurrently(t *testing.T) {
	n := alisign.NewNonces(time.Minute, 1000)
	var wins atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range 100 {
				if n.Use(strconv.Itoa(i), noon) == nil {
					wins.Add(1)
				}
			}
		})
	}
	group.Wait()
	if wins.Load() != 100 {
		t.Errorf("100 nonces were used %d times", wins.Load())
	}
}
