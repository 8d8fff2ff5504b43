package creds_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"openimds/internal/creds"
	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/testnet"
)

// bed is a broker, the instances it knows, and a source that a test can make
// fail.
type bed struct {
	*creds.Broker
	log bytes.Buffer

	mu        sync.Mutex // guards what follows
	instances map[string]*instance.Instance
	calls     []call
	life      time.Duration
	fail      error
	delay     time.Duration
	local     bool
}

// call is one that the source got.
type call struct {
	at       time.Time
	id       string
	delivery string
}

func newBed(ids int, change func(*bed, *creds.Config)) *bed {
	b := &bed{instances: map[string]*instance.Instance{}, life: 6 * time.Hour}
	for i := range ids {
		id := fmt.Sprintf("i-%d", i)
		b.instances[id] = guest(id, "ecs")
	}
	cfg := creds.Config{
		Choose: func(*instance.Instance) creds.Choice {
			return creds.Choice{Name: "test", Source: creds.SourceFunc(b.fetch), Local: b.local}
		},
		Find: func(id string) (*instance.Instance, bool) {
			b.mu.Lock()
			defer b.mu.Unlock()
			in, ok := b.instances[id]
			return in, ok
		},
		Logger: testnet.Logger(&b.log, nil),
	}
	if change != nil {
		change(b, &cfg)
	}
	b.Broker = creds.New(cfg)
	return b
}

func guest(id, dialect string) *instance.Instance {
	return &instance.Instance{ID: id, Dialect: dialect, Account: "1", Role: &instance.Role{Name: "web"}}
}

func (b *bed) fetch(ctx context.Context, r creds.Request) (*instance.Credentials, error) {
	b.mu.Lock()
	b.calls = append(b.calls, call{time.Now(), r.Instance.ID, r.Delivery})
	n, life, fail, delay := len(b.calls), b.life, b.fail, b.delay
	b.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, fault.Wrap(fault.Unavailable, ctx.Err(), "ask the source")
		}
	}
	if fail != nil {
		return nil, fail
	}
	now := time.Now().UTC()
	return &instance.Credentials{
		AccessKeyID: fmt.Sprintf("KEY-%d", n), AccessKeySecret: fmt.Sprintf("hidden-secret-%d", n), SessionToken: fmt.Sprintf("hidden-token-%d", n),
		Updated: now, Expires: now.Add(life),
	}, nil
}

func (b *bed) get(id string, tokened bool) (*instance.Credentials, error) {
	b.mu.Lock()
	in := b.instances[id]
	b.mu.Unlock()
	return b.Holder(id).Get(in, tokened, time.Now().Unix())
}

func (b *bed) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

func (b *bed) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.calls)
}

// running runs a test while the broker runs, in a bubble of time.
func running(t *testing.T, b func() *bed, test func(t *testing.T, b *bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		bed := b()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			bed.Run(ctx)
			close(done)
		}()
		test(t, bed)
		stop()
		<-done
	})
}

// TestTwoDeliveries: two sets with keys of their own, made once each
// (EC2-CRED-07, ECS-CRED-10).
func TestTwoDeliveries(t *testing.T) {
	running(t, func() *bed { return newBed(1, nil) }, func(t *testing.T, b *bed) {
		free, err := b.get("i-0", false)
		if err != nil {
			t.Fatal(err)
		}
		tokened, err := b.get("i-0", true)
		if err != nil {
			t.Fatal(err)
		}
		again, err := b.get("i-0", true)
		if err != nil || again != tokened || free.AccessKeyID == tokened.AccessKeyID {
			t.Errorf("%v, %v, %v, %v", free, tokened, again, err)
		}
		if b.calls[0].delivery != "1.0" || b.calls[1].delivery != "2.0" || len(b.calls) != 2 {
			t.Errorf("calls %v", b.calls)
		}
		// Where tokens are required, only the second is made.
		required := guest("i-0", "ecs")
		required.Metadata.HTTPTokens = instance.Required
		b.set(func() { b.instances["i-0"] = required })
		if k, err := b.get("i-0", false); fault.KindOf(err) != fault.Denied {
			t.Errorf("token-free where tokens are required: %v, %v", k, err)
		}
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		for _, c := range b.calls[2:] {
			if c.delivery != "2.0" {
				t.Errorf("delivery %s was refreshed where tokens are required", c.delivery)
			}
		}
	})
}

// TestOtherRole: a set of the role before is not served, and no role gets
// nothing.
func TestOtherRole(t *testing.T) {
	running(t, func() *bed { return newBed(1, nil) }, func(t *testing.T, b *bed) {
		first, err := b.get("i-0", true)
		if err != nil {
			t.Fatal(err)
		}
		other := guest("i-0", "ecs")
		other.Role.Name = "db"
		b.set(func() { b.instances["i-0"] = other })
		second, err := b.get("i-0", true)
		if err != nil || second.AccessKeyID == first.AccessKeyID {
			t.Errorf("after the role was replaced: %v, %v", second, err)
		}
		none := guest("i-0", "ecs")
		none.Role = nil
		b.set(func() { b.instances["i-0"] = none })
		if k, err := b.get("i-0", true); fault.KindOf(err) != fault.NotFound {
			t.Errorf("without a role: %v, %v", k, err)
		}
		b.set(func() { b.fail = fault.New(fault.Denied, "no"); b.instances["i-0"] = other })
		b.DropRole("ecs", "1", "web")
		if _, err := b.get("i-0", true); err != nil {
			t.Errorf("another role was dropped: %v", err)
		}
		b.DropRole("ecs", "1", "db")
		if k, err := b.get("i-0", true); err == nil {
			t.Errorf("a dropped set is served: %v", k)
		}
		// A flight that began before a drop must not land after it.
		b.set(func() { b.fail, b.delay = nil, 100*time.Millisecond; b.instances["i-0"] = guest("i-0", "ecs") })
		go func() {
			time.Sleep(50 * time.Millisecond)
			b.DropInstance("i-0")
		}()
		before := b.count()
		if _, err := b.get("i-0", true); err != nil || b.count() != before+2 {
			t.Errorf("dropped on its way: %d calls, %v", b.count()-before, err)
		}
	})
}

// TestRefusals: what is refused is remembered for a bounded time and logged
// once for a role.
func TestRefusals(t *testing.T) {
	running(t, func() *bed { return newBed(50, nil) }, func(t *testing.T, b *bed) {
		b.set(func() { b.fail = fault.New(fault.Denied, "the role does not trust us") })
		for i := range 50 {
			for range 10 {
				if _, err := b.get(fmt.Sprintf("i-%d", i), true); fault.KindOf(err) != fault.Denied {
					t.Fatal(err)
				}
			}
		}
		if b.count() != 50 {
			t.Errorf("%d calls for 50 instances", b.count())
		}
		if n := strings.Count(b.log.String(), "the role does not trust us"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, &b.log)
		}
		b.set(func() { b.fail = nil })
		time.Sleep(61 * time.Second)
		if _, err := b.get("i-0", true); err != nil {
			t.Errorf("a minute later: %v", err)
		}
		if !strings.Contains(b.log.String(), "had again") {
			t.Errorf("the end was not logged:\n%s", &b.log)
		}
	})
}

// TestSlowSource: a client waits for a bounded time, and one call serves all
// that wait.
func TestSlowSource(t *testing.T) {
	running(t, func() *bed { return newBed(1, nil) }, func(t *testing.T, b *bed) {
		b.delay = 3 * time.Second
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				start := time.Now()
				if _, err := b.get("i-0", true); fault.KindOf(err) != fault.Unavailable {
					t.Errorf("before it is there: %v", err)
				}
				if took := time.Since(start); took != 800*time.Millisecond {
					t.Errorf("waited %v", took)
				}
			})
		}
		wg.Wait()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if _, err := b.get("i-0", true); err != nil || b.count() != 1 {
			t.Errorf("%d calls, %v", b.count(), err)
		}
	})
}

// TestBudget: thousands of instances that start at once do not overrun a
// source, and all of them come by their credentials.
func TestBudget(t *testing.T) {
	const many = 3_000
	running(t, func() *bed { return newBed(many, nil) }, func(t *testing.T, b *bed) {
		var wg sync.WaitGroup
		for i := range many {
			wg.Go(func() {
				for {
					if _, err := b.get(fmt.Sprintf("i-%d", i), true); err == nil {
						return
					}
					time.Sleep(5 * time.Second)
				}
			})
		}
		wg.Wait()
		perSecond := map[int64]int{}
		for _, c := range b.calls {
			perSecond[c.at.Unix()]++
		}
		for at, n := range perSecond {
			if n > 61 {
				t.Errorf("%d calls in second %d", n, at)
			}
		}
		if len(b.calls) != many {
			t.Errorf("%d calls", len(b.calls))
		}
	})
}

func TestBadSets(t *testing.T) {
	for name, k := range map[string]*instance.Credentials{
		"none":    nil,
		"no key":  {AccessKeyID: "K"},
		"expired": {AccessKeyID: "K", AccessKeySecret: "hidden", Expires: time.Now().Add(-time.Minute)},
	} {
		b := creds.New(creds.Config{
			Choose: func(*instance.Instance) creds.Choice {
				return creds.Choice{Name: "bad", Local: true, Source: creds.SourceFunc(func(context.Context, creds.Request) (*instance.Credentials, error) { return k, nil })}
			},
			Find: func(string) (*instance.Instance, bool) { return nil, false },
		})
		if got, err := b.Holder("i").Get(guest("i", "ec2"), true, time.Now().Unix()); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestGetAllocatesNothing while a set is held.
func TestGetAllocatesNothing(t *testing.T) {
	b := newBed(1, func(b *bed, _ *creds.Config) { b.local = true })
	in, h := guest("i-0", "ec2"), b.Holder("i-0")
	now := time.Now().Unix()
	if _, err := h.Get(in, true, now); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := h.Get(in, true, now); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
