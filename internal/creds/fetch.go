package creds

import (
	"context"
	"time"

	"openimds/internal/fault"
	"openimds/internal/instance"
)

// flight is a call to a source, for whoever waits for it.
type flight struct {
	role roleKey
	done chan struct{}
	// What came of it, once done is closed.
	creds *instance.Credentials
	err   error
}

// errLate is what a client is told that does not wait any longer. The call
// goes on, and the client will ask again.
var errLate = fault.New(fault.Unavailable, "the credentials are not there yet")

// wait makes sure that a call to the source is under way, and waits for it as
// long as a client may be kept waiting. Seen is the set that is not good enough.
func (h *Holder) wait(in *instance.Instance, i int, seen *set) (*instance.Credentials, error) {
	choice := h.b.cfg.Choose(in)
	f, mine := h.board(in, i, seen)
	switch {
	case mine && choice.Local:
		h.fly(f, choice, in, i)
	case mine:
		h.b.flying.Go(func() { h.fly(f, choice, in, i) })
	}
	late := time.NewTimer(h.b.cfg.Wait)
	defer late.Stop()
	select {
	case <-f.done:
		if f.err == nil {
			h.slots[i].asked.Store(true)
		}
		return f.creds, f.err
	case <-late.C:
		return nil, errLate
	}
}

// board returns the flight of a slot, and whether the caller has to carry it
// out. One that landed since the caller saw a set, or none, is good enough.
func (h *Holder) board(in *instance.Instance, i int, seen *set) (_ *flight, mine bool) {
	s := &h.slots[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.held.Load(); k != nil && k != seen && k.role.of(in) && k.until > h.b.cfg.Now().Unix() {
		landed := &flight{role: k.role, done: make(chan struct{}), creds: k.Credentials}
		close(landed.done)
		return landed, false
	}
	if s.flight != nil && s.flight.role.of(in) {
		return s.flight, false
	}
	// A flight for another role lands without effect.
	s.flight = &flight{role: keyOf(in), done: make(chan struct{})}
	return s.flight, true
}

// mostTries bounds how often a set is asked for anew because what is held was
// dropped meanwhile.
const mostTries = 3

// fly calls the source and lands: what came of it is held, or remembered.
func (h *Holder) fly(f *flight, choice Choice, in *instance.Instance, i int) {
	defer close(f.done)
	for range mostTries {
		generation := h.generation.Load()
		creds, err := h.b.call(choice, Request{Instance: in, Delivery: deliveries[i]})
		if h.land(f, generation, creds, err, in, i) {
			break
		}
		f.err = errLate
	}
	s := &h.slots[i]
	s.mu.Lock()
	if s.flight == f { // it was dropped every time
		s.flight = nil
	}
	s.mu.Unlock()
	h.b.report(h.id, choice, in, f.err, h.slots[i].held.Load())
}

// land reports false if what is held was dropped after the call began: then
// the answer may be older than the reason for that.
func (h *Holder) land(f *flight, generation uint64, creds *instance.Credentials, err error, in *instance.Instance, i int) bool {
	b, s := h.b, &h.slots[i]
	now := b.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.generation.Load() != generation {
		return false
	}
	current := s.flight == f
	if current {
		s.flight = nil
	}
	if f.creds, f.err = creds, err; !current {
		return true
	}
	if err != nil {
		s.fails++
		s.refused.Store(&refusal{f.role, err, b.remember(err, s.fails, now)})
		if k := s.held.Load(); k != nil && k.role != f.role {
			b.replace(s, nil)
		} else if k != nil && !k.refresh.IsZero() {
			b.plan(h, i, k, now.Add(b.backoff(s.fails)))
		}
		return true
	}
	k := b.newSet(creds, in, now)
	s.fails = 0
	s.asked.Store(false)
	b.replace(s, k)
	s.refused.Store(nil)
	if !k.refresh.IsZero() {
		b.plan(h, i, k, k.refresh)
	}
	return true
}

// replace puts a set, or nil, in the place of what a slot holds; its lock is
// held.
func (b *Broker) replace(s *slot, next *set) {
	if old := s.held.Swap(next); old != nil {
		b.calm(old)
	}
}

// call asks a source, within its budget and the time that a call may take.
func (b *Broker) call(choice Choice, r Request) (*instance.Credentials, error) {
	ctx, cancel := context.WithTimeout(context.Background(), b.cfg.Timeout)
	defer cancel()
	if !choice.Local {
		if err := b.spend(ctx, r); err != nil {
			return nil, err
		}
		select {
		case b.slots <- struct{}{}:
			defer func() { <-b.slots }()
		case <-ctx.Done():
			return nil, fault.New(fault.Throttled, "too many calls to sources of credentials are under way")
		}
	}
	k, err := choice.Source.Fetch(ctx, r)
	switch {
	case err != nil:
		return nil, err
	case k == nil || k.AccessKeyID == "" || k.AccessKeySecret == "":
		return nil, fault.New(fault.Internal, "the source %s gave credentials without a key", choice.Name)
	}
	now := b.cfg.Now()
	if !k.Expires.IsZero() && k.Expires.Sub(now) < time.Second {
		return nil, fault.New(fault.Unavailable, "the source %s gave credentials that are over: they expired at %s", choice.Name, k.Expires.UTC().Format(time.RFC3339))
	}
	if k.Updated.IsZero() && !k.Expires.IsZero() {
		dated := *k
		dated.Updated = now.UTC()
		k = &dated
	}
	return k, nil
}

// spend waits until the role's budget allows a call.
func (b *Broker) spend(ctx context.Context, r Request) error {
	role := b.role(keyOf(r.Instance))
	late := fault.New(fault.Throttled, "too many instances ask for credentials of role %s", r.Instance.Role.Name)
	// One at a time looks at the budget; the others would all wake for one
	// place.
	select {
	case role.turn <- struct{}{}:
		defer func() { <-role.turn }()
	case <-ctx.Done():
		return late
	}
	for {
		wait, ok := role.limiter.Allow(b.cfg.Budget, b.cfg.Now().UnixNano())
		if ok {
			return nil
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return late
		}
	}
}

// remember returns until when a refusal stands, in Unix seconds: what asking
// again does not change for long, the rest the longer the more often it fails.
func (b *Broker) remember(err error, fails int, now time.Time) int64 {
	life := min(b.cfg.Refused, time.Second<<min(fails, 6))
	switch fault.KindOf(err) {
	case fault.Denied, fault.NotFound, fault.Invalid, fault.Unsupported:
		life = b.cfg.Refused
	}
	return now.Add(life).Unix()
}

// backoff is how long a refresh that failed waits to be tried again.
func (b *Broker) backoff(fails int) time.Duration {
	base := min(5*time.Second<<min(fails, 8), 5*time.Minute)
	return base/2 + time.Duration(b.cfg.Random()*float64(base/2))
}
