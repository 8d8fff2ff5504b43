package control

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"openimds/internal/state"
)

// Alarm is an alarm with its states by instance; an instance without one is at
// the beginning.
type Alarm struct {
	*state.Alarm
	States map[string]state.AlarmStatus
}

// StatusOf returns the state for an instance, that at the beginning included.
func (a Alarm) StatusOf(instance string) state.AlarmStatus {
	if s, ok := a.States[instance]; ok {
		return s
	}
	return a.AtFirst()
}

// Delivery is how the messages of an alarm to one address stand.
type Delivery struct {
	// Address is scheme and host: the rest may be a secret.
	Address string
	// Waiting is how many messages did not arrive yet, Failed how many of them were tried; Tries how often the oldest was, Since when it was made.
	Waiting, Failed, Tries int
	Since                  time.Time
	// Problem of its last try; Next is not before that time.
	Problem string
	Next    time.Time
}

// WatchedAlarm is an alarm as an operator sees it.
type WatchedAlarm struct {
	Alarm
	// Deliveries are those that are under way, by address.
	Deliveries []Delivery
}

// WatchedAlarms returns the alarms of all accounts for which keep is true, by
// their keys.
func (c *Control) WatchedAlarms(caller Caller, resource string, keep func(*state.Alarm) bool) ([]WatchedAlarm, error) {
	if err := c.permit(caller, ask{resources: []string{resource}}); err != nil {
		return nil, err
	}
	waiting := map[string][]*state.Notice{}
	for _, n := range c.db.Notices.All(nil) { // the oldest first
		waiting[n.Alarm] = append(waiting[n.Alarm], n)
	}
	found := c.alarms(keep)
	slices.SortFunc(found, func(a, b Alarm) int { return strings.Compare(a.Key(), b.Key()) })
	all := make([]WatchedAlarm, len(found))
	for i, a := range found {
		all[i] = WatchedAlarm{a, deliveries(waiting[a.Key()])}
	}
	return all, nil
}

// deliveries sums up the messages of an alarm.
func deliveries(notices []*state.Notice) (all []Delivery) {
	at := map[string]int{}
	for _, n := range notices {
		i, ok := at[n.URL]
		if !ok {
			i = len(all)
			at[n.URL] = i
			all = append(all, Delivery{Address: AddressOf(n.URL), Tries: n.Tries, Since: n.Made, Problem: n.Problem, Next: n.Next})
		}
		d := &all[i]
		d.Waiting++
		if n.Tries > 0 {
			d.Failed++
		}
	}
	slices.SortStableFunc(all, func(a, b Delivery) int { return strings.Compare(a.Address, b.Address) })
	return all
}

// AddressOf is what may be said of where a message goes: scheme and host. An
// action that is none of ours to call is returned as it is.
func AddressOf(action string) string {
	if !IsWebhook(action) {
		return action
	}
	u, err := url.Parse(action)
	if err != nil {
		return "an address"
	}
	return u.Scheme + "://" + u.Host
}

// alarms returns those for which keep is true, with their states, by name.
func (c *Control) alarms(keep func(*state.Alarm) bool) []Alarm {
	found := c.db.Alarms.All(keep)
	states := map[string]map[string]state.AlarmStatus{}
	if len(found) == 1 {
		states[found[0].Key()] = c.statesOf(found[0])
	} else if len(found) > 0 {
		states, _ = c.alarmStates()
	}
	all := make([]Alarm, len(found))
	for i, a := range found {
		c.values.fill(a.Key(), states[a.Key()])
		all[i] = Alarm{a, states[a.Key()]}
	}
	slices.SortFunc(all, func(a, b Alarm) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (c *Control) statesOf(a *state.Alarm) map[string]state.AlarmStatus {
	all := map[string]state.AlarmStatus{}
	for _, s := range c.db.AlarmStates.All(func(s *state.AlarmState) bool { return s.Of(a) }) {
		all[s.Instance] = s.AlarmStatus
	}
	return all
}

// alarmStates returns the states of all alarms, by key and instance, and the
// keys of those whose alarm is gone.
func (c *Control) alarmStates() (states map[string]map[string]state.AlarmStatus, left []string) {
	states = map[string]map[string]state.AlarmStatus{}
	for _, s := range c.db.AlarmStates.All(nil) {
		if !c.owned(s) {
			left = append(left, s.Key())
			continue
		}
		if states[s.Alarm] == nil {
			states[s.Alarm] = map[string]state.AlarmStatus{}
		}
		states[s.Alarm][s.Instance] = s.AlarmStatus
	}
	return states, left
}

// forgetStates removes states, some at a time, but those that keep is true for.
func (c *Control) forgetStates(ctx context.Context, keys []string, keep func(*state.AlarmState) bool) error {
	for some := range slices.Chunk(keys, 500) {
		err := c.update(ctx, func(tx *state.Tx) error {
			for _, key := range some {
				s, ok, err := state.Load(tx, c.db.AlarmStates, key)
				if err != nil {
					return err
				}
				if ok && !keep(s) {
					state.Remove(tx, c.db.AlarmStates, key)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// owned reports whether the alarm of a state exists.
func (c *Control) owned(s *state.AlarmState) bool {
	a, ok := c.db.Alarms.Get(s.Alarm)
	return ok && s.Of(a)
}

// value is what an alarm was evaluated on the last time.
type value struct {
	of, at time.Time
	is     *float64
}

// lastValues are those of all alarms and instances, by the keys of their states.
// They are not kept: each evaluation finds them again.
type lastValues struct {
	mu  sync.Mutex
	all map[string]value
}

func (l *lastValues) put(key string, s state.AlarmStatus, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.Value == nil {
		delete(l.all, key)
		return
	}
	if l.all == nil {
		l.all = map[string]value{}
	}
	l.all[key] = value{of: s.ValueAt, at: now, is: s.Value}
}

// sweep forgets the values of what is not evaluated any more.
func (l *lastValues) sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.all, func(_ string, v value) bool { return now.Sub(v.at) > 10*time.Minute })
}

// fill puts the last values into states; those of a state that was stored are as
// old as it.
func (l *lastValues) fill(alarm string, states map[string]state.AlarmStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, s := range states {
		if v, ok := l.all[state.AlarmStateKey(alarm, id)]; ok {
			s.Value, s.ValueAt = v.is, v.of
			states[id] = s
		}
	}
}
