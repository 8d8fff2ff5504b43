package control

import (
	"context"
	"fmt"
	"slices"
	"time"

	"openimds/internal/instance"
	"openimds/internal/state"
)

// How often guarded switches are looked at.
const (
	lookTime   = 500 * time.Millisecond // at what is due
	lookAllFor = 15 * time.Second       // at the rejections of every instance, told of or not
)

// Wake makes Run look at once.
func (h *Hardener) Wake() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Reported tells of rejections of instances that were counted. It does not
// block.
func (h *Hardener) Reported(rejected map[string]uint64) {
	told := false
	h.mu.Lock()
	for id, n := range rejected {
		if _, ok := h.watched[id]; ok && n > 0 {
			h.live[id] += n
			h.dirty[id] = true
			told = true
		}
	}
	h.mu.Unlock()
	if told {
		h.Wake()
	}
}

// Run carries out guarded switches until ctx is done. What was under way when
// the process ended is taken up first: what was rejected meanwhile is returned.
func (h *Hardener) Run(ctx context.Context) {
	tick := time.NewTicker(lookTime)
	defer tick.Stop()
	h.step(ctx, true)
	all := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		case <-tick.C:
		}
		every := time.Since(all) >= lookAllFor
		if every {
			all = time.Now()
		}
		h.step(ctx, every)
	}
}

// step does what is due. With every, the rejections of all instances are looked
// at; otherwise of those that were told of.
func (h *Hardener) step(ctx context.Context, every bool) {
	h.stepping.Lock()
	defer h.stepping.Unlock()
	h.mu.Lock()
	dirty := h.dirty
	h.dirty = map[string]bool{}
	h.mu.Unlock()
	for _, r := range h.db.Hardenings.All(func(r *state.Hardening) bool { return r.Ended.IsZero() }) {
		if err := h.stepOne(ctx, *r, every, dirty); err != nil && ctx.Err() == nil {
			h.log.Error("a guarded switch does not go on; trying again", "hardening", r.ID, "err", err)
			h.mu.Lock()
			for id := range dirty {
				h.dirty[id] = true
			}
			h.mu.Unlock()
		}
	}
}

func (h *Hardener) stepOne(ctx context.Context, r state.Hardening, every bool, dirty map[string]bool) error {
	members := h.of(r.ID)
	// What must go back comes first, and none waits for another that cannot.
	var failed error
	heard := h.hearing(ctx)
	for _, m := range members {
		back := m.State == state.HardenedKept && r.State == state.HardeningAborted
		if m.State != state.HardenedWatched && !back {
			continue
		}
		h.watch(m)
		if err := h.settle(ctx, &r, m, every || dirty[m.Instance], heard); err != nil {
			failed = err
		}
	}
	if failed != nil {
		return failed
	}
	return h.advance(ctx, &r)
}

// hearing asks for each node at most once until when it was heard.
func (h *Hardener) hearing(ctx context.Context) func(node string) (time.Time, error) {
	known := map[string]time.Time{}
	return func(node string) (time.Time, error) {
		if t, ok := known[node]; ok {
			return t, nil
		}
		t, err := h.cfg.Heard(ctx, node)
		if err == nil {
			known[node] = t
		}
		return t, err
	}
}

// watch makes reports of rejections of a member heard.
func (h *Hardener) watch(m *state.Hardened) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.watched[m.Instance]; !ok {
		h.watched[m.Instance] = time.Time{}
	}
}

// rejected counts the rejections of a member since it was switched: as they are
// kept, or as they were told of, whichever are more, as a clock that jumps may
// have put what is kept elsewhere.
func (h *Hardener) rejected(ctx context.Context, m *state.Hardened) (uint64, error) {
	kept, err := h.cfg.Rejected(ctx, m.Instance, m.Since)
	h.mu.Lock()
	live := h.live[m.Instance]
	h.mu.Unlock()
	if kept >= m.Base {
		kept -= m.Base
	}
	return max(kept, live), err
}

// watchedFor is how long a member has been watched, by a clock that does not
// jump where there is one.
func (h *Hardener) watchedFor(m *state.Hardened) time.Duration {
	h.mu.Lock()
	since := h.watched[m.Instance]
	h.mu.Unlock()
	now := h.Control.cfg.Now()
	if !since.IsZero() {
		return now.Sub(since)
	}
	return now.Sub(m.Since)
}

// settle ends the watch of a member where it must.
func (h *Hardener) settle(ctx context.Context, r *state.Hardening, m *state.Hardened, look bool, heard func(node string) (time.Time, error)) error {
	over := m.State == state.HardenedWatched && h.watchedFor(m) >= r.Watch
	if !over && !look && r.State != state.HardeningAborted {
		return nil
	}
	in, ok := h.db.Instances.Get(m.Instance)
	if !ok || !alive(in) || !in.Spec.Metadata.TokensRequired() {
		return h.end(ctx, r, m, state.HardenedSkipped, "somebody else has changed it, or it is gone", 0)
	}
	if over && !look && !r.Rehearsal && r.State != state.HardeningAborted {
		until, err := heard(in.Spec.Node)
		if err != nil || until.Before(m.Since.Add(r.Watch)) {
			return err // what its node has counted until then is not known yet
		}
	}
	n, err := h.rejected(ctx, m)
	if err != nil {
		return err
	}
	switch {
	case m.State == state.HardenedWatched && r.ReturnAt > 0 && n >= r.ReturnAt:
		return h.end(ctx, r, m, state.HardenedReturned, fmt.Sprintf("%d requests without a token were refused", n), n)
	case r.State == state.HardeningAborted:
		return h.end(ctx, r, m, state.HardenedUndone, r.Why, n)
	case over && r.Rehearsal:
		return h.end(ctx, r, m, state.HardenedRehearsed, "the rehearsal is over", n)
	case over:
		until, err := heard(in.Spec.Node)
		if err != nil || until.Before(m.Since.Add(r.Watch)) {
			return err
		}
		if n, err = h.rejected(ctx, m); err != nil || r.ReturnAt > 0 && n >= r.ReturnAt {
			return err // the next look returns it
		}
		return h.end(ctx, r, m, state.HardenedKept, "", n)
	}
	return nil
}

// end puts a member into its last state, and returns its instance to optional
// tokens unless it stays.
func (h *Hardener) end(ctx context.Context, r *state.Hardening, m *state.Hardened, to, why string, rejected uint64) error {
	action := map[string]string{
		state.HardenedReturned: "HardenReturn", state.HardenedUndone: "HardenReturn", state.HardenedRehearsed: "HardenReturn",
		state.HardenedKept: "HardenKeep", state.HardenedSkipped: "HardenSkip",
	}[to]
	var callers []state.HardenedCaller
	if rejected > 0 {
		var err error
		if callers, err = h.cfg.Rejecters(m.Instance, m.Since); err != nil {
			h.log.Error("who was rejected is not known", "instance", m.Instance, "err", err)
		}
	}
	// What cannot be recorded is done all the same: the way back must not need a disk for that.
	if err := h.permit(h.engine(r.ID, action), about([]string{m.Instance})); err != nil {
		h.log.Error("a step of a guarded switch is not in the audit log", "hardening", r.ID, "instance", m.Instance, "action", action, "err", err)
	}
	now := h.Control.cfg.Now().UTC()
	err := h.update(ctx, func(tx *state.Tx) error {
		next, ok, err := state.Load(tx, h.db.Hardened, m.Key())
		if err != nil || !ok || next.State != m.State {
			return err // it was settled before
		}
		next.State, next.Why, next.Ended, next.Rejected, next.Callers = to, why, now, rejected, callers
		if action == "HardenReturn" {
			if err := h.putTokens(tx, m.Instance, instance.Optional); err != nil {
				return err
			}
		}
		return state.Save(tx, h.db.Hardened, next.Key(), next)
	})
	if err != nil {
		return err
	}
	h.mu.Lock()
	delete(h.watched, m.Instance)
	delete(h.live, m.Instance)
	h.mu.Unlock()
	attrs := []any{"hardening", r.ID, "instance", m.Instance, "state", to, "rejected", rejected}
	for _, c := range callers[:min(1, len(callers))] {
		attrs = append(attrs, "agent", c.Agent, "item", c.Item, "source", c.Source, "process", c.Process)
	}
	h.log.Info("a watch of a guarded switch has ended", attrs...)
	return nil
}

// putTokens sets the access mode of an instance that is there.
func (h *Hardener) putTokens(tx *state.Tx, id, tokens string) error {
	in, ok, err := state.Load(tx, h.db.Instances, id)
	if err != nil || !ok || !alive(in) {
		return err
	}
	owner := Caller{Dialect: in.Spec.Dialect, Account: in.Spec.Account, Region: in.Spec.Region}
	if err := h.changeOptions(owner, in, instance.MetadataOptions{HTTPTokens: tokens}); err != nil {
		return err
	}
	return state.Save(tx, h.db.Instances, id, in)
}

// engine is who acts when a guarded switch does.
func (h *Hardener) engine(id, action string) Caller {
	return Caller{Admin: true, User: id, Action: action}
}

// advance begins what is next.
func (h *Hardener) advance(ctx context.Context, r *state.Hardening) error {
	members := h.of(r.ID)
	count := func(states ...string) (n int) {
		for _, m := range members {
			if m.Batch <= r.Batch && slices.Contains(states, m.State) {
				n++
			}
		}
		return n
	}
	if r.State == state.HardeningAborted {
		return h.finish(ctx, r, state.HardeningAborted, r.Why)
	}
	if r.State != state.HardeningRunning {
		return nil
	}
	if count(state.HardenedWaiting) > 0 {
		return h.begin(ctx, r, members)
	}
	if count(state.HardenedWatched) > 0 {
		return nil
	}
	last := r.Batch+1 >= len(r.Shares)
	if n := count(state.HardenedReturned); n > 0 && !last && r.Accepted <= r.Batch {
		return h.put(ctx, r, "HardenPause", func(r *state.Hardening) {
			r.State, r.Why = state.HardeningPaused, fmt.Sprintf("%d instances were returned: see who was rejected, then resume or abort", n)
		})
	}
	if !last {
		return h.put(ctx, r, "HardenAdvance", func(r *state.Hardening) { r.Batch++ })
	}
	return h.finish(ctx, r, state.HardeningDone, "")
}

// finish ends a guarded switch. Members that wait are passed over.
func (h *Hardener) finish(ctx context.Context, r *state.Hardening, to, why string) error {
	for _, m := range h.of(r.ID) {
		if m.State == state.HardenedWaiting {
			if err := h.end(ctx, r, m, state.HardenedSkipped, why, 0); err != nil {
				return err
			}
		}
	}
	return h.put(ctx, r, "HardenEnd", func(r *state.Hardening) {
		r.State, r.Why, r.Ended = to, why, h.Control.cfg.Now().UTC()
	})
}

// put changes the record of a guarded switch, and r with it.
func (h *Hardener) put(ctx context.Context, r *state.Hardening, action string, change func(*state.Hardening)) error {
	if err := h.permit(h.engine(r.ID, action), ask{resources: []string{"hardenings/" + r.ID}}); err != nil {
		return err
	}
	change(r)
	h.Wake() // there may be more to do
	return h.update(ctx, func(tx *state.Tx) error { return state.Save(tx, h.db.Hardenings, r.ID, r) })
}

// begin switches the members of the batch that wait, some in each commit.
func (h *Hardener) begin(ctx context.Context, r *state.Hardening, members []*state.Hardened) error {
	var part []*state.Hardened
	for _, m := range members {
		if m.Batch <= r.Batch && m.State == state.HardenedWaiting && len(part) < manyPerCommit {
			part = append(part, m)
		}
	}
	var ids []string
	for _, m := range part {
		ids = append(ids, m.Instance)
	}
	if err := h.permit(h.engine(r.ID, "HardenSwitch"), about(ids)); err != nil {
		return err
	}
	now := h.Control.cfg.Now()
	base := map[string]uint64{}
	for _, id := range ids {
		n, err := h.cfg.Rejected(ctx, id, now)
		if err != nil {
			return err
		}
		base[id] = n
	}
	h.mu.Lock()
	for _, id := range ids {
		h.watched[id], h.live[id] = now, 0
	}
	h.mu.Unlock()
	err := h.update(ctx, func(tx *state.Tx) error {
		for _, m := range part {
			next := *m
			if err := h.switchOne(tx, &next, now.UTC(), base[m.Instance]); err != nil {
				return err
			}
			if err := state.Save(tx, h.db.Hardened, next.Key(), &next); err != nil {
				return err
			}
		}
		return nil
	})
	h.Wake()
	return err
}

// switchOne requires tokens of a member, unless somebody else did.
func (h *Hardener) switchOne(tx *state.Tx, m *state.Hardened, now time.Time, base uint64) error {
	in, ok, err := state.Load(tx, h.db.Instances, m.Instance)
	if err != nil {
		return err
	}
	if !ok || !alive(in) || in.Spec.Metadata.TokensRequired() {
		m.State, m.Why, m.Ended = state.HardenedSkipped, "somebody else has changed it, or it is gone", now
		return nil
	}
	m.State, m.Since, m.Base = state.HardenedWatched, now, base
	return h.putTokens(tx, m.Instance, instance.Required)
}

// hardeningLife is how long guarded switches that are over are shown.
const hardeningLife = 90 * 24 * time.Hour

// sweepHardenings forgets the oldest guarded switch that is over for long.
func (c *Control) sweepHardenings(tx *state.Tx, now time.Time) {
	over := c.db.Hardenings.All(func(r *state.Hardening) bool { return !r.Ended.IsZero() && now.Sub(r.Ended) > hardeningLife })
	if len(over) == 0 {
		return
	}
	left := c.db.Hardened.All(func(m *state.Hardened) bool { return m.Hardening == over[0].ID })
	for _, m := range left[:min(perCommit, len(left))] {
		state.Remove(tx, c.db.Hardened, m.Key())
	}
	if len(left) <= perCommit {
		state.Remove(tx, c.db.Hardenings, over[0].ID)
	}
}
