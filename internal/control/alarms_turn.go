package control

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"openimds/internal/alarm"
	"openimds/internal/state"
)

// AlarmMessage is what a webhook is sent, as JSON.
type AlarmMessage struct {
	// ID is the same at every try: what comes twice is one message.
	ID    string `json:"id"`
	Alarm string `json:"alarm"`
	Title string `json:"title,omitempty"`
	// Description a person gave it.
	Description string `json:"description,omitempty"`
	Dialect     string `json:"dialect"`
	Account     string `json:"account"`
	Region      string `json:"region,omitempty"`
	Namespace   string `json:"namespace"`
	Metric      string `json:"metric"`
	Instance    string `json:"instance,omitempty"`
	// State now, and Was before; the same where a reminder is sent. Level is that of an ECS rule.
	State  alarm.State `json:"state"`
	Was    alarm.State `json:"was"`
	Level  string      `json:"level,omitempty"`
	Reason string      `json:"reason"`
	// Value that decided, of the newest period that has one.
	Value *float64  `json:"value,omitempty"`
	At    time.Time `json:"at"`
}

// turn is a change of an alarm's state that was committed.
type turn struct {
	alarm    *state.Alarm
	instance string
	was, now state.AlarmStatus
	told     int // addresses
	only     []string
}

// turn puts an alarm into new states and makes the notices of it, in one
// commit. Where was is not nil, states that somebody else has moved since stay.
func (c *Control) turn(tx *state.Tx, a *state.Alarm, next, was map[string]state.AlarmStatus) ([]turn, error) {
	now := c.cfg.Now().UTC()
	var all []turn
	for _, id := range slices.Sorted(maps.Keys(next)) {
		record := state.AlarmState{Alarm: a.Key(), Created: a.Created, Instance: id, AlarmStatus: a.AtFirst()}
		kept, ok, err := state.Load(tx, c.db.AlarmStates, record.Key())
		if err != nil {
			return nil, err
		}
		if ok && kept.Of(a) {
			record = *kept
		}
		before, known := was[id]
		if was != nil && known != (ok && kept.Of(a)) || known && before.State != record.State {
			continue
		}
		t, err := c.turnOne(tx, a, &record, next[id], now)
		if err != nil {
			return nil, err
		}
		if t != nil {
			all = append(all, *t)
		}
		if err := state.Save(tx, c.db.AlarmStates, record.Key(), &record); err != nil {
			return nil, err
		}
	}
	return all, state.Save(tx, c.db.Alarms, a.Key(), a)
}

// turnOne puts a state into a record, and the messages of it into the outbox. It
// returns nil where there is nothing to say.
func (c *Control) turnOne(tx *state.Tx, a *state.Alarm, record *state.AlarmState, to state.AlarmStatus, now time.Time) (*turn, error) {
	was, id := record.AlarmStatus, record.Instance
	t := &turn{alarm: a, instance: id, was: was, now: to}
	moved := was.State != to.State || was.Level != to.Level
	to.Since, to.Told = was.Since, was.Told
	if moved {
		to.Since, to.Told = now, time.Time{}
		a.Note(state.AlarmEvent{At: now, Type: state.AlarmMoved, Instance: id, Summary: fmt.Sprintf("Alarm updated from %s to %s", was.State, to.State)})
	}
	remind := !moved && to.State == alarm.Alarm && a.Remind > 0 && now.Sub(was.Told) >= a.Remind
	if (moved || remind) && !a.Silent {
		to.Told = now
		for _, action := range a.Actions[to.State] {
			if !IsWebhook(action) {
				t.only = append(t.only, action)
				continue
			}
			if err := c.notice(tx, a, id, was, to, action); err != nil {
				return nil, err
			}
			t.told++
		}
	}
	record.AlarmStatus = to
	if !moved && !remind {
		return nil, nil
	}
	return t, nil
}

// notice puts a message into the outbox.
func (c *Control) notice(tx *state.Tx, a *state.Alarm, id string, was, now state.AlarmStatus, address string) error {
	at := c.cfg.Now().UTC()
	n := state.Notice{ID: fmt.Sprintf("%020d-%s", at.UnixNano(), c.hex(12)), URL: address, Alarm: a.Key(), Instance: id, Made: at}
	body, err := json.Marshal(AlarmMessage{
		ID: n.ID, Alarm: a.Name, Title: a.Title, Description: a.Description, Dialect: a.Dialect, Account: a.Account, Region: a.Region,
		Namespace: a.Namespace, Metric: a.Metric, Instance: id, State: now.State, Was: was.State, Level: now.Level, Reason: now.Reason, Value: now.Value, At: at,
	})
	if err != nil {
		return err
	}
	n.Body = string(body)
	a.Note(state.AlarmEvent{At: at, Type: state.AlarmActed, Instance: id, Summary: "Message for " + hostOf(address) + " is on its way"})
	return state.Save(tx, c.db.Notices, n.ID, &n)
}

// hostOf is what may be said of an address: its path may hold a secret.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "an address"
	}
	return u.Host
}

func (c *Control) logTurns(all []turn) {
	for _, t := range all {
		c.log.Warn("an alarm changed its state", "alarm", t.alarm.Name, "account", t.alarm.Account, "instance", t.instance,
			"metric", t.alarm.Metric, "was", string(t.was.State), "state", string(t.now.State), "level", t.now.Level, "reason", t.now.Reason,
			"webhooks", t.told, "not_called", t.only)
	}
}
