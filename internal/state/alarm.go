package state

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"openimds/internal/alarm"
)

// Alarm is an alarm on a metric of one instance (EC2), or an alarm rule on one
// of many (ECS).
type Alarm struct {
	// Name identifies it in the account and, for EC2, in the region. For ECS it is the rule's id, and Title its name.
	Name        string `json:"name"`
	Title       string `json:"title,omitempty"`
	Dialect     string `json:"dialect"`
	Account     string `json:"account"`
	Region      string `json:"region,omitempty"`
	Description string `json:"description,omitempty"`
	// Namespace and Metric as the dialect's monitoring API names them; Dimensions narrow them (EC2).
	Namespace  string      `json:"namespace"`
	Metric     string      `json:"metric"`
	Dimensions []Dimension `json:"dimensions,omitempty"`
	// Instances that it is about. Everything: all of the account (ECS).
	Instances  []string `json:"instances,omitempty"`
	Everything bool     `json:"everything,omitempty"`
	// Period of one value.
	Period time.Duration `json:"period"`
	Unit   string        `json:"unit,omitempty"`
	// Levels are its rules, the most severe first. EC2 has one without a name.
	Levels []AlarmLevel `json:"levels"`
	// Actions are where changes to a state are told: addresses that begin with http: or https:, and names of other clouds' resources, which are only logged.
	Actions map[alarm.State][]string `json:"actions,omitempty"`
	// Silent alarms are evaluated and told nobody (EC2). Disabled ones are not evaluated (ECS).
	Silent   bool `json:"silent,omitempty"`
	Disabled bool `json:"disabled,omitempty"`
	// Remind is how long after the last notice another one is made while the alarm lasts (ECS); 0: none is.
	Remind time.Duration `json:"remind,omitempty"`
	// Attributes are what the API keeps only to show it again, by its own names.
	Attributes map[string]string `json:"attributes,omitempty"`
	Created    time.Time         `json:"created"`
	// Updated is when the configuration was put last.
	Updated time.Time `json:"updated"`
	// Events are what happened to it, the newest last, and only some.
	Events []AlarmEvent `json:"events,omitempty"`
	// GivenUp is how many of its messages were not delivered for so long that they are not tried any more.
	GivenUp int `json:"givenUp,omitempty"`
	// Sealed are the addresses of Actions and Attributes as they are stored; a record that was read has none.
	Sealed []byte `json:"sealed,omitempty"`
	// Before are the states by instance as the first schema had them; they are AlarmStates now.
	Before map[string]AlarmStatus `json:"status,omitempty"`
}

// Dimension narrows a metric.
type Dimension struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// AlarmLevel is a rule and the statistic that it is about.
type AlarmLevel struct {
	Name      string     `json:"name,omitempty"`
	Statistic string     `json:"statistic"`
	Rule      alarm.Rule `json:"rule"`
}

// AlarmStatus is the state of an alarm for one instance.
type AlarmStatus struct {
	State alarm.State `json:"state"`
	// Level whose rule decided.
	Level  string `json:"level,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Data is what the API was given with the reason.
	Data string `json:"data,omitempty"`
	// Value is the newest one that decided, of the period that began at ValueAt; nil: there was none.
	Value   *float64  `json:"value,omitempty"`
	ValueAt time.Time `json:"valueAt,omitzero"`
	// Since it is in this state; Told is when a notice was made last.
	Since time.Time `json:"since"`
	Told  time.Time `json:"told,omitzero"`
}

// AlarmState is the state of an alarm for one instance, as it is kept. An
// instance that has none is at the beginning.
type AlarmState struct {
	// Alarm is the key of the alarm, Created when that was made: what is left of another of its name is not its own.
	Alarm    string    `json:"alarm"`
	Created  time.Time `json:"created"`
	Instance string    `json:"instance"`
	AlarmStatus
}

// AlarmStateKey is where the state of an alarm for an instance is kept. Names
// of both may be longer than keys, and have slashes.
func AlarmStateKey(alarm, instance string) string {
	short := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:16])
	}
	return Key(short(alarm), short(instance))
}

// Key is where it is kept.
func (s *AlarmState) Key() string { return AlarmStateKey(s.Alarm, s.Instance) }

// Of reports whether it is a state of that alarm.
func (s *AlarmState) Of(a *Alarm) bool { return s.Alarm == a.Key() && s.Created.Equal(a.Created) }

// AlarmEvent is a line of an alarm's history.
type AlarmEvent struct {
	At time.Time `json:"at"`
	// Type is ConfigurationUpdate, StateUpdate or Action.
	Type     string `json:"type"`
	Instance string `json:"instance,omitempty"`
	Summary  string `json:"summary"`
}

// Types of an alarm's events.
const (
	AlarmConfigured = "ConfigurationUpdate"
	AlarmMoved      = "StateUpdate"
	AlarmActed      = "Action"
)

// MostAlarmEvents is how many events an alarm keeps.
const MostAlarmEvents = 50

// Key is the alarm's key in its table.
func (a *Alarm) Key() string { return AlarmKey(a.Dialect, a.Account, a.Region, a.Name) }

// longAlarmName is from how many bytes on a name does not stand in a key: names
// may be longer than keys.
const longAlarmName = 512

// AlarmKey is the key of an alarm.
func AlarmKey(dialect, account, region, name string) string {
	if len(name) >= longAlarmName {
		sum := sha256.Sum256([]byte(name))
		name = "\x00" + hex.EncodeToString(sum[:]) // no name begins so
	}
	return Key(dialect, account, region, name)
}

// AtFirst is its state for an instance at the beginning.
func (a *Alarm) AtFirst() AlarmStatus {
	return AlarmStatus{State: alarm.Insufficient, Since: a.Created, Reason: "not evaluated yet"}
}

// Note adds an event and drops the oldest beyond what is kept.
func (a *Alarm) Note(e AlarmEvent) {
	a.Events = append(a.Events, e)
	if more := len(a.Events) - MostAlarmEvents; more > 0 {
		a.Events = a.Events[more:]
	}
}

// Notice is a message of an alarm on its way to one address.
type Notice struct {
	// ID orders notices by when they were made, and is the same at every try.
	ID  string `json:"id"`
	URL string `json:"url"`
	// Alarm is the key of the alarm, Instance whose state it tells; Body what is sent.
	Alarm    string    `json:"alarm"`
	Instance string    `json:"instance,omitempty"`
	Body     string    `json:"body"`
	Made     time.Time `json:"made"`
	// Tries were made, the last of which failed with Problem; Next is not before that time.
	Tries   int       `json:"tries,omitempty"`
	Next    time.Time `json:"next,omitzero"`
	Problem string    `json:"problem,omitempty"`
	// Sealed is the URL as it is stored; a record that was read has none.
	Sealed []byte `json:"sealed,omitempty"`
}
