package control

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"openimds/internal/alarm"
	"openimds/internal/instance"
	"openimds/internal/state"
)

// Bounds of alarms.
const (
	mostAlarms  = 5000 // of an account in a region (EC2-CW-24)
	mostActions = 5    // of a state (EC2-CW-17)
	mostAddress = 1024 // bytes of an action
)

// monitoring is how policies name the API that a caller's metrics and alarms
// are reached by.
func monitoring(caller Caller) Caller {
	caller.Service = "cloudwatch"
	if caller.Dialect == instance.DialectECS {
		caller.Service = "cms"
	}
	return caller
}

// place is the region that a caller's alarms are kept in: ECS keeps those of an
// account together.
func (c Caller) place() string {
	if c.Dialect == instance.DialectECS {
		return ""
	}
	return c.Region
}

// AlarmARN names an alarm of the caller.
func AlarmARN(caller Caller, name string) string {
	if caller.Dialect == instance.DialectECS {
		return "acs:cms:" + caller.Region + ":" + caller.Account + ":rule/" + name
	}
	return "arn:aws:cloudwatch:" + caller.Region + ":" + caller.Account + ":alarm:" + name
}

func alarmKey(caller Caller, name string) string {
	return state.AlarmKey(caller.Dialect, caller.Account, caller.place(), name)
}

// Metered returns which of the given instances the caller may read the metrics
// of, those that are gone and were the caller's among them; without any, all
// that there are. Of those that are gone and nobody knows the owner of, nobody
// reads anything.
func (c *Control) Metered(caller Caller, ids ...string) ([]string, error) {
	if err := c.permit(monitoring(caller), ask{}); err != nil {
		return nil, err
	}
	return c.metered(caller, ids), nil
}

func (c *Control) metered(caller Caller, ids []string) (found []string) {
	if ids != nil {
		for _, id := range ids {
			if c.Owns(caller, id) {
				found = append(found, id)
			}
		}
		return found
	}
	for _, in := range c.db.Instances.All(func(in *state.Instance) bool { return caller.owns(ownerOf(in)) }) {
		found = append(found, in.Spec.ID)
	}
	return found
}

// Owns reports whether an instance is the caller's, or was when it was there.
// It does not ask whether the caller may do anything: Metered does.
func (c *Control) Owns(caller Caller, id string) bool {
	if in, ok := c.db.Instances.Get(id); ok {
		return caller.owns(ownerOf(in))
	}
	if c.cfg.Departed == nil {
		return false
	}
	was, ok := c.cfg.Departed(id)
	return ok && caller.owns(was)
}

func ownerOf(in *state.Instance) Owner {
	return Owner{in.Spec.Dialect, in.Spec.Account, in.Spec.Region}
}

// owns reports whether metrics of an owner's instance are the caller's.
func (c Caller) owns(o Owner) bool {
	return o.Dialect == c.Dialect && o.Account == c.Account && (c.Dialect == instance.DialectECS || o.Region == c.Region)
}

// Alarms returns the caller's alarms, sorted by name: those that are named, or
// without names all.
func (c *Control) Alarms(caller Caller, names []string) ([]Alarm, error) {
	if err := c.permit(monitoring(caller), alarmAsk(caller, names)); err != nil {
		return nil, err
	}
	return c.alarms(func(a *state.Alarm) bool {
		return a.Dialect == caller.Dialect && a.Account == caller.Account && a.Region == caller.place() && (len(names) == 0 || slices.Contains(names, a.Name))
	}), nil
}

func alarmAsk(caller Caller, names []string) ask {
	a := ask{}
	for _, name := range names {
		a.on(AlarmARN(caller, name), nil)
	}
	return a
}

// PutAlarm makes an alarm, or replaces the configuration of the one with its
// name, which keeps its state. Owner and times are filled in.
func (c *Control) PutAlarm(ctx context.Context, caller Caller, a state.Alarm) error {
	if err := c.permit(monitoring(caller), alarmAsk(caller, []string{a.Name})); err != nil {
		return err
	}
	if err := checkActions(a.Actions); err != nil {
		return err
	}
	a.Dialect, a.Account, a.Region = caller.Dialect, caller.Account, caller.place()
	key, now := a.Key(), c.cfg.Now().UTC()
	if _, known := c.db.Alarms.Get(key); !known {
		others := c.db.Alarms.All(func(o *state.Alarm) bool {
			return o.Dialect == a.Dialect && o.Account == a.Account && o.Region == a.Region
		})
		if len(others) >= mostAlarms {
			return refuse(TooManyAlarms, a.Name)
		}
	}
	return c.update(ctx, func(tx *state.Tx) error {
		next := a
		old, known, err := state.Load(tx, c.db.Alarms, key)
		if err != nil {
			return err
		}
		summary := "created"
		next.Created, next.Updated = now, now
		if known {
			summary = "updated"
			next.Created, next.Events, next.GivenUp = old.Created, old.Events, old.GivenUp
		}
		next.Note(state.AlarmEvent{At: now, Type: state.AlarmConfigured, Summary: "Alarm \"" + a.Name + "\" " + summary})
		return state.Save(tx, c.db.Alarms, key, &next)
	})
}

// checkActions refuses addresses that nothing could be sent to.
func checkActions(actions map[alarm.State][]string) error {
	for _, all := range actions {
		if len(all) > mostActions {
			return &Error{Reason: InvalidValue, Subject: "actions", Detail: "more than 5 for a state"}
		}
		for _, text := range all {
			if problem := checkAction(text); problem != nil {
				return &Error{Reason: InvalidValue, Subject: "actions", Detail: text, Err: problem}
			}
		}
	}
	return nil
}

// IsWebhook reports whether an action is an address to send to.
func IsWebhook(action string) bool {
	return strings.HasPrefix(action, "http://") || strings.HasPrefix(action, "https://")
}

func checkAction(text string) error {
	switch {
	case text == "" || len(text) > mostAddress:
		return errors.New("an action has 1 to 1024 bytes")
	case strings.HasPrefix(text, "arn:"):
		return nil
	case !IsWebhook(text):
		return errors.New("an action is an ARN, or an address that begins with http:// or https://")
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return errors.New("an address has a host, and neither a password nor a fragment")
	}
	return nil
}

// DeleteAlarms deletes alarms; their states follow when alarms are evaluated.
// Names that none has are left alone.
func (c *Control) DeleteAlarms(ctx context.Context, caller Caller, names []string) error {
	if err := c.permit(monitoring(caller), alarmAsk(caller, names)); err != nil {
		return err
	}
	return c.update(ctx, func(tx *state.Tx) error {
		for _, name := range names {
			state.Remove(tx, c.db.Alarms, alarmKey(caller, name))
		}
		return nil
	})
}

// SwitchAlarms turns alarms on or off: EC2's go on and tell nobody, ECS's stop.
// Names that none has are left alone.
func (c *Control) SwitchAlarms(ctx context.Context, caller Caller, names []string, on bool) error {
	if err := c.permit(monitoring(caller), alarmAsk(caller, names)); err != nil {
		return err
	}
	return c.update(ctx, func(tx *state.Tx) error {
		for _, name := range names {
			key := alarmKey(caller, name)
			a, ok, err := state.Load(tx, c.db.Alarms, key)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			if caller.Dialect == instance.DialectECS {
				a.Disabled = !on
			} else {
				a.Silent = !on
			}
			a.Updated = c.cfg.Now().UTC()
			if err := state.Save(tx, c.db.Alarms, key, a); err != nil {
				return err
			}
		}
		return nil
	})
}

// SetAlarmState puts an alarm into a state until it is evaluated the next time,
// and tells whoever is told of it.
func (c *Control) SetAlarmState(ctx context.Context, caller Caller, name string, to state.AlarmStatus) error {
	if err := c.permit(monitoring(caller), alarmAsk(caller, []string{name})); err != nil {
		return err
	}
	var turned []turn
	err := c.update(ctx, func(tx *state.Tx) error {
		turned = nil
		a, ok, err := state.Load(tx, c.db.Alarms, alarmKey(caller, name))
		if err != nil {
			return err
		}
		if !ok {
			return refuse(AlarmNotFound, name)
		}
		subject := ""
		if len(a.Instances) > 0 {
			subject = a.Instances[0]
		}
		turned, err = c.turn(tx, a, map[string]state.AlarmStatus{subject: to}, nil)
		return err
	})
	if err == nil {
		c.logTurns(turned)
	}
	return err
}
