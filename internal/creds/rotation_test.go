package creds_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"openimds/internal/creds"
	"openimds/internal/fault"
	"openimds/internal/instance"
)

// client refreshes its credentials as a kind of SDK does.
type client struct {
	name string
	// early is how long before the end it asks for others; whole: it asks at
	// every look, as programs without a cache do.
	early time.Duration
	whole bool
}

// clients of the field: how long before the end each of them asks (ECS-CRED-04,
// EC2-CRED-05).
var clients = []client{
	{name: "credentials-go", early: 180 * time.Second},
	{name: "botocore", early: 15 * time.Minute},
	{name: "aws-sdk-go-v2", early: 5 * time.Minute},
	{name: "npm credentials", early: time.Hour},
	{name: "no cache", whole: true},
}

// live lets a client look at its credentials every minute and a half for as
// long as the test goes on.
func (c client) live(t *testing.T, b *bed, id string, tokened bool, until time.Time) {
	var held *instance.Credentials
	start := time.Now()
	for time.Now().Before(until) {
		now := time.Now()
		if held == nil || c.whole || held.Expires.Sub(now) <= c.early {
			next, err := b.get(id, tokened)
			if held == nil && fault.KindOf(err) == fault.Unavailable && now.Sub(start) < 30*time.Second {
				time.Sleep(5 * time.Second) // all start at once, which the budget spreads
				continue
			}
			if err != nil {
				t.Errorf("%s at %v: %v", c.name, now, err)
				return
			}
			if held != nil && next.Expires.Before(held.Expires) {
				t.Errorf("%s at %v: credentials that end sooner than those before", c.name, now)
			}
			held = next
		}
		if !now.Before(held.Expires) {
			t.Errorf("%s at %v holds credentials that expired at %v", c.name, now, held.Expires)
			return
		}
		time.Sleep(90 * time.Second)
	}
}

// TestRotation: for 48 hours no client holds an expired set, none meets a gap,
// and the source is asked evenly.
func TestRotation(t *testing.T) {
	const many = 60
	for _, dialect := range []string{"ec2", "ecs"} {
		for _, local := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, local %v", dialect, local), func(t *testing.T) {
				running(t, func() *bed {
					return newBed(many, func(b *bed, c *creds.Config) {
						b.local, b.delay = local, 200*time.Millisecond
						random := rand.New(rand.NewPCG(1, 2))
						var mu sync.Mutex
						c.Random = func() float64 {
							mu.Lock()
							defer mu.Unlock()
							return random.Float64()
						}
						for id := range b.instances {
							b.instances[id] = guest(id, dialect)
						}
					})
				}, func(t *testing.T, b *bed) {
					until := time.Now().Add(48 * time.Hour)
					var wg sync.WaitGroup
					for i := range many {
						for _, tokened := range []bool{false, true} {
							wg.Go(func() { clients[i%len(clients)].live(t, b, fmt.Sprintf("i-%d", i), tokened, until) })
						}
					}
					wg.Wait()
					if s := b.Stats(); s.Ended != 0 || s.Failed != 0 || s.Refused != 0 || s.Ending != 0 {
						t.Errorf("%+v", s)
					}
					evenly(t, b, many)
				})
			})
		}
	}
}

// evenly looks for a herd: after the first hour, in which all start at once,
// no minute has more than a small part of the calls of a rotation.
func evenly(t *testing.T, b *bed, many int) {
	t.Helper()
	start := b.calls[0].at
	minutes := map[int]int{}
	for _, c := range b.calls {
		if since := c.at.Sub(start); since > time.Hour {
			minutes[int(since/time.Minute)]++
		}
	}
	for minute, n := range minutes {
		if n > many*2/8 {
			t.Errorf("%d of %d sets were refreshed in minute %d", n, many*2, minute)
		}
	}
	// 48 hours of sets that live for six and are refreshed up to an hour and a
	// half ahead.
	if n := len(b.calls); n < many*2*8 || n > many*2*12 {
		t.Errorf("%d calls for %d sets", n, many*2)
	}
}

// TestOverlap: a successor is there half an hour before the end for ECS, and
// five minutes for EC2, and the set before is good to its end (ECS-CRED-04,
// EC2-CRED-05); also of the hour that an upstream STS gives, and as far as a
// shorter life has room.
func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		dialect     string
		life, ahead time.Duration
	}{
		{"ecs", 6 * time.Hour, 30 * time.Minute},
		{"ecs", time.Hour, 30 * time.Minute},
		{"ecs", 15 * time.Minute, 450 * time.Second},
		{"ec2", 6 * time.Hour, 20 * time.Minute},
		{"ec2", time.Hour, 20 * time.Minute},
		{"ec2", 10 * time.Minute, 5 * time.Minute},
	} {
		running(t, func() *bed {
			return newBed(1, func(b *bed, cfg *creds.Config) {
				b.instances["i-0"], b.life = guest("i-0", c.dialect), c.life
				cfg.Random = func() float64 { return 0 } // as late as can be
			})
		}, func(t *testing.T, b *bed) {
			first, err := b.get("i-0", true)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Until(first.Expires) - c.ahead)
			synctest.Wait()
			second, err := b.get("i-0", true)
			if err != nil || second.AccessKeyID == first.AccessKeyID {
				t.Errorf("%s: %v before the end of %v the set is still the old one, %v", c.dialect, c.ahead, c.life, err)
			}
			if left := time.Until(first.Expires); left <= 0 {
				t.Errorf("%s: the old set was over before", c.dialect)
			}
		})
	}
}

// TestUnused: a set that no client came back for is let go, and costs nothing
// more.
func TestUnused(t *testing.T) {
	running(t, func() *bed { return newBed(1, nil) }, func(t *testing.T, b *bed) {
		if _, err := b.get("i-0", true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		if n := b.count(); n != 2 { // the second is there for a client that comes late
			t.Errorf("%d calls in two days", n)
		}
		if s := b.Stats(); s.Held != 0 || s.Ended != 0 {
			t.Errorf("%+v", s)
		}
		if _, err := b.get("i-0", true); err != nil || b.count() != 3 {
			t.Errorf("%d calls, %v", b.count(), err)
		}
	})
}

// TestSourceDown: the set that is held is served to its end and no longer; how
// long is said at once, an alarm comes before, and so does the end of it.
func TestSourceDown(t *testing.T) {
	running(t, func() *bed { return newBed(1, nil) }, func(t *testing.T, b *bed) {
		first, err := b.get("i-0", true)
		if err != nil {
			t.Fatal(err)
		}
		b.set(func() { b.fail = fault.New(fault.Unavailable, "the source is away") })
		until := func(left time.Duration) {
			time.Sleep(time.Until(first.Expires) - left)
			synctest.Wait()
		}
		until(20 * time.Minute)
		if got, err := b.get("i-0", true); err != nil || got != first {
			t.Errorf("while the source is away: %v, %v", got, err)
		}
		if log := b.log.String(); strings.Count(log, "could not be refreshed") != 1 || !strings.Contains(log, "left=") || strings.Contains(log, "end soon") {
			t.Errorf("the log:\n%s", log)
		}
		if s := b.Stats(); s.Ending != 0 || s.Failed == 0 {
			t.Errorf("before the alarm: %+v", s)
		}
		until(5 * time.Minute)
		if s := b.Stats(); s.Ending != 1 {
			t.Errorf("near the end: %+v", s)
		}
		if n := strings.Count(b.log.String(), "end soon"); n != 1 {
			t.Errorf("%d alarms:\n%s", n, &b.log)
		}
		until(0)
		time.Sleep(time.Second)
		if got, err := b.get("i-0", true); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("after the end: %v, %v", got, err)
		}
		synctest.Wait()
		if s := b.Stats(); s.Ended != 1 || s.Ending != 0 || s.Held != 0 {
			t.Errorf("after the end: %+v", s)
		}
		b.set(func() { b.fail = nil })
		time.Sleep(time.Minute)
		if _, err := b.get("i-0", true); err != nil {
			t.Errorf("the source is back: %v", err)
		}
		for _, hidden := range []string{"hidden-secret", "hidden-token"} {
			if strings.Contains(b.log.String(), hidden) {
				t.Errorf("the log has a secret")
			}
		}
	})
}

// TestShortSets: an upstream that gives a quarter of an hour.
func TestShortSets(t *testing.T) {
	running(t, func() *bed { return newBed(1, nil) }, func(t *testing.T, b *bed) {
		b.life = 15 * time.Minute
		client{name: "short", early: 3 * time.Minute}.live(t, b, "i-0", true, time.Now().Add(6*time.Hour))
		if s := b.Stats(); s.Ended != 0 || s.Failed != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestGone: what is held for an instance that is gone is forgotten.
func TestGone(t *testing.T) {
	running(t, func() *bed { return newBed(1, nil) }, func(t *testing.T, b *bed) {
		if _, err := b.get("i-0", true); err != nil {
			t.Fatal(err)
		}
		b.set(func() { delete(b.instances, "i-0") })
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if s := b.Stats(); s.Held != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestNeverStale: a set is not served at its end, whether or not anything runs
// that would have taken it away.
func TestNeverStale(t *testing.T) {
	for _, local := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newBed(1, func(b *bed, _ *creds.Config) { b.local = local })
			first, err := b.get("i-0", true)
			if err != nil {
				t.Fatal(err)
			}
			b.set(func() { b.fail = fault.New(fault.Unavailable, "the source is away") })
			time.Sleep(time.Until(first.Expires) - time.Second)
			if got, err := b.get("i-0", true); err != nil || got != first {
				t.Errorf("in its last second: %v, %v", got, err)
			}
			time.Sleep(time.Second)
			if got, err := b.get("i-0", true); err == nil {
				t.Errorf("at its end: %v", got)
			}
			b.set(func() { b.fail = nil })
			time.Sleep(time.Minute)
			if got, err := b.get("i-0", true); err != nil || got == first {
				t.Errorf("the source is back: %v, %v", got, err)
			}
		})
	}
}
