package control

import (
	"context"
	"net/netip"
	"reflect"

	"openimds/internal/fault"
	"openimds/internal/identify"
	"openimds/internal/instance"
	"openimds/internal/state"
)

// perCommit is how many instances one commit puts, to stay within the store's
// bounds.
const perCommit = 200

// Give makes the state hold the instances of a file, which are normalized and
// valid: those that changed since the previous content are replaced, those that
// went are removed. What the APIs changed of the others stays. An address that
// a launched instance holds is a fault.Conflict; nothing is changed then.
func (c *Control) Give(ctx context.Context, previous, next []*instance.Instance) error {
	before := map[string]*instance.Instance{}
	for _, in := range previous {
		before[in.ID] = in
	}
	var changed []*instance.Instance
	stay := map[string]bool{}
	for _, in := range next {
		stay[in.ID] = true
		if old := before[in.ID]; old == nil || !reflect.DeepEqual(old, in) {
			changed = append(changed, in)
		}
	}
	if err := c.checkGiven(next); err != nil {
		return err
	}
	var gone []string
	for id := range before {
		if !stay[id] {
			gone = append(gone, id)
		}
	}
	if err := c.update(ctx, func(tx *state.Tx) error {
		for _, id := range gone {
			state.Remove(tx, c.db.Instances, id)
		}
		return nil
	}); err != nil {
		return err
	}
	for len(changed) > 0 {
		part := changed[:min(perCommit, len(changed))]
		changed = changed[len(part):]
		if err := c.update(ctx, func(tx *state.Tx) error { return c.give(tx, part) }); err != nil {
			return err
		}
	}
	return nil
}

func (c *Control) give(tx *state.Tx, part []*instance.Instance) error {
	for _, in := range part {
		r, ok, err := state.Load(tx, c.db.Instances, in.ID)
		if err != nil {
			return err
		}
		if !ok {
			r = &state.Instance{Created: in.Started}
			if r.Created.IsZero() {
				r.Created = c.cfg.Now().UTC()
			}
			if in.Role != nil {
				r.Association = "iip-assoc-" + c.hex(17)
			}
			if len(in.KeyPairs) > 0 {
				r.KeyName = in.KeyPairs[0].Name
			}
		}
		r.Given, r.Spec = true, *in
		if err := state.Save(tx, c.db.Instances, in.ID, r); err != nil {
			return err
		}
	}
	return nil
}

// checkGiven refuses addresses that launched instances hold.
func (c *Control) checkGiven(given []*instance.Instance) error {
	type place struct {
		identify.Scope
		netip.Addr
	}
	held := map[place]string{}
	c.db.Instances.All(func(in *state.Instance) bool {
		if !in.Given && alive(in) {
			for _, a := range in.Spec.Addresses() {
				held[place{identify.Scope{Dialect: in.Spec.Dialect, Network: in.Spec.Network}, a}] = in.Spec.ID
			}
		}
		return false
	})
	for _, in := range given {
		for _, a := range in.Addresses() {
			if id := held[place{identify.Scope{Dialect: in.Dialect, Network: in.Network}, a}]; id != "" {
				return fault.New(fault.Conflict, "%s and %s, which was launched, both call from %s: give the first another address, or terminate the second", in.ID, id, a)
			}
		}
	}
	return nil
}

// Sweep forgets what nobody asks for any more: instances that ended more than
// an hour ago, and client tokens that are a day old.
func (c *Control) Sweep(ctx context.Context) error {
	now := c.cfg.Now()
	ended := c.db.Instances.All(func(in *state.Instance) bool { return !in.Ended.IsZero() && now.Sub(in.Ended) > shownAfterEnd })
	if len(ended) > perCommit {
		ended = ended[:perCommit]
	}
	return c.update(ctx, func(tx *state.Tx) error {
		for _, in := range ended {
			state.Remove(tx, c.db.Instances, in.Spec.ID)
		}
		for _, r := range c.db.Tokens.All(func(r *state.Idempotent) bool { return now.Sub(r.Created) > tokenLife }) {
			state.Remove(tx, c.db.Tokens, state.Key(r.Dialect, r.Account, r.Action, r.Token))
		}
		return nil
	})
}
