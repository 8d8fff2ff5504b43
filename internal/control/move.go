package control

import (
	"context"
	"maps"
	"time"

	"openimds/internal/state"
)

// Move is a change of the states of instances: all or none of them, in one
// commit.
type Move struct {
	IDs []string
	To  Verb
	// Lenient moves those that can be moved, and says of the others why not.
	Lenient bool
	// Hibernate stops only instances that can hibernate (EC2).
	Hibernate bool
	// StoppedMode is kept of a stop to be shown (ECS).
	StoppedMode string
	// SpareRunning refuses to end instances that run (ECS).
	SpareRunning bool
}

// Verb is what a Move does.
type Verb uint8

// The verbs.
const (
	ToStart Verb = iota
	ToStop
	ToReboot
	ToTerminate
)

// Start starts stopped instances: all or none.
func (c *Control) Start(ctx context.Context, caller Caller, ids []string) ([]Transition, error) {
	return c.Move(ctx, caller, Move{IDs: ids, To: ToStart})
}

// Stop stops running instances: all or none.
func (c *Control) Stop(ctx context.Context, caller Caller, ids []string) ([]Transition, error) {
	return c.Move(ctx, caller, Move{IDs: ids, To: ToStop})
}

// Reboot restarts running instances: all or none.
func (c *Control) Reboot(ctx context.Context, caller Caller, ids []string) ([]Transition, error) {
	return c.Move(ctx, caller, Move{IDs: ids, To: ToReboot})
}

// Terminate ends instances for good: all or none. One that has ended already
// stays so. Running tells whether running ones may be ended, too.
func (c *Control) Terminate(ctx context.Context, caller Caller, ids []string, running bool) ([]Transition, error) {
	return c.Move(ctx, caller, Move{IDs: ids, To: ToTerminate, SpareRunning: !running})
}

// Move changes the states of instances.
func (c *Control) Move(ctx context.Context, caller Caller, m Move) ([]Transition, error) {
	a, err := c.about(caller, m.IDs, m.Lenient, nil)
	if err != nil {
		return nil, err
	}
	if err := c.permit(caller, a); err != nil {
		return nil, err
	}
	outcomes, err := c.commit(ctx, caller, m.IDs, m.Lenient, func(tx *state.Tx, in *state.Instance) error { return c.move(tx, m, in) })
	if err != nil {
		return nil, err
	}
	done := make([]Transition, 0, len(outcomes))
	for _, o := range outcomes {
		t := Transition{ID: o.ID, Instance: o.After, Err: o.Err}
		if o.Before != nil {
			t.Before, t.After = o.Before.Spec.State, o.Before.Spec.State
		}
		if o.After != nil {
			t.After = o.After.Spec.State
		}
		done = append(done, t)
	}
	return done, nil
}

// move moves one instance.
func (c *Control) move(tx *state.Tx, m Move, in *state.Instance) error {
	id, wrong := in.Spec.ID, &Error{Reason: IncorrectState, Subject: in.Spec.ID, Detail: in.Spec.State}
	switch m.To {
	case ToStart:
		if in.Spec.State == stateRunning {
			return nil
		}
		if in.Spec.State != stateStopped {
			return wrong
		}
		in.Spec.State, in.Spec.Started, in.OptionsPending = stateRunning, c.cfg.Now().UTC().Truncate(time.Second), false
		delete(in.Attributes, "StoppedMode")
		in.Restarted()
	case ToStop:
		if in.Spec.State == stateStopped {
			return nil
		}
		switch {
		case in.Spec.State != stateRunning:
			return wrong
		case in.Attributes["disableApiStop"] == "true":
			return refuse(StopProtected, id)
		case in.Attributes["spotInstanceType"] == "one-time":
			return refuse(SpotOnce, id)
		case m.Hibernate && !in.Spec.Machine.Hibernation:
			return refuse(HibernationOff, id)
		}
		in.Spec.State = stateStopped
		if m.StoppedMode != "" {
			in.Attributes = maps.Clone(in.Attributes)
			if in.Attributes == nil {
				in.Attributes = map[string]string{}
			}
			in.Attributes["StoppedMode"] = m.StoppedMode
		}
	case ToReboot:
		if in.Spec.State != stateRunning {
			return wrong
		}
		in.Restarted()
	case ToTerminate:
		switch {
		case in.Spec.State == stateTerminated:
			return nil
		case in.DeletionProtection:
			return refuse(DeletionProtected, id)
		case in.Spec.State == stateRunning && m.SpareRunning:
			return wrong
		}
		in.Spec.State, in.Ended = stateTerminated, c.cfg.Now().UTC()
		return c.release(tx, in)
	}
	return nil
}
