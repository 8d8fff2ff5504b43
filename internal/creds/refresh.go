package creds

import (
	"container/heap"
	"context"
	"log/slog"
	"time"
)

// forgetEvery is how often the holders of instances that are gone are dropped.
const forgetEvery = 10 * time.Minute

// Run refreshes sets ahead of their end until ctx is done, and waits for the
// calls that it began. A set that no client got is not refreshed: it is made
// when somebody asks, so that an instance which uses no role costs nothing.
func (b *Broker) Run(ctx context.Context) {
	sweep := time.NewTicker(forgetEvery)
	defer sweep.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next := b.runDue()
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(max(0, next.Sub(b.cfg.Now())))
		}
		select {
		case <-ctx.Done():
			b.flying.Wait()
			return
		case <-timer.C:
		case <-b.wake:
		case <-sweep.C:
			b.forget()
		}
	}
}

// runDue begins what is due and returns when the next event is; zero: there
// is none.
func (b *Broker) runDue() time.Time {
	now := b.cfg.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.events) > 0 {
		if b.events[0].at.After(now) {
			return b.events[0].at
		}
		e := heap.Pop(&b.events).(event)
		b.flying.Go(func() { e.h.refresh(e.i, e.set) })
	}
	return time.Time{}
}

// plan has a slot looked at again: at the given time, and before that when
// the set that it holds alarms or ends.
func (b *Broker) plan(h *Holder, i int, k *set, at time.Time) {
	now := b.cfg.Now()
	for _, earlier := range []time.Time{k.alarm, k.Expires} {
		if earlier.After(now) && earlier.Before(at) {
			at = earlier
		}
	}
	b.mu.Lock()
	heap.Push(&b.events, event{at, h, i, k})
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// refresh gets the successor of a set, if it is still the one that is held and
// a client uses it.
func (h *Holder) refresh(i int, k *set) {
	b, s := h.b, &h.slots[i]
	now := b.cfg.Now()
	if s.held.Load() != k {
		return
	}
	if !now.Before(k.Expires) {
		s.mu.Lock()
		if s.held.Load() == k {
			if s.asked.Load() {
				b.count.ended.Add(1)
			}
			b.replace(s, nil)
		}
		s.mu.Unlock()
		return
	}
	in, ok := b.cfg.Find(h.id)
	switch {
	case !ok, in.Role == nil, !k.role.of(in), in.Role.Credentials != nil:
		h.drop()
		return
	case !s.asked.Load(), i == 0 && in.Metadata.TokensRequired():
		b.plan(h, i, k, k.Expires) // to be forgotten then
		return
	}
	f, mine := h.board(in, i, k)
	if mine {
		h.fly(f, b.cfg.Choose(in), in, i)
	}
	<-f.done
	if f.err != nil && s.held.Load() == k && !b.cfg.Now().Before(k.alarm) {
		b.alarm(h.id, k)
	}
}

// alarm makes known that a set ends soon and has no successor.
func (b *Broker) alarm(id string, k *set) {
	r := k.shared
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ending[k] {
		return
	}
	if r.ending == nil {
		r.ending = map[*set]bool{}
	}
	r.ending[k] = true
	b.count.ending.Add(1)
	if len(r.ending) == 1 {
		b.log.Error("role credentials end soon and cannot be refreshed: the source must be mended before",
			"role", k.role, "instance", id, "ends", k.Expires.UTC(), "left", k.Expires.Sub(b.cfg.Now()).Round(time.Second))
	}
}

// calm ends the alarm for a set.
func (b *Broker) calm(k *set) {
	r := k.shared
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ending[k] {
		delete(r.ending, k)
		b.count.ending.Add(-1)
	}
}

// event is when a slot is looked at.
type event struct {
	at  time.Time
	h   *Holder
	i   int
	set *set
}

// events is a heap, the earliest first.
type events []event

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }

// Push appends.
func (e *events) Push(x any) { *e = append(*e, x.(event)) }

// Pop removes the last.
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	(*e)[len(*e)-1] = event{} // what it points to may go
	*e = (*e)[:len(*e)-1]
	return last
}

// LogValue names a role in a log.
func (k roleKey) LogValue() slog.Value {
	return slog.StringValue(k.dialect + "/" + k.account + "/" + k.name)
}
