package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"openimds/internal/alarm"
	"openimds/internal/metric"
	"openimds/internal/state"
)

// Metrics are what alarms are evaluated on.
type Metrics struct {
	Read metric.Read
	// Measure returns a metric by the names that a dialect's API has for it;
	// false: there is none, and never any data.
	Measure func(dialect, namespace, name string) (metric.Measure, bool)
}

// Bounds of one alarm.
const (
	// MostSubjects is how many instances a rule over all is evaluated for: the first by identifier.
	MostSubjects = 10_000
	// turnsTogether is how many of its states one commit changes.
	turnsTogether = 50
)

// EvaluateAlarms evaluates every alarm on the last whole periods, which begin at
// multiples of the period since 1970 (EC2-CW-25). One that cannot be evaluated
// keeps its state, and the others go on.
func (c *Control) EvaluateAlarms(ctx context.Context, m Metrics) error {
	var problems []error
	states, left := c.alarmStates()
	if err := c.forgetStates(ctx, left, c.owned); err != nil {
		problems = append(problems, fmt.Errorf("forget states of alarms: %w", err))
	}
	for _, a := range c.db.Alarms.All(func(a *state.Alarm) bool { return !a.Disabled }) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := c.evaluateAlarm(ctx, Alarm{a, states[a.Key()]}, m); err != nil {
			problems = append(problems, fmt.Errorf("evaluate alarm %q of account %s: %w", a.Name, a.Account, err))
		}
	}
	c.values.sweep(c.cfg.Now())
	return errors.Join(problems...)
}

// evaluateAlarm evaluates an alarm for all of its instances. What has changed is
// committed some at a time: after a crash, the rest is found to have changed
// again.
func (c *Control) evaluateAlarm(ctx context.Context, a Alarm, m Metrics) error {
	next := map[string]state.AlarmStatus{}
	gone := maps.Clone(a.States)
	for _, id := range c.subjects(a.Alarm) {
		was, evaluated := a.States[id]
		delete(gone, id)
		to, err := c.decide(a, id, m)
		if err != nil {
			return err
		}
		c.values.put(state.AlarmStateKey(a.Key(), id), to, c.cfg.Now())
		remind := to.State == alarm.Alarm && a.Remind > 0 && c.cfg.Now().Sub(was.Told) >= a.Remind
		switch {
		case evaluated && to.State == was.State && to.Level == was.Level && !remind:
		case !evaluated && to.State == alarm.Insufficient: // as it is from the beginning
		default:
			next[id] = to
		}
	}
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(next)), turnsTogether) {
		if err := c.turnTogether(ctx, a, ids, next); err != nil {
			return err
		}
	}
	var keys []string
	for id := range gone {
		keys = append(keys, state.AlarmStateKey(a.Key(), id))
	}
	return c.forgetStates(ctx, keys, func(s *state.AlarmState) bool { return c.owned(s) && !s.Created.Equal(a.Created) })
}

// turnTogether puts an alarm into new states for some instances, in one commit.
func (c *Control) turnTogether(ctx context.Context, a Alarm, ids []string, next map[string]state.AlarmStatus) error {
	var turned []turn
	err := c.update(ctx, func(tx *state.Tx) error {
		turned = nil
		now, ok, err := state.Load(tx, c.db.Alarms, a.Key())
		if err != nil || !ok || !now.Updated.Equal(a.Updated) {
			return err // it was put meanwhile: the next time is for that one
		}
		some := map[string]state.AlarmStatus{}
		for _, id := range ids {
			some[id] = next[id]
		}
		turned, err = c.turn(tx, now, some, a.States)
		return err
	})
	if err == nil {
		c.logTurns(turned)
	}
	return err
}

// subjects are the instances that an alarm is evaluated for. One that is about
// none, or about one of somebody else, has no data, and a state all the same.
func (c *Control) subjects(a *state.Alarm) []string {
	if a.Everything {
		all := c.metered(Caller{Dialect: a.Dialect, Account: a.Account, Region: a.Region}, nil)
		if len(all) > MostSubjects {
			c.log.Error("a rule over all instances is evaluated for the first ones alone", "alarm", a.Name, "account", a.Account, "instances", len(all), "evaluated", MostSubjects)
			slices.Sort(all)
			all = all[:MostSubjects]
		}
		return all
	}
	if len(a.Instances) == 0 {
		return []string{""}
	}
	return slices.Clone(a.Instances)
}

// decide returns the state of an alarm for an instance: that of the first level
// that alarms, or else of the last.
func (c *Control) decide(a Alarm, id string, m Metrics) (state.AlarmStatus, error) {
	was := a.StatusOf(id)
	var all []metric.Datapoint
	longest := 0
	for _, l := range a.Levels {
		longest = max(longest, l.Rule.Window())
	}
	now := c.cfg.Now()
	end := now.Truncate(a.Period)
	measure, known := m.Measure(a.Dialect, a.Namespace, a.Metric)
	mine := c.metered(Caller{Dialect: a.Dialect, Account: a.Account, Region: a.Region}, []string{id})
	if known && len(mine) > 0 {
		var err error
		q := metric.Query{Instance: id, Measure: measure, From: end.Add(-time.Duration(longest) * a.Period), To: end, Period: a.Period}
		if all, err = q.Run(m.Read, now); err != nil {
			return was, err
		}
	}
	next := state.AlarmStatus{State: alarm.Insufficient}
	if len(all) > 0 {
		next.ValueAt = all[len(all)-1].Start
	}
	for i, l := range a.Levels {
		statistic, ok := metric.ParseStatistic(l.Statistic)
		if !ok {
			return was, fmt.Errorf("statistic %q is unknown", l.Statistic)
		}
		values := make([]alarm.Value, l.Rule.Window())
		for _, d := range all {
			if age := int(end.Sub(d.Start) / a.Period); age <= len(values) {
				v := statistic(d)
				values[len(values)-age] = &v
			}
		}
		before := was.State
		if before == alarm.Alarm && was.Level != l.Name {
			before = alarm.OK
		}
		to, reason := l.Rule.Decide(values, before)
		var newest alarm.Value
		if len(all) > 0 {
			v := statistic(all[len(all)-1])
			newest = &v
		}
		if to == alarm.Alarm {
			return state.AlarmStatus{State: to, Level: l.Name, Reason: reason, Value: newest, ValueAt: next.ValueAt}, nil
		}
		if i == 0 || to == alarm.OK {
			next.State, next.Reason, next.Value = to, reason, newest
		}
	}
	return next, nil
}
