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

// EvaluateAlarms evaluates every alarm on the last whole periods, which begin at
// multiples of the period since 1970 (EC2-CW-25). One that cannot be evaluated
// keeps its state, and the others go on.
func (c *Control) EvaluateAlarms(ctx context.Context, m Metrics) error {
	var problems []error
	for _, a := range c.db.Alarms.All(func(a *state.Alarm) bool { return !a.Disabled }) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := c.evaluateAlarm(ctx, a, m); err != nil {
			problems = append(problems, fmt.Errorf("evaluate alarm %q of account %s: %w", a.Name, a.Account, err))
		}
	}
	return errors.Join(problems...)
}

func (c *Control) evaluateAlarm(ctx context.Context, a *state.Alarm, m Metrics) error {
	next := map[string]state.AlarmStatus{}
	gone := map[string]bool{}
	for id := range a.Status {
		gone[id] = true
	}
	for _, id := range c.subjects(a) {
		delete(gone, id)
		to, err := c.decide(a, id, m)
		if err != nil {
			return err
		}
		was, evaluated := a.Status[id]
		remind := to.State == alarm.Alarm && a.Remind > 0 && c.cfg.Now().Sub(was.Told) >= a.Remind
		switch {
		case evaluated && to.State == was.State && to.Level == was.Level && !remind:
		case !evaluated && to.State == alarm.Insufficient: // as it is from the beginning
		default:
			next[id] = to
		}
	}
	if len(next)+len(gone) == 0 {
		return nil
	}
	var turned []turn
	err := c.update(ctx, func(tx *state.Tx) error {
		turned = nil
		now, ok, err := state.Load(tx, c.db.Alarms, a.Key())
		if err != nil || !ok || !now.Updated.Equal(a.Updated) {
			return err // it was put meanwhile: the next time is for that one
		}
		for id := range next {
			if now.Status[id].State != a.Status[id].State {
				return nil // somebody else has moved it
			}
		}
		maps.DeleteFunc(now.Status, func(id string, _ state.AlarmStatus) bool { return gone[id] })
		turned, err = c.turn(tx, now, next)
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
		return c.metered(Caller{Dialect: a.Dialect, Account: a.Account, Region: a.Region}, nil)
	}
	if len(a.Instances) == 0 {
		return []string{""}
	}
	return slices.Clone(a.Instances)
}

// decide returns the state of an alarm for an instance: that of the first level
// that alarms, or else of the last.
func (c *Control) decide(a *state.Alarm, id string, m Metrics) (state.AlarmStatus, error) {
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
		if to == alarm.Alarm {
			return state.AlarmStatus{State: to, Level: l.Name, Reason: reason}, nil
		}
		if i == 0 || to == alarm.OK {
			next.State, next.Reason = to, reason
		}
	}
	return next, nil
}
