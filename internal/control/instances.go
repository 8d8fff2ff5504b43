package control

import (
	"context"
	"time"

	"openimds/internal/policy"
	"openimds/internal/state"
)

// States of an instance.
const (
	stateRunning    = "running"
	stateStopped    = "stopped"
	stateTerminated = "terminated"
)

// shownAfterEnd is how long a terminated instance is still described.
const shownAfterEnd = time.Hour

func alive(in *state.Instance) bool { return in.Spec.State != stateTerminated }

// belongs reports whether an instance is the caller's to see.
func belongs(caller Caller, in *state.Instance) bool {
	if caller.Admin {
		return caller.Dialect == "" || in.Spec.Dialect == caller.Dialect
	}
	if caller.Dialect == "ecs" && !alive(in) {
		return false // a released instance is gone at once
	}
	return in.Spec.Dialect == caller.Dialect && in.Spec.Account == caller.Account && in.Spec.Region == caller.Region
}

// own returns an instance of the caller.
func (c *Control) own(caller Caller, id string) (*state.Instance, error) {
	in, ok := c.db.Instances.Get(id)
	if !ok || !belongs(caller, in) {
		return nil, refuse(InstanceNotFound, id)
	}
	return in, nil
}

// change commits a change of one instance and returns it as it is then.
func (c *Control) change(ctx context.Context, caller Caller, id string, change func(*state.Instance) error) (*state.Instance, error) {
	var after *state.Instance
	err := c.update(ctx, func(tx *state.Tx) error {
		in, ok, err := state.Load(tx, c.db.Instances, id)
		if err != nil {
			return err
		}
		if !ok || !belongs(caller, in) {
			return refuse(InstanceNotFound, id)
		}
		if err := change(in); err != nil {
			return err
		}
		after = in
		return state.Save(tx, c.db.Instances, id, in)
	})
	return after, err
}

// Instances returns the caller's instances, by id. Terminated ones are among
// them for an hour.
func (c *Control) Instances(caller Caller) ([]*state.Instance, error) {
	if err := c.permit(caller, ask{}); err != nil {
		return nil, err
	}
	now := c.cfg.Now()
	return c.db.Instances.All(func(in *state.Instance) bool {
		return belongs(caller, in) && (in.Ended.IsZero() || now.Sub(in.Ended) < shownAfterEnd)
	}), nil
}

// Instance returns one instance of the caller.
func (c *Control) Instance(caller Caller, id string) (*state.Instance, error) {
	in, err := c.own(caller, id)
	if err != nil {
		return nil, err
	}
	a := ask{}
	a.on(arn(caller, "instance", id), instanceKeys(caller.Dialect, in))
	return in, c.permit(caller, a)
}

// Modify changes attributes of an instance. The change must be without other
// effects: it may run more than once. Attribute is the API's name of what is
// changed, a condition key of EC2; empty: none.
func (c *Control) Modify(ctx context.Context, caller Caller, id, attribute string, change func(*state.Instance) error) (*state.Instance, error) {
	in, err := c.own(caller, id)
	if err != nil {
		return nil, err
	}
	a := ask{context: policy.Context{}}
	if attribute != "" && caller.Dialect == "ec2" {
		a.context.Set("ec2:Attribute", attribute)
	}
	a.on(arn(caller, "instance", id), instanceKeys(caller.Dialect, in))
	if err := c.permit(caller, a); err != nil {
		return nil, err
	}
	return c.change(ctx, caller, id, func(in *state.Instance) error {
		if !alive(in) {
			return &Error{Reason: IncorrectState, Subject: id, Detail: in.Spec.State}
		}
		return change(in)
	})
}

// Start starts stopped instances: all or none.
func (c *Control) Start(ctx context.Context, caller Caller, ids []string) ([]Transition, error) {
	return c.move(ctx, caller, ids, func(in *state.Instance) error {
		switch in.Spec.State {
		case stateRunning:
		case stateStopped:
			in.Spec.State = stateRunning
			in.Spec.Started = c.cfg.Now().UTC().Truncate(time.Second)
			in.OptionsPending = false
		default:
			return &Error{Reason: IncorrectState, Subject: in.Spec.ID, Detail: in.Spec.State}
		}
		return nil
	})
}

// Stop stops running instances: all or none.
func (c *Control) Stop(ctx context.Context, caller Caller, ids []string) ([]Transition, error) {
	return c.move(ctx, caller, ids, func(in *state.Instance) error {
		switch in.Spec.State {
		case stateStopped:
		case stateRunning:
			in.Spec.State = stateStopped
		default:
			return &Error{Reason: IncorrectState, Subject: in.Spec.ID, Detail: in.Spec.State}
		}
		return nil
	})
}

// Reboot restarts running instances: all or none.
func (c *Control) Reboot(ctx context.Context, caller Caller, ids []string) ([]Transition, error) {
	return c.move(ctx, caller, ids, func(in *state.Instance) error {
		if in.Spec.State != stateRunning {
			return &Error{Reason: IncorrectState, Subject: in.Spec.ID, Detail: in.Spec.State}
		}
		return nil
	})
}

// Terminate ends instances for good: all or none. One that has ended already
// stays so. Running tells whether running ones may be ended, too.
func (c *Control) Terminate(ctx context.Context, caller Caller, ids []string, running bool) ([]Transition, error) {
	return c.move(ctx, caller, ids, func(in *state.Instance) error {
		switch {
		case in.Spec.State == stateTerminated:
			return nil
		case in.DeletionProtection:
			return refuse(DeletionProtected, in.Spec.ID)
		case in.Spec.State == stateRunning && !running:
			return &Error{Reason: IncorrectState, Subject: in.Spec.ID, Detail: in.Spec.State}
		}
		in.Spec.State = stateTerminated
		in.Ended = c.cfg.Now().UTC()
		return nil
	})
}

// move changes the state of several instances in one commit.
func (c *Control) move(ctx context.Context, caller Caller, ids []string, move func(*state.Instance) error) ([]Transition, error) {
	a := ask{}
	for _, id := range ids {
		in, err := c.own(caller, id)
		if err != nil {
			return nil, err
		}
		a.on(arn(caller, "instance", id), instanceKeys(caller.Dialect, in))
	}
	if err := c.permit(caller, a); err != nil {
		return nil, err
	}
	var done []Transition
	err := c.update(ctx, func(tx *state.Tx) error {
		done = nil
		for _, id := range ids {
			in, ok, err := state.Load(tx, c.db.Instances, id)
			if err != nil {
				return err
			}
			if !ok || !belongs(caller, in) {
				return refuse(InstanceNotFound, id)
			}
			before := in.Spec.State
			if err := move(in); err != nil {
				return err
			}
			done = append(done, Transition{ID: id, Before: before, After: in.Spec.State, Instance: in})
			if err := state.Save(tx, c.db.Instances, id, in); err != nil {
				return err
			}
		}
		return nil
	})
	return done, err
}
