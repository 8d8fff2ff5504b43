package throttle_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openimds/internal/throttle"
)

func TestBurstThenRate(t *testing.T) {
	p := throttle.PerSecond(10, 3)
	var l throttle.Limiter
	now := int64(time.Hour)
	for i := range 3 {
		if _, ok := l.Allow(p, now); !ok {
			t.Fatalf("request %d of the burst is refused", i)
		}
	}
	wait, ok := l.Allow(p, now)
	if ok || wait != 100*time.Millisecond {
		t.Fatalf("after the burst: %v, %v", wait, ok)
	}
	if _, ok := l.Allow(p, now+int64(wait)-1); ok {
		t.Error("allowed before the wait is over")
	}
	if _, ok := l.Allow(p, now+int64(wait)); !ok {
		t.Error("refused after the wait")
	}
}

func TestNoLimit(t *testing.T) {
	var l throttle.Limiter
	for range 1000 {
		if _, ok := l.Allow(throttle.PerSecond(0, 0), 0); !ok {
			t.Fatal("refused without a limit")
		}
	}
}

// In any window the requests allowed are at most the burst and what the rate
// gives in that time, and the wait that is named is always enough.
func TestLaw(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := throttle.Policy{
			Interval: time.Duration(rapid.Int64Range(1, 1000).Draw(rt, "interval")),
			Burst:    rapid.IntRange(1, 20).Draw(rt, "burst"),
		}
		var l throttle.Limiter
		now := rapid.Int64Range(0, 1<<40).Draw(rt, "start")
		start, allowed := now, int64(0)
		for range rapid.IntRange(1, 200).Draw(rt, "n") {
			now += rapid.Int64Range(0, 2*int64(p.Interval)).Draw(rt, "gap")
			wait, ok := l.Allow(p, now)
			if ok {
				allowed++
			} else {
				now += int64(wait)
				if _, ok := l.Allow(p, now); !ok {
					rt.Fatal("refused after the wait that was named")
				}
				allowed++
			}
			if most := int64(p.Burst) + (now-start)/int64(p.Interval); allowed > most {
				rt.Fatalf("%d allowed, at most %d are due", allowed, most)
			}
		}
	})
}

func TestConcurrent(t *testing.T) {
	p := throttle.Policy{Interval: time.Second, Burst: 100}
	var l throttle.Limiter
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if _, ok := l.Allow(p, 1); ok {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if allowed.Load() != 100 {
		t.Errorf("%d allowed at one instant, want the burst of 100", allowed.Load())
	}
}

func BenchmarkAllow(b *testing.B) {
	var l throttle.Limiter
	p := throttle.PerSecond(1e9, 1e6)
	var now int64
	for b.Loop() {
		now += 2
		l.Allow(p, now)
	}
}
