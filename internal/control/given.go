package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"

	"openimds/internal/fault"
	"openimds/internal/identify"
	"openimds/internal/instance"
	"openimds/internal/state"
)

// perCommit is how many instances one commit puts, to stay within the store's
// bounds.
const perCommit = 200

// Give makes the state hold the instances of a file, which are normalized and
// valid: those that stand in it otherwise than when they were last given are
// replaced, those that were given once and are not in it are removed. What the
// APIs changed of the others stays, over a restart too. An address that a
// launched instance holds is a fault.Conflict; nothing is changed then.
func (c *Control) Give(ctx context.Context, next []*instance.Instance) error {
	var changed []given
	stay := map[string]bool{}
	for _, in := range next {
		stay[in.ID] = true
		g := given{in, digest(in)}
		if r, ok := c.db.Instances.Get(in.ID); !ok || r.Given != g.sum {
			changed = append(changed, g)
		}
	}
	// Of the others, the state is what the APIs made of them: what they no
	// longer have, somebody else may hold.
	if err := c.checkGiven(instances(changed)); err != nil {
		return err
	}
	if err := c.ensureRoles(ctx, next); err != nil {
		return err
	}
	gone := c.db.Instances.All(func(r *state.Instance) bool { return r.Given != "" && !stay[r.Spec.ID] })
	for part := range slices.Chunk(gone, perCommit) {
		if err := c.update(ctx, func(tx *state.Tx) error {
			for _, r := range part {
				state.Remove(tx, c.db.Instances, r.Spec.ID)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(changed, perCommit) {
		if err := c.update(ctx, func(tx *state.Tx) error { return c.give(tx, part) }); err != nil {
			return err
		}
	}
	return nil
}

// given is an instance as it stands in a file.
type given struct {
	*instance.Instance
	sum string
}

// digest is how an instance of a file is known again.
func digest(in *instance.Instance) string {
	data, err := json.Marshal(in)
	if err != nil {
		panic("control: an instance cannot be encoded: " + err.Error()) // its types can
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

func instances(part []given) []*instance.Instance {
	all := make([]*instance.Instance, len(part))
	for i, in := range part {
		all[i] = in.Instance
	}
	return all
}

func (c *Control) give(tx *state.Tx, part []given) error {
	all := instances(part)
	if err := c.serializeAddresses(tx, all...); err != nil {
		return err
	}
	if err := c.checkGiven(all); err != nil {
		return err
	}
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
		r.Given, r.Spec = in.sum, *in.Instance
		if err := c.takeBack(tx, in.Instance); err != nil {
			return err
		}
		if err := state.Save(tx, c.db.Instances, in.ID, r); err != nil {
			return err
		}
	}
	return nil
}

// takeBack attaches the network interfaces again that an instance of a file
// has, and that were detached from it.
func (c *Control) takeBack(tx *state.Tx, in *instance.Instance) error {
	for i := range in.Interfaces {
		r, ok, err := state.Load(tx, c.db.Interfaces, in.Interfaces[i].ID)
		if err != nil {
			return err
		}
		if !ok || r.Instance == in.ID {
			continue
		}
		r.Instance = in.ID
		if err := state.Save(tx, c.db.Interfaces, r.Spec.ID, r); err != nil {
			return err
		}
	}
	return nil
}

// checkGiven refuses addresses that launched instances, or network interfaces
// of their own, hold.
func (c *Control) checkGiven(given []*instance.Instance) error {
	type place struct {
		identify.Scope
		netip.Addr
	}
	held := map[place]string{}
	c.db.Instances.All(func(in *state.Instance) bool {
		if in.Given == "" && alive(in) {
			for _, a := range in.Spec.Addresses() {
				held[place{identify.Scope{Dialect: in.Spec.Dialect, Network: in.Spec.Network}, a}] = in.Spec.ID
			}
		}
		return false
	})
	free := c.freeInterfaces()
	for _, in := range given {
		if wrong := free.keep(in); len(wrong) > 0 {
			return fault.New(fault.Conflict, "%s: %s", in.ID, strings.Join(wrong, "\n"))
		}
		for _, a := range in.Addresses() {
			if id := held[place{identify.Scope{Dialect: in.Dialect, Network: in.Network}, a}]; id != "" {
				return fault.New(fault.Conflict, "%s and %s, which was launched, both call from %s: give the first another address, or terminate the second", in.ID, id, a)
			}
		}
	}
	return nil
}

// Sweep ends events whose time is over, and forgets what nobody asks for any
// more: instances that ended more than an hour ago, and client tokens that are
// a day old. An instance of a file stays, ended, as long as the file has it: it
// would come back otherwise. One call sweeps as much as one commit holds.
func (c *Control) Sweep(ctx context.Context) error {
	if err := c.ExpireEvents(ctx); err != nil {
		return err
	}
	now := c.cfg.Now()
	ended := c.db.Instances.All(func(in *state.Instance) bool {
		return in.Given == "" && !in.Ended.IsZero() && now.Sub(in.Ended) > shownAfterEnd
	})
	tokens := c.db.Tokens.All(func(r *state.Idempotent) bool { return now.Sub(r.Created) > tokenLife })
	return c.update(ctx, func(tx *state.Tx) error {
		for _, in := range ended[:min(perCommit, len(ended))] {
			state.Remove(tx, c.db.Instances, in.Spec.ID)
		}
		for _, r := range tokens[:min(perCommit, len(tokens))] {
			state.Remove(tx, c.db.Tokens, state.Key(r.Dialect, r.Account, r.Action, r.Token))
		}
		c.sweepRevocations(tx, now)
		c.sweepHardenings(tx, now)
		return nil
	})
}
