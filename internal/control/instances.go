package control

import (
	"context"
	"errors"
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

// ownAsked is own for a call that has not been authorised yet. What does not
// exist is asked about by its name: the call is in the audit log, and who may
// not make it does not learn what exists.
func (c *Control) ownAsked(caller Caller, id string) (*state.Instance, error) {
	in, err := c.own(caller, id)
	if err == nil {
		return in, nil
	}
	a := ask{}
	a.on(arn(caller, "instance", id), nil)
	caller.DryRun = false
	if denied := c.permit(caller, a); denied != nil {
		return nil, denied
	}
	return nil, err
}

// change commits a change of one instance and returns it as it is then.
func (c *Control) change(ctx context.Context, caller Caller, id string, change func(*state.Instance) error) (*state.Instance, error) {
	done, err := c.commit(ctx, caller, []string{id}, false, func(_ *state.Tx, in *state.Instance) error { return change(in) })
	if err != nil {
		return nil, err
	}
	return done[0].After, nil
}

// commit changes instances in one commit: all, or none. A lenient one leaves
// out those that the change itself refuses, each for a reason of its own.
func (c *Control) commit(ctx context.Context, caller Caller, ids []string, lenient bool, change func(*state.Tx, *state.Instance) error) ([]Outcome, error) {
	var done []Outcome
	err := c.update(ctx, func(tx *state.Tx) error {
		done = make([]Outcome, 0, len(ids))
		for _, id := range ids {
			o, err := c.commitOne(tx, caller, id, change)
			if _, refused := errors.AsType[*Error](err); refused && lenient {
				o.After, o.Err = nil, err
			} else if err != nil {
				return err
			}
			done = append(done, o)
		}
		return nil
	})
	return done, err
}

func (c *Control) commitOne(tx *state.Tx, caller Caller, id string, change func(*state.Tx, *state.Instance) error) (Outcome, error) {
	o := Outcome{ID: id}
	in, ok, err := state.Load(tx, c.db.Instances, id)
	if err != nil {
		return o, err
	}
	if !ok || !belongs(caller, in) {
		return o, refuse(InstanceNotFound, id)
	}
	before := *in // what a change replaces, it replaces as a whole
	o.Before = &before
	if err := change(tx, in); err != nil {
		return o, err
	}
	o.After = in
	return o, state.Save(tx, c.db.Instances, id, in)
}

// about asks about all instances of a call together. Keys adds condition keys
// of one; nil: there are no others. In a lenient call an instance that does not
// exist is asked about by its name alone.
func (c *Control) about(caller Caller, ids []string, lenient bool, keys func(*state.Instance, policy.Context)) (ask, error) {
	a := ask{}
	for _, id := range ids {
		in, err := c.own(caller, id)
		if err != nil && !lenient {
			_, err = c.ownAsked(caller, id)
			return a, err
		}
		var own policy.Context
		if err == nil {
			own = instanceKeys(caller.Dialect, in)
			if keys != nil {
				keys(in, own)
			}
		}
		a.on(arn(caller, "instance", id), own)
	}
	return a, nil
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

// InstancesNamed is Instances of those with the given ids, each once and in
// their order: what it costs does not grow with the number of instances. Ids
// of none are left out.
func (c *Control) InstancesNamed(caller Caller, ids []string) ([]*state.Instance, error) {
	if err := c.permit(caller, ask{}); err != nil {
		return nil, err
	}
	now := c.cfg.Now()
	seen := map[string]bool{}
	var named []*state.Instance
	for _, id := range ids {
		in, ok := c.db.Instances.Get(id)
		if ok && !seen[id] && belongs(caller, in) && (in.Ended.IsZero() || now.Sub(in.Ended) < shownAfterEnd) {
			seen[id] = true
			named = append(named, in)
		}
	}
	return named, nil
}

// Instance returns one instance of the caller.
func (c *Control) Instance(caller Caller, id string) (*state.Instance, error) {
	in, err := c.ownAsked(caller, id)
	if err != nil {
		return nil, err
	}
	a := ask{}
	a.on(arn(caller, "instance", id), instanceKeys(caller.Dialect, in))
	return in, c.permit(caller, a)
}

// Find is Instance, but asks no policy: it is for actions that ask their own.
func (c *Control) Find(caller Caller, id string) (*state.Instance, error) { return c.own(caller, id) }

// Modify changes an attribute of an instance. The change must be without other
// effects: it may run more than once. The attribute is a condition key of EC2.
func (c *Control) Modify(ctx context.Context, caller Caller, id string, attribute Attribute, change func(*state.Instance) error) (*state.Instance, error) {
	a, err := c.about(caller, []string{id}, false, nil)
	if err != nil {
		return nil, err
	}
	if attribute.Name != "" && caller.Dialect == "ec2" {
		a.context = policy.Context{}
		a.context.Set("ec2:Attribute", attribute.Name)
		if attribute.Value != "" {
			a.context.Set(changeEC2+attribute.Name, attribute.Value)
		}
	}
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
