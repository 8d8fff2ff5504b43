package control

import (
	"context"
	"time"

	"openimds/internal/state"
)

// revocationLife is how long a revocation is kept: longer than any session
// that began before it, whatever the clocks of the replicas say.
const revocationLife = 2 * longestSession

// RevokeRole ends all sessions of a role that began before now. Instances get
// new credentials at their next request.
func (c *Control) RevokeRole(ctx context.Context, caller Caller, name string) error {
	if err := c.permit(caller, ask{}); err != nil {
		return err
	}
	if _, err := c.Role(caller, name); err != nil {
		return err
	}
	return c.revoke(ctx, state.Revocation{Dialect: caller.Dialect, Account: caller.Account, Role: name})
}

// RevokeInstance ends all sessions that began before now with credentials that
// an instance got from its metadata service. It gets new ones at its next
// request, unless its role is taken away too.
func (c *Control) RevokeInstance(ctx context.Context, caller Caller, id string) error {
	in, err := c.own(caller, id)
	if err != nil {
		return err
	}
	if caller.Admin {
		caller.Dialect, caller.Account, caller.Region = in.Spec.Dialect, in.Spec.Account, in.Spec.Region
	}
	a := ask{}
	a.on(arn(caller, "instance", id), instanceKeys(caller.Dialect, in))
	if err := c.permit(caller, a); err != nil {
		return err
	}
	return c.revoke(ctx, state.Revocation{Dialect: in.Spec.Dialect, Account: in.Spec.Account, Instance: id})
}

func (c *Control) revoke(ctx context.Context, r state.Revocation) error {
	return c.update(ctx, func(tx *state.Tx) error {
		old, ok, err := state.Load(tx, c.db.Revocations, r.Key())
		if err != nil {
			return err
		}
		next := r
		next.Epoch = c.cfg.Now().UnixNano()
		if ok {
			next.Epoch = max(next.Epoch, old.Epoch+1) // a clock that went back must not bring sessions back
		}
		return state.Save(tx, c.db.Revocations, r.Key(), &next)
	})
}

// sweepRevocations forgets what no session can be older than.
func (c *Control) sweepRevocations(tx *state.Tx, now time.Time) {
	for _, r := range c.db.Revocations.All(func(r *state.Revocation) bool { return now.Sub(r.Made()) > revocationLife }) {
		state.Remove(tx, c.db.Revocations, r.Key())
	}
}
