package admin

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"openimds/internal/alarm"
	"openimds/internal/control"
	"openimds/internal/fault"
	"openimds/internal/state"
)

// Alarm is an alarm (EC2), or an alarm rule (ECS).
type Alarm struct {
	// Name: `DIALECT/ACCOUNT/REGION/NAME`; the region of an ECS rule, which is kept for the account, is `-`, and its name the rule's id.
	Name string `json:"name"`
	// Name that people gave the rule (ECS).
	Title string `json:"title,omitempty"`
	// Description that people gave it.
	Description string `json:"description,omitempty"`
	// `ecs` or `ec2`.
	Dialect string `json:"dialect"`
	// Account.
	Account string `json:"account"`
	// Region (EC2).
	Region string `json:"region,omitempty"`
	// Namespace of the metric.
	Namespace string `json:"namespace"`
	// Metric.
	Metric string `json:"metric"`
	// How long a period is.
	Period string `json:"period"`
	// Conditions, the most severe first.
	Levels []AlarmLevel `json:"levels"`
	// `OK`, `ALARM` or `INSUFFICIENT_DATA`: the worst of all of its instances.
	State string `json:"state"`
	// Instance that is in this state for the longest time.
	Instance string `json:"instance,omitempty"`
	// Why it is in this state.
	Reason string `json:"reason"`
	// Since when.
	Since time.Time `json:"since"`
	// Newest value that was found; absent: there is none.
	Value *float64 `json:"value,omitempty"`
	// Begin of the period that it is of.
	ValueAt time.Time `json:"valueAt,omitzero"`
	// It is about all instances of the account (ECS).
	Everything bool `json:"everything,omitempty"`
	// How many instances are in each state; those of a rule over all that nothing was seen of are not among them.
	Count map[string]int `json:"count"`
	// It is not evaluated (ECS).
	Disabled bool `json:"disabled,omitempty"`
	// It is evaluated, and nobody is told (EC2).
	Silent bool `json:"silent,omitempty"`
	// Where changes to a state are told: of an address, scheme and host.
	Actions map[string][]string `json:"actions,omitempty"`
	// How many messages did not arrive yet.
	Waiting int `json:"waiting"`
	// How many of these were tried in vain.
	Failed int `json:"failed"`
	// How many were given up, after a day.
	GivenUp int `json:"givenUp"`
	// Messages that are under way, by address.
	Deliveries []AlarmDelivery `json:"deliveries,omitempty"`
	// States by instance, where one alarm is asked for: the worst first, 1000 at most.
	Instances []AlarmInstance `json:"instances,omitempty"`
	// What happened to it, where one alarm is asked for: the newest first.
	Events []AlarmEvent `json:"events,omitempty"`
}

// AlarmLevel is a condition.
type AlarmLevel struct {
	// `Critical`, `Warn` or `Info` (ECS).
	Name string `json:"name,omitempty"`
	// Statistic of the metric.
	Statistic string `json:"statistic"`
	// Operator, such as `>`.
	Operator string `json:"operator"`
	// Threshold.
	Threshold float64 `json:"threshold"`
	// How many periods are looked at.
	Periods int `json:"periods"`
	// How many of them have to breach.
	Datapoints int `json:"datapoints"`
	// How periods without data count: `ignore`, `breaching`, `notBreaching` or `missing`.
	Missing string `json:"missing"`
}

// AlarmDelivery is how messages to one address stand.
type AlarmDelivery struct {
	// Scheme and host: the rest of an address may be a secret.
	Address string `json:"address"`
	// How many messages did not arrive yet.
	Waiting int `json:"waiting"`
	// How many of these were tried in vain.
	Failed int `json:"failed"`
	// When the oldest was made.
	Since time.Time `json:"since"`
	// How often the oldest was tried.
	Tries int `json:"tries"`
	// What the last try came to.
	LastError string `json:"lastError,omitempty"`
	// When it is tried next.
	NextTry time.Time `json:"nextTry,omitzero"`
}

// AlarmInstance is the state of an alarm for one instance.
type AlarmInstance struct {
	// Identifier.
	Instance string `json:"instance"`
	// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
	State string `json:"state"`
	// Condition that decided (ECS).
	Level string `json:"level,omitempty"`
	// Why.
	Reason string `json:"reason"`
	// Since when.
	Since time.Time `json:"since"`
	// Newest value that was found.
	Value *float64 `json:"value,omitempty"`
	// Begin of the period that it is of.
	ValueAt time.Time `json:"valueAt,omitzero"`
	// When somebody was told last.
	Told time.Time `json:"told,omitzero"`
}

// AlarmEvent is a line of the history of an alarm.
type AlarmEvent struct {
	// When.
	At time.Time `json:"at"`
	// `ConfigurationUpdate`, `StateUpdate` or `Action`.
	Type string `json:"type"`
	// Instance that it is about.
	Instance string `json:"instance,omitempty"`
	// What happened.
	Summary string `json:"summary"`
}

// Alarms is a page of alarms.
type Alarms struct {
	// Alarms, by name.
	Items []Alarm `json:"items"`
	// What to give as `after` for the next page; absent: there is none.
	Next string `json:"next,omitempty"`
}

// AlarmsKind is what alarms are called in commands, many and one.
var AlarmsKind = [2]string{"alarms", "alarm"}

// mostAlarmInstances is how many instances of an alarm are shown.
const mostAlarmInstances = 1000

func alarmRoutes() []route {
	return []route{
		answering(route{
			method: "GET", path: "/v1/alarms", id: "listAlarms", doc: "Alarms that the clouds' APIs have put, how they stand, and whether their messages arrive",
			params: []param{
				{name: "limit", doc: "how many at most, 1 to 1000; 100 if it is not given"},
				{name: "after", doc: "names up to and including this one are left out: the `next` of the page before"},
				filterParams["dialect"], filterParams["account"], {name: "region", doc: "of this region (EC2)"},
				{name: "state", doc: "in this state", words: []string{string(alarm.OK), string(alarm.Alarm), string(alarm.Insufficient)}},
				{name: "instance", doc: "with a state for this instance"}, {name: "name", doc: "called so, in any account and region"},
			},
		}, (*call).alarms),
		answering(route{method: "GET", path: "/v1/alarms/{dialect}/{account}/{region}/{name}", id: "getAlarm", doc: "An alarm with its instances and its history"}, (*call).alarm),
	}
}

// alarmName is what an operator calls an alarm.
func alarmName(a *state.Alarm) string {
	return state.Key(a.Dialect, a.Account, cmp.Or(a.Region, "-"), a.Name)
}

func (c *call) alarms() (Alarms, error) {
	out := Alarms{Items: []Alarm{}}
	most, err := limit(c.query)
	if err != nil {
		return out, err
	}
	is := func(name, value string) bool { return !c.query.Has(name) || c.query.Get(name) == value }
	found, err := c.Control.WatchedAlarms(c.caller, AlarmsKind[0], func(a *state.Alarm) bool {
		return is("dialect", a.Dialect) && is("account", a.Account) && is("region", a.Region) && is("name", a.Name) && alarmName(a) > c.query.Get("after")
	})
	if err != nil {
		return out, err
	}
	slices.SortFunc(found, func(a, b control.WatchedAlarm) int {
		return strings.Compare(alarmName(a.Alarm.Alarm), alarmName(b.Alarm.Alarm))
	})
	for _, f := range found {
		v := viewAlarm(f)
		if !is("state", v.State) || c.query.Has("instance") && !slices.ContainsFunc(v.Instances, func(i AlarmInstance) bool { return i.Instance == c.query.Get("instance") }) {
			continue
		}
		if len(out.Items) == most {
			out.Next = out.Items[most-1].Name
			break
		}
		v.Instances, v.Events = nil, nil
		out.Items = append(out.Items, v)
	}
	return out, nil
}

func (c *call) alarm() (Alarm, error) {
	region := c.PathValue("region")
	if region == "-" {
		region = ""
	}
	key := state.Key(c.PathValue("dialect"), c.PathValue("account"), region, c.PathValue("name"))
	found, err := c.Control.WatchedAlarms(c.caller, AlarmsKind[0]+"/"+key, func(a *state.Alarm) bool {
		return a.Dialect == c.PathValue("dialect") && a.Account == c.PathValue("account") && a.Region == region && a.Name == c.PathValue("name")
	})
	if err != nil {
		return Alarm{}, err
	}
	if len(found) == 0 {
		return Alarm{}, fault.New(fault.NotFound, "there is no alarm %.200q", key)
	}
	v := viewAlarm(found[0])
	v.Instances = v.Instances[:min(len(v.Instances), mostAlarmInstances)]
	return v, nil
}

// rank puts the worst first.
var rank = map[alarm.State]int{alarm.Alarm: 0, alarm.OK: 1, alarm.Insufficient: 2}

func viewAlarm(w control.WatchedAlarm) Alarm {
	a := w.Alarm.Alarm
	v := Alarm{
		Name: alarmName(a), Title: a.Title, Description: a.Description, Dialect: a.Dialect, Account: a.Account, Region: a.Region,
		Namespace: a.Namespace, Metric: a.Metric, Period: a.Period.String(), Everything: a.Everything, Disabled: a.Disabled, Silent: a.Silent,
		GivenUp: a.GivenUp, Levels: []AlarmLevel{}, Count: map[string]int{}, Actions: map[string][]string{},
	}
	for _, l := range a.Levels {
		r := l.Rule
		v.Levels = append(v.Levels, AlarmLevel{l.Name, l.Statistic, string(r.Operator), r.Threshold, r.Periods, r.Datapoints, string(r.Missing)})
	}
	for s, actions := range a.Actions {
		for _, text := range actions {
			v.Actions[string(s)] = append(v.Actions[string(s)], control.AddressOf(text))
		}
	}
	states := map[string]state.AlarmStatus{}
	for _, id := range a.Instances {
		states[id] = w.StatusOf(id)
	}
	for id, s := range w.States {
		states[id] = s
	}
	for id, s := range states {
		v.Count[string(s.State)]++
		v.Instances = append(v.Instances, AlarmInstance{id, string(s.State), s.Level, s.Reason, s.Since, s.Value, s.ValueAt, s.Told})
	}
	slices.SortFunc(v.Instances, func(x, y AlarmInstance) int {
		return cmp.Or(cmp.Compare(rank[alarm.State(x.State)], rank[alarm.State(y.State)]), x.Since.Compare(y.Since), cmp.Compare(x.Instance, y.Instance))
	})
	first := a.AtFirst()
	v.State, v.Reason, v.Since = string(first.State), first.Reason, first.Since
	if len(v.Instances) > 0 {
		i := v.Instances[0]
		v.State, v.Instance, v.Reason, v.Since, v.Value, v.ValueAt = i.State, i.Instance, i.Reason, i.Since, i.Value, i.ValueAt
	}
	for _, d := range w.Deliveries {
		v.Waiting, v.Failed = v.Waiting+d.Waiting, v.Failed+d.Failed
		v.Deliveries = append(v.Deliveries, AlarmDelivery{d.Address, d.Waiting, d.Failed, d.Since, d.Tries, d.Problem, d.Next})
	}
	for _, e := range slices.Backward(a.Events) {
		v.Events = append(v.Events, AlarmEvent{e.At, e.Type, e.Instance, e.Summary})
	}
	return v
}
