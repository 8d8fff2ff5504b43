package control

import (
	"context"
	"time"

	"openimds/internal/fault"
	"openimds/internal/state"
)

// Pause keeps a guarded switch from beginning another batch. What is switched
// is watched, and returned where it must be.
func (h *Hardener) Pause(ctx context.Context, caller Caller, id string) error {
	return h.turn(ctx, caller, id, func(r *state.Hardening) error {
		if r.State != state.HardeningRunning {
			return fault.New(fault.Conflict, "%s is %s: only one that is running can be paused", id, r.State)
		}
		r.State, r.Why = state.HardeningPaused, "paused by "+caller.ARN()
		return nil
	})
}

// Resume goes on with one that is paused, whatever was returned until now.
func (h *Hardener) Resume(ctx context.Context, caller Caller, id string) error {
	return h.turn(ctx, caller, id, func(r *state.Hardening) error {
		if r.State != state.HardeningPaused {
			return fault.New(fault.Conflict, "%s is %s: only one that is paused can be resumed", id, r.State)
		}
		r.State, r.Why, r.Accepted = state.HardeningRunning, "", r.Batch+1
		return nil
	})
}

// Abort returns every instance that a guarded switch has changed, also after it
// is done.
func (h *Hardener) Abort(ctx context.Context, caller Caller, id string) error {
	return h.turn(ctx, caller, id, func(r *state.Hardening) error {
		if r.State == state.HardeningAborted {
			return fault.New(fault.Conflict, "%s is aborted already", id)
		}
		r.State, r.Why = state.HardeningAborted, "aborted by "+caller.ARN()
		r.Ended = time.Time{}
		return nil
	})
}

// turn changes what a guarded switch does, and does it.
func (h *Hardener) turn(ctx context.Context, caller Caller, id string, change func(*state.Hardening) error) error {
	if err := h.permit(caller, ask{resources: []string{"hardenings/" + id}}); err != nil {
		return err
	}
	h.stepping.Lock()
	err := h.update(ctx, func(tx *state.Tx) error {
		r, ok, err := state.Load(tx, h.db.Hardenings, id)
		switch {
		case err != nil:
			return err
		case !ok:
			return fault.New(fault.NotFound, "there is no hardening %.64q (imds harden status shows all)", id)
		}
		if err := change(r); err != nil {
			return err
		}
		return state.Save(tx, h.db.Hardenings, id, r)
	})
	h.stepping.Unlock()
	if err != nil {
		return err
	}
	h.step(ctx, true)
	return nil
}
