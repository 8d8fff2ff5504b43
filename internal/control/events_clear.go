package control

import (
	"context"
	"errors"
	"slices"
	"time"

	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/state"
)

// Events returns the events that a filter wants, those that are over included.
func (c *Control) Events(caller Caller, f EventFilter) ([]Event, error) {
	if err := c.permit(caller, ask{resources: []string{"events"}}); err != nil {
		return nil, err
	}
	ids, err := c.having(f)
	if err != nil {
		return nil, err
	}
	var all []Event
	for _, id := range ids {
		if in, ok := c.db.Instances.Get(id); ok {
			all = append(all, wanted(in, f)...)
		}
	}
	return all, nil
}

func wanted(in *state.Instance, f EventFilter) []Event {
	return slices.DeleteFunc(eventsOf(in), func(e Event) bool { return !f.wants(e) })
}

// having finds the instances that have events which a filter wants.
func (c *Control) having(f EventFilter) ([]string, error) {
	if len(f.Instances) == 0 && len(f.Tags) == 0 {
		f.All = true
	}
	has := func(in *state.Instance) bool { return alive(in) && len(wanted(in, f)) > 0 }
	ids, err := c.find(f.Target, has)
	switch {
	case len(f.Instances) > 0 && err == nil:
		return slices.DeleteFunc(ids, func(id string) bool {
			in, ok := c.db.Instances.Get(id)
			return !ok || !has(in)
		}), nil
	case len(f.Instances) == 0 && fault.KindOf(err) == fault.NotFound:
		return nil, nil
	}
	return ids, err
}

// ClearEvents takes the events away that a filter wants, and returns them.
// Maintenance stays in the history if outcome says how it ended: completed or
// canceled.
func (c *Control) ClearEvents(ctx context.Context, caller Caller, f EventFilter, outcome string) ([]Event, error) {
	var wrong problems
	wrong.oneOf("as", outcome, instance.EventCompleted, instance.EventCanceled)
	wrong.oneOf("type", f.Type, EventTypes()...)
	if f.any() && !f.All && f.Type == "" && f.ID == "" {
		wrong.addf("it is not said which events are meant: name instances, a tag, a type, or all")
	}
	if err := wrong.err(); err != nil {
		return nil, err
	}
	ids, err := c.having(f)
	if err != nil {
		return nil, err
	}
	if err := c.permit(caller, about(ids)); err != nil {
		return nil, err
	}
	return c.changeEvents(ctx, ids, func(in *state.Instance) []Event { return clearEvents(in, f.wants, outcome) })
}

// clearEvents takes the events away that are wanted, and returns them.
func clearEvents(in *state.Instance, wants func(Event) bool, outcome string) []Event {
	var gone []Event
	for _, e := range eventsOf(in) {
		over := e.Type == EventMaintenance && e.Status != instance.EventActive
		if !wants(e) || outcome != "" && over {
			continue
		}
		gone = append(gone, e)
		events := &in.Spec.Events
		switch e.Type {
		case EventSpot:
			events.Spot = nil
		case EventRebalance:
			events.Rebalance = time.Time{}
		case EventMaintenance:
			at := slices.IndexFunc(events.Maintenance, func(m instance.Maintenance) bool { return m.ID == e.ID })
			if outcome != "" {
				events.Maintenance[at].State = outcome
			} else {
				events.Maintenance = slices.Delete(events.Maintenance, at, at+1)
			}
		case EventSystem:
			events.System = slices.DeleteFunc(events.System, func(s instance.SystemEvent) bool { return s.ID == e.ID })
		}
		in.Expiring = slices.DeleteFunc(in.Expiring, func(x state.Expiring) bool { return x.Type == e.Type && x.ID == e.ID })
	}
	return gone
}

// ExpireEvents takes away the events whose time is over.
func (c *Control) ExpireEvents(ctx context.Context) error {
	now := c.cfg.Now()
	over := func(in *state.Instance) bool {
		return slices.ContainsFunc(in.Expiring, func(x state.Expiring) bool { return !x.At.After(now) })
	}
	var ids []string
	for _, in := range c.db.Instances.All(over) {
		ids = append(ids, in.Spec.ID)
	}
	_, err := c.changeEvents(ctx, ids, func(in *state.Instance) []Event {
		return clearEvents(in, func(e Event) bool { return !e.Expires.IsZero() && !e.Expires.After(now) }, "")
	})
	if err != nil {
		return errors.Join(errors.New("end events whose time is over"), err)
	}
	return nil
}
