package admin

import (
	"strconv"
	"strings"
	"time"

	"openimds/internal/control"
	"openimds/internal/fault"
	"openimds/internal/instance"
)

// Target says which instances are meant: those named, or those of a filter, or
// all.
type Target struct {
	// Identifiers of instances. Nothing else is given with them.
	Instances []string `json:"instances,omitempty"`
	// Tags that an instance has, all of them; the value `*` is any.
	Tags map[string]string `json:"tags,omitempty"`
	// Dialect that it is of: `ecs` or `ec2`.
	Dialect string `json:"dialect,omitempty"`
	// A part of those that the rest means, such as `10%`: the same ones each time, and with a larger share others besides.
	Share string `json:"share,omitempty"`
	// All instances.
	All bool `json:"all,omitempty"`
}

func (t Target) target() (control.Target, error) {
	out := control.Target{Instances: t.Instances, Tags: t.Tags, Dialect: t.Dialect, All: t.All}
	if t.Share == "" {
		return out, nil
	}
	number, percent := strings.CutSuffix(t.Share, "%")
	share, err := strconv.ParseFloat(number, 64)
	if percent {
		share /= 100
	}
	if err != nil || !(share > 0 && share <= 1) {
		return out, fault.New(fault.Invalid, "target.share: found %.40q, expected a share such as 10%%, more than 0%% and at most 100%%", t.Share)
	}
	out.Share = share
	return out, nil
}

// OptionsResult is what became of the metadata options of one instance.
type OptionsResult struct {
	// Identifier of the instance.
	Instance string `json:"instance"`
	// The options that it has now.
	Options instance.MetadataOptions `json:"options"`
	// They were others before.
	Changed bool `json:"changed"`
	// They take effect when it is started.
	Pending bool `json:"pending,omitempty"`
	// Why they stayed as they were.
	Error string `json:"error,omitempty"`
}

func optionsResult(r control.OptionsResult) OptionsResult {
	out := OptionsResult{Instance: r.ID, Options: r.Options, Changed: r.Changed, Pending: r.Pending}
	if r.Err != nil {
		out.Error = control.Explain(r.Err)
	}
	return out
}

func (c *call) setOptions(change *instance.MetadataOptions) (OptionsResult, error) {
	done, err := c.Control.SetOptions(c.Context(), c.caller, control.Target{Instances: []string{c.PathValue("id")}}, *change)
	if err == nil {
		err = done[0].Err
	}
	if err != nil {
		return OptionsResult{}, err
	}
	return optionsResult(done[0]), nil
}

// ManyOptions is a change of the metadata options of many instances.
type ManyOptions struct {
	// Whose options.
	Target Target `json:"target"`
	// The options to change; what is left out stays.
	Options instance.MetadataOptions `json:"options"`
}

// OptionsResults are what became of the options of many instances.
type OptionsResults struct {
	// A result for each instance, by identifier.
	Results []OptionsResult `json:"results"`
	// How many have other options than before.
	Changed int `json:"changed"`
	// How many could not be changed.
	Failed int `json:"failed"`
}

func (c *call) setOptionsOfMany(in *ManyOptions) (OptionsResults, error) {
	out := OptionsResults{Results: []OptionsResult{}}
	target, err := in.Target.target()
	if err != nil {
		return out, err
	}
	done, err := c.Control.SetOptions(c.Context(), c.caller, target, in.Options)
	if err != nil {
		return out, err
	}
	for _, r := range done {
		out.Results = append(out.Results, optionsResult(r))
		if r.Changed {
			out.Changed++
		}
		if r.Err != nil {
			out.Failed++
		}
	}
	return out, nil
}

// NewEvent is an event to put before instances.
type NewEvent struct {
	// `spot`: the instance is taken back (ECS, EC2). `rebalance`: that may be soon (EC2). `maintenance`: scheduled maintenance (EC2).
	// `system`: a system event (ECS).
	Type string `json:"type"`
	// What happens. Spot: `terminate` (default), and on EC2 `stop` or `hibernate`. Maintenance: `system-reboot` (default), `instance-reboot`,
	// `system-maintenance`, `instance-retirement` or `instance-stop`. System: a type of ECS, such as `SystemMaintenance.Reboot` (default).
	What string `json:"what,omitempty"`
	// When. Spot: in two minutes (EC2) or five (ECS) if it is not said; rebalance: now; the others must say it.
	At time.Time `json:"at,omitzero"`
	// How long from now, such as `90s` or `2h`, in place of `at`.
	In time.Duration `json:"in,omitempty"`
	// When maintenance is over at the latest. Default: two hours after it begins.
	Until time.Time `json:"until,omitzero"`
	// Maintenance in words.
	Description string `json:"description,omitempty"`
	// When the event goes away by itself, within a minute. Default: when it is cleared.
	Expires time.Time `json:"expires,omitzero"`
	// How long from now until then, in place of `expires`.
	ExpiresIn time.Duration `json:"expiresIn,omitempty"`
	// Which instances. A filter means running ones that can have the event.
	Target Target `json:"target"`
}

// Event is an event of an instance.
type Event struct {
	// Identifier of the instance.
	Instance string `json:"instance"`
	// Its dialect.
	Dialect string `json:"dialect"`
	// Type of the event.
	Type string `json:"type"`
	// Identifier of the event, if it has one.
	ID string `json:"id,omitempty"`
	// What happens.
	What string `json:"what,omitempty"`
	// When.
	At time.Time `json:"at"`
	// When it is over at the latest.
	Until time.Time `json:"until,omitzero"`
	// In words.
	Description string `json:"description,omitempty"`
	// How far it is, such as `active` or `Scheduled`.
	Status string `json:"status,omitempty"`
	// When it goes away by itself.
	Expires time.Time `json:"expires,omitzero"`
}

// Events is a list of events, by instance.
type Events struct {
	// The events.
	Events []Event `json:"events"`
}

func eventsView(all []control.Event) Events {
	out := Events{Events: make([]Event, len(all))}
	for i, e := range all {
		out.Events[i] = Event{
			Instance: e.Instance, Dialect: e.Dialect, Type: e.Type, ID: e.ID, What: e.What, At: e.At, Until: e.Until,
			Description: e.Description, Status: e.Status, Expires: e.Expires,
		}
	}
	return out
}

func (c *call) announce(in *NewEvent) (Events, error) {
	target, err := in.Target.target()
	if err != nil {
		return Events{}, err
	}
	e := control.NewEvent{Type: in.Type, What: in.What, Until: in.Until, Description: in.Description, Target: target}
	if e.At, err = c.moment("at", "in", in.At, in.In); err != nil {
		return Events{}, err
	}
	if e.Expires, err = c.moment("expires", "expiresIn", in.Expires, in.ExpiresIn); err != nil {
		return Events{}, err
	}
	done, err := c.Control.Announce(c.Context(), c.caller, e)
	return eventsView(done), err
}

// moment returns the time that is given as such or as a duration from now.
func (c *call) moment(atKey, inKey string, at time.Time, in time.Duration) (time.Time, error) {
	switch {
	case in == 0:
		return at, nil
	case !at.IsZero():
		return at, fault.New(fault.Invalid, "%s and %s: give one of them", atKey, inKey)
	case in < 0:
		return at, fault.New(fault.Invalid, "%s: found %s, expected a duration from now on", inKey, in)
	}
	return c.Now().Add(in), nil
}

// eventFilter reads the parameters that say which events are meant.
func (c *call) eventFilter() (control.EventFilter, error) {
	f := control.EventFilter{Type: c.query.Get("type"), ID: c.query.Get("id")}
	f.Instances, f.Dialect, f.All = c.query["instance"], c.query.Get("dialect"), c.query.Has("all")
	given, err := tags(c.query["tag"])
	f.Tags = given
	if len(f.Instances) > 0 && (len(f.Tags) > 0 || f.Dialect != "" || f.All) {
		return f, fault.New(fault.Invalid, "instances are named: leave tag, dialect and all out, or the names")
	}
	return f, err
}

func (c *call) events() (Events, error) {
	f, err := c.eventFilter()
	if err != nil {
		return Events{}, err
	}
	all, err := c.Control.Events(c.caller, f)
	return eventsView(all), err
}

func (c *call) clearEvents() (Events, error) {
	f, err := c.eventFilter()
	if err != nil {
		return Events{}, err
	}
	gone, err := c.Control.ClearEvents(c.Context(), c.caller, f, c.query.Get("as"))
	return eventsView(gone), err
}
