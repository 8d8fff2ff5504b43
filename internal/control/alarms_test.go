package control_test

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"openimds/internal/alarm"
	"openimds/internal/control"
	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/metric"
	"openimds/internal/state"
	"openimds/internal/store/memstore"
	"openimds/internal/usage/history"
	"openimds/internal/usage/series"
)

// alarmBed is a control plane with an instance of each cloud, and the usage of
// both.
type alarmBed struct {
	*control.Control
	t        *testing.T
	db       *state.DB
	now      time.Time
	file     *history.File
	sequence uint64
	metrics  control.Metrics
}

const (
	alarmEC2 = "i-0123456789abcdef0"
	alarmECS = "i-bp1alarm00000000001"
)

func newAlarmBed(t *testing.T) *alarmBed {
	t.Helper()
	b := &alarmBed{t: t, now: time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)}
	store := memstore.New(memstore.Config{})
	t.Cleanup(func() { _ = store.Close() })
	var err error
	if b.db, err = state.Open(t.Context(), store, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.db.Close() })
	clock := func() time.Time { return b.now }
	b.Control = control.New(control.Config{DB: b.db, Now: clock})
	if b.file, err = history.Open(history.Config{Path: filepath.Join(t.TempDir(), "usage"), Now: clock, Together: time.Nanosecond}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.file.Close() })
	b.metrics = control.Metrics{Read: b.file.Range, Measure: func(_, _, name string) (metric.Measure, bool) {
		return metric.Count(series.TokenFree), name == "free"
	}}
	err = b.db.Update(t.Context(), func(tx *state.Tx) error {
		for _, in := range []instance.Instance{
			{ID: alarmEC2, Dialect: "ec2", Account: "123456789012", Region: "us-east-1", State: "running"},
			{ID: alarmECS, Dialect: "ecs", Account: "123456789012", Region: "cn-hangzhou", State: "running"},
			{ID: alarmECS + "x", Dialect: "ecs", Account: "123456789012", Region: "cn-beijing", State: "running"},
		} {
			if err := state.Save(tx, b.db.Instances, in.ID, &state.Instance{Spec: in}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func alarmCaller(dialect string) control.Caller {
	return control.Caller{Dialect: dialect, Account: "123456789012", Region: "us-east-1", Admin: true, Action: "PutMetricAlarm"}
}

// minute counts requests in the minute that is ending, and evaluates after it.
func (b *alarmBed) minute(id string, count uint64) {
	b.t.Helper()
	b.now = b.now.Truncate(time.Minute).Add(time.Minute)
	b.sequence++
	s := series.Sample{Instance: id, Minute: b.now.Unix()/60 - 1, Counts: series.Counts{series.TokenFree: count}}
	if err := b.file.Record(b.t.Context(), series.Report{Node: "n", Boot: "b", Sequence: b.sequence, Samples: []series.Sample{s}}); err != nil {
		b.t.Fatal(err)
	}
	b.now = b.now.Add(10 * time.Second)
	if err := b.EvaluateAlarms(b.t.Context(), b.metrics); err != nil {
		b.t.Fatal(err)
	}
}

func (b *alarmBed) state(dialect, name, id string) state.AlarmStatus {
	b.t.Helper()
	all, err := b.Alarms(alarmCaller(dialect), []string{name})
	if err != nil || len(all) != 1 {
		b.t.Fatalf("%v, %v", all, err)
	}
	return all[0].StatusOf(id)
}

func (b *alarmBed) put(dialect string, a state.Alarm) {
	b.t.Helper()
	if err := b.PutAlarm(b.t.Context(), alarmCaller(dialect), a); err != nil {
		b.t.Fatal(err)
	}
}

func ec2Alarm(periods, datapoints int, missing alarm.Missing) state.Alarm {
	return state.Alarm{
		Name: "a", Namespace: "AWS/EC2", Metric: "free", Instances: []string{alarmEC2}, Period: time.Minute,
		Levels:  []state.AlarmLevel{{Statistic: "Sum", Rule: alarm.Rule{Operator: alarm.Above, Threshold: 2, Periods: periods, Datapoints: datapoints, Missing: missing, Further: 2}}},
		Actions: map[alarm.State][]string{alarm.Alarm: {"http://hook.test/a?key=hidden", "arn:aws:sns:x"}, alarm.OK: {"http://hook.test/ok"}},
	}
}

// An alarm moves with its metric, and tells of each move once (EC2-CW-25).
func TestEvaluateAlarm(t *testing.T) {
	b := newAlarmBed(t)
	b.put("ec2", ec2Alarm(2, 2, alarm.MissingGood))
	var got []string
	for _, count := range []uint64{0, 3, 3, 9, 1, 1, 0, 0, 0} {
		b.minute(alarmEC2, count)
		got = append(got, string(b.state("ec2", "a", alarmEC2).State))
	}
	if s := strings.Join(got, " "); s != "OK OK ALARM ALARM OK OK OK OK OK" {
		t.Error(s)
	}
	var told []string
	for _, n := range b.db.Notices.All(nil) {
		told = append(told, n.URL)
		if !strings.Contains(n.Body, n.ID) || !strings.Contains(n.Body, alarmEC2) {
			t.Errorf("the message is %s", n.Body)
		}
	}
	if s := strings.Join(told, " "); s != "http://hook.test/ok http://hook.test/a?key=hidden http://hook.test/ok" {
		t.Error(s)
	}
	all, err := b.Alarms(alarmCaller("ec2"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all[0].Events {
		if strings.Contains(e.Summary, "hidden") {
			t.Errorf("an event has the secret of an address: %s", e.Summary)
		}
	}
}

// A silent alarm moves and tells nobody; one that nobody knows data of stays at
// its beginning; one that is set goes back by itself.
func TestAlarmStates(t *testing.T) {
	b := newAlarmBed(t)
	a := ec2Alarm(1, 1, alarm.MissingMissing)
	a.Silent = true
	b.put("ec2", a)
	for name, change := range map[string]func(*state.Alarm){
		"unknown metric":        func(a *state.Alarm) { a.Metric = "nothing" },
		"unknown instance":      func(a *state.Alarm) { a.Instances = []string{"i-0"} },
		"no instance":           func(a *state.Alarm) { a.Instances = nil },
		"somebody else's":       func(a *state.Alarm) { a.Instances = []string{alarmECS} },
		"seconds, not minutes":  func(a *state.Alarm) { a.Period = 10 * time.Second },
		"a day without anybody": func(a *state.Alarm) { a.Period = 24 * time.Hour },
	} {
		a := ec2Alarm(1, 1, alarm.MissingMissing)
		a.Name = name
		change(&a)
		b.put("ec2", a)
	}
	b.minute(alarmEC2, 5)
	all, err := b.Alarms(alarmCaller("ec2"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		id := ""
		if len(a.Instances) > 0 {
			id = a.Instances[0]
		}
		want := alarm.Insufficient
		if a.Name == "a" {
			want = alarm.Alarm
		}
		if got := a.StatusOf(id).State; got != want {
			t.Errorf("%s: %s, want %s", a.Name, got, want)
		}
	}
	if err := b.SetAlarmState(t.Context(), alarmCaller("ec2"), "a", state.AlarmStatus{State: alarm.OK, Reason: "a test"}); err != nil {
		t.Fatal(err)
	}
	if s := b.state("ec2", "a", alarmEC2); s.State != alarm.OK || s.Reason != "a test" {
		t.Errorf("it was set, and is %+v", s)
	}
	b.minute(alarmEC2, 5)
	if s := b.state("ec2", "a", alarmEC2); s.State != alarm.Alarm {
		t.Errorf("it is %+v", s)
	}
	if n := b.db.Notices.All(nil); len(n) != 0 {
		t.Errorf("a silent alarm told %d", len(n))
	}
	err = b.SetAlarmState(t.Context(), alarmCaller("ec2"), "gone", state.AlarmStatus{State: alarm.OK})
	if fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
}

// A rule of many instances has a state for each, its most severe level, and
// reminders; one that is disabled stays as it is (ECS-CMS-06, ECS-CMS-07).
func TestEvaluateRule(t *testing.T) {
	b := newAlarmBed(t)
	rule := func(threshold float64, times int) alarm.Rule {
		return alarm.Rule{Operator: alarm.AtLeast, Threshold: threshold, Periods: times, Datapoints: times, Missing: alarm.MissingIgnored}
	}
	b.put("ecs", state.Alarm{
		Name: "r", Namespace: "ours", Metric: "free", Everything: true, Period: time.Minute, Remind: 3 * time.Minute,
		Levels:  []state.AlarmLevel{{Name: "Critical", Statistic: "Sum", Rule: rule(10, 1)}, {Name: "Warn", Statistic: "Sum", Rule: rule(1, 2)}},
		Actions: map[alarm.State][]string{alarm.Alarm: {"http://hook.test/"}},
	})
	var got []string
	for _, count := range []uint64{1, 1, 10, 10, 10, 10, 0} {
		b.minute(alarmECS, count)
		s := b.state("ecs", "r", alarmECS)
		got = append(got, strings.TrimSpace(string(s.State)+" "+s.Level))
	}
	if s := strings.Join(got, ", "); s != "OK, ALARM Warn, ALARM Critical, ALARM Critical, ALARM Critical, ALARM Critical, ALARM Critical" {
		t.Error(s)
	}
	if s := b.state("ecs", "r", alarmECS+"x"); s.State != alarm.Insufficient {
		t.Errorf("the other instance: %+v", s)
	}
	if n := len(b.db.Notices.All(nil)); n != 3 { // Warn, Critical, a reminder
		t.Errorf("%d messages", n)
	}
	if err := b.SwitchAlarms(t.Context(), alarmCaller("ecs"), []string{"r", "unknown"}, false); err != nil {
		t.Fatal(err)
	}
	before := b.db.Revision()
	b.minute(alarmECS+"x", 10)
	if b.db.Revision() != before {
		t.Error("a disabled rule was evaluated")
	}
}

func TestPutAlarmRefuses(t *testing.T) {
	b := newAlarmBed(t)
	for _, bad := range []string{"", "ftp://hook.test/", "http://", "http://user:password@hook.test/", "https://hook.test/#part", "mailto:ops@x", "http://" + strings.Repeat("x", 1024)} {
		a := ec2Alarm(1, 1, alarm.MissingMissing)
		a.Actions = map[alarm.State][]string{alarm.Alarm: {bad}}
		if err := b.PutAlarm(t.Context(), alarmCaller("ec2"), a); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
	a := ec2Alarm(1, 1, alarm.MissingMissing)
	a.Actions = map[alarm.State][]string{alarm.OK: slices.Repeat([]string{"arn:x"}, 6)} // EC2-CW-17
	if err := b.PutAlarm(t.Context(), alarmCaller("ec2"), a); fault.KindOf(err) != fault.Invalid {
		t.Errorf("six actions: %v", err)
	}
	weak := alarmCaller("ec2")
	weak.Admin = false
	if err := b.PutAlarm(t.Context(), weak, ec2Alarm(1, 1, alarm.MissingMissing)); fault.KindOf(err) != fault.Denied {
		t.Errorf("without a policy: %v", err)
	}
	if _, err := b.Metered(weak); fault.KindOf(err) != fault.Denied {
		t.Errorf("without a policy: %v", err)
	}
}

// An account has a bounded number of alarms in a region, and those that there
// are can still be changed (EC2-CW-24).
func TestMostAlarms(t *testing.T) {
	b := newAlarmBed(t)
	for from := 0; from < 5000; from += 500 {
		err := b.db.Update(t.Context(), func(tx *state.Tx) error {
			for i := from; i < from+500; i++ {
				a := state.Alarm{Name: fmt.Sprint("alarm ", i), Dialect: "ec2", Account: "123456789012", Region: "us-east-1"}
				if err := state.Save(tx, b.db.Alarms, a.Key(), &a); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	a := ec2Alarm(1, 1, alarm.MissingMissing)
	if err := b.PutAlarm(t.Context(), alarmCaller("ec2"), a); err == nil || !strings.Contains(err.Error(), string(control.TooManyAlarms)) {
		t.Error(err)
	}
	a.Name = "alarm 7"
	b.put("ec2", a)
}
