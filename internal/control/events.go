package control

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/state"
)

// Types of events.
const (
	EventSpot        = "spot"        // a spot instance is taken back
	EventRebalance   = "rebalance"   // it may be soon (EC2)
	EventMaintenance = "maintenance" // scheduled maintenance (EC2)
	EventSystem      = "system"      // a system event (ECS)
)

// EventTypes returns all types.
func EventTypes() []string { return []string{EventSpot, EventRebalance, EventMaintenance, EventSystem} }

// Notice times of interruptions, where none is given.
const (
	noticeEC2 = 2 * time.Minute // EC2-ITEM-072
	noticeECS = 5 * time.Minute // ECS-ITEM-024
	// maintenanceWindow is how long maintenance takes at most, where it is not
	// said.
	maintenanceWindow = 2 * time.Hour
)

// NewEvent is an event to announce to instances.
type NewEvent struct {
	Type string
	// What happens. Spot: terminate (default), stop or hibernate. Maintenance: a code of EC2, such as system-reboot (default).
	// System: a type of ECS, such as SystemMaintenance.Reboot (default). Rebalance: nothing.
	What string
	// At is when it happens. Zero: for a spot interruption in two (EC2) or five minutes (ECS), for a rebalance recommendation
	// now; the others must have one.
	At time.Time
	// Until is when maintenance is over at the latest. Zero: two hours after At.
	Until       time.Time
	Description string // of maintenance
	// Expires is when the event goes away by itself. Zero: it stays until it is cleared.
	Expires time.Time
	Target  Target
}

// Event is an event of an instance.
type Event struct {
	Instance, Dialect, Type string
	// ID of maintenance and system events.
	ID                string
	What, Description string
	// Status of maintenance and system events.
	Status             string
	At, Until, Expires time.Time
}

// EventFilter says which events are meant.
type EventFilter struct {
	// Target, zero: any instance.
	Target
	Type, ID string // empty: any
}

func (f EventFilter) any() bool {
	return len(f.Instances) == 0 && len(f.Tags) == 0 && f.Dialect == "" && f.Share == 0
}

func (f EventFilter) wants(e Event) bool {
	return (f.Type == "" || f.Type == e.Type) && (f.ID == "" || f.ID == e.ID)
}

// maintenanceCodes are EC2's (EC2-ITEM-012).
var maintenanceCodes = []string{"instance-reboot", "system-reboot", "system-maintenance", "instance-retirement", "instance-stop"}

// systemExample is a type of ECS's system events (ECS-ITEM-064); others are
// taken, too.
const systemExample = "SystemMaintenance.Reboot"

// where returns the dialects in which an event exists, after checking it.
func (e *NewEvent) where(now time.Time) ([]string, error) {
	ec2, both := []string{instance.DialectEC2}, []string{instance.DialectECS, instance.DialectEC2}
	if e.Type != EventMaintenance && (!e.Until.IsZero() || e.Description != "") {
		return nil, invalid("until and description: only maintenance has them, found them with %.40q", e.Type)
	}
	if !e.Expires.IsZero() && !e.Expires.After(now) {
		return nil, invalid("expires: found %s, which is past", e.Expires.UTC().Format(time.RFC3339))
	}
	var wrong problems
	switch e.Type {
	case EventSpot:
		e.What = cmp.Or(e.What, "terminate")
		wrong.oneOf("what", e.What, "terminate", "stop", "hibernate")
		if e.What != "terminate" {
			return ec2, wrong.err() // ECS says when, not what (ECS-ITEM-024)
		}
		return both, wrong.err()
	case EventRebalance:
		if e.What != "" {
			wrong.addf("what: a rebalance recommendation says nothing else: leave it out")
		}
		if e.At.IsZero() {
			e.At = now
		}
		return ec2, wrong.err()
	case EventMaintenance:
		e.What = cmp.Or(e.What, "system-reboot")
		wrong.oneOf("what", e.What, maintenanceCodes...)
		wrong.text("description", e.Description, 1024)
		if e.At.IsZero() {
			wrong.addf("at: maintenance has a time: give at or in")
		}
		if e.Until.IsZero() && !e.At.IsZero() {
			e.Until = e.At.Add(maintenanceWindow)
		}
		if e.Until.Before(e.At) {
			wrong.addf("until: found %s, expected a time after %s", e.Until.UTC().Format(time.RFC3339), e.At.UTC().Format(time.RFC3339))
		}
		e.Description = cmp.Or(e.Description, "The instance is scheduled for "+e.What)
		return ec2, wrong.err()
	case EventSystem:
		e.What = cmp.Or(e.What, systemExample)
		wrong.match(anyID, "what", e.What, "a type of ECS's system events, such as "+systemExample)
		if e.At.IsZero() {
			wrong.addf("at: a system event has a time: give at or in")
		}
		return []string{instance.DialectECS}, wrong.err()
	}
	return nil, invalid("type: found %.40q, expected %s", e.Type, strings.Join(EventTypes(), ", "))
}

// instead says what would work on an instance of a dialect.
func instead(e NewEvent, dialect string) string {
	if dialect == instance.DialectECS {
		if e.Type == EventSpot {
			return "an ECS instance is told when it is taken back, not what happens: use what terminate, or none"
		}
		return e.Type + " exists on EC2 only: ECS instances have spot (terminate) and system"
	}
	return e.Type + " exists on ECS only: EC2 instances have spot, rebalance and maintenance"
}

// Announce puts an event before instances. It is on the data plane when
// Announce returns. An instance has one spot interruption and one rebalance
// recommendation; a new one takes the place of the old.
func (c *Control) Announce(ctx context.Context, caller Caller, e NewEvent) ([]Event, error) {
	dialects, err := e.where(c.now())
	if err != nil {
		return nil, err
	}
	has := func(in *state.Instance) bool { return slices.Contains(dialects, in.Spec.Dialect) }
	ids, err := c.find(e.Target, func(in *state.Instance) bool { return in.Spec.State == stateRunning && has(in) })
	if err != nil {
		if others, _ := c.find(e.Target, alive); len(others) > 0 {
			if in, _ := c.db.Instances.Get(others[0]); in != nil && !has(in) {
				return nil, invalid("%s is an instance of %s: %s", in.Spec.ID, in.Spec.Dialect, instead(e, in.Spec.Dialect))
			}
		}
		return nil, err
	}
	for _, id := range ids {
		in, _ := c.db.Instances.Get(id)
		switch {
		case in == nil:
			return nil, noResource(KindInstances, id)
		case !has(in):
			return nil, invalid("%s is an instance of %s: %s", id, in.Spec.Dialect, instead(e, in.Spec.Dialect))
		case !alive(in):
			return nil, fault.New(fault.Conflict, "%s is %s: nobody would see its events", id, in.Spec.State)
		}
	}
	if err := c.permit(caller, about(ids)); err != nil {
		return nil, err
	}
	return c.changeEvents(ctx, ids, func(in *state.Instance) []Event { return c.announce(in, e) })
}

func (c *Control) now() time.Time { return c.cfg.Now().UTC().Truncate(time.Second) }

// announce adds an event to an instance.
func (c *Control) announce(in *state.Instance, e NewEvent) []Event {
	events, at, id := &in.Spec.Events, e.At.UTC().Truncate(time.Second), ""
	switch e.Type {
	case EventSpot:
		if e.At.IsZero() {
			at = c.now().Add(noticeEC2)
			if in.Spec.Dialect == instance.DialectECS {
				at = c.now().Add(noticeECS)
			}
		}
		events.Spot = &instance.SpotInterruption{Action: e.What, Time: at}
	case EventRebalance:
		events.Rebalance = at
	case EventMaintenance:
		id = "instance-event-" + c.hex(17)
		events.Maintenance = append(events.Maintenance, instance.Maintenance{
			ID: id, Code: e.What, Description: e.Description, NotBefore: at, NotAfter: e.Until.UTC().Truncate(time.Second), State: instance.EventActive,
		})
	case EventSystem:
		id = "e-bp1" + c.hex(17)
		events.System = append(events.System, instance.SystemEvent{ID: id, Type: e.What, Status: "Scheduled", NotBefore: at})
	}
	in.Expiring = slices.DeleteFunc(in.Expiring, func(x state.Expiring) bool { return x.Type == e.Type && x.ID == id })
	if !e.Expires.IsZero() {
		in.Expiring = append(in.Expiring, state.Expiring{Type: e.Type, ID: id, At: e.Expires.UTC()})
	}
	all := eventsOf(in)
	return all[slices.IndexFunc(all, func(x Event) bool { return x.Type == e.Type && x.ID == id }):][:1]
}

// eventsOf lists the events of an instance, those that are over included.
func eventsOf(in *state.Instance) []Event {
	var all []Event
	add := func(e Event) {
		e.Instance, e.Dialect = in.Spec.ID, in.Spec.Dialect
		for _, x := range in.Expiring {
			if x.Type == e.Type && x.ID == e.ID {
				e.Expires = x.At
			}
		}
		all = append(all, e)
	}
	if s := in.Spec.Events.Spot; s != nil {
		add(Event{Type: EventSpot, What: s.SpotAction(), At: s.Time})
	}
	if t := in.Spec.Events.Rebalance; !t.IsZero() {
		add(Event{Type: EventRebalance, At: t})
	}
	for _, m := range in.Spec.Events.Maintenance {
		add(Event{Type: EventMaintenance, ID: m.ID, What: m.Code, Description: m.Description, Status: cmp.Or(m.State, instance.EventActive), At: m.NotBefore, Until: m.NotAfter})
	}
	for _, s := range in.Spec.Events.System {
		add(Event{Type: EventSystem, ID: s.ID, What: s.Type, Status: s.Status, At: s.NotBefore})
	}
	return all
}

// changeEvents changes the events of instances, as many at a time as a commit
// holds, and returns what change returned.
func (c *Control) changeEvents(ctx context.Context, ids []string, change func(*state.Instance) []Event) ([]Event, error) {
	var done []Event
	for part := range slices.Chunk(ids, manyPerCommit) {
		var events []Event
		err := c.update(ctx, func(tx *state.Tx) error {
			events = nil
			for _, id := range part {
				in, ok, err := state.Load(tx, c.db.Instances, id)
				if err != nil {
					return err
				}
				if !ok || !alive(in) {
					continue // it has ended since it was found
				}
				of := change(in)
				if len(of) == 0 {
					continue
				}
				events = append(events, of...)
				if problems := instance.Validate(&in.Spec); len(problems) > 0 {
					return invalid("%s: %s", id, problems[0])
				}
				if err := state.Save(tx, c.db.Instances, id, in); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return done, err
		}
		done = append(done, events...)
	}
	return done, nil
}
