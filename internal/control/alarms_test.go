package control_test

import (
	"context"
	"encoding/json"
	"fmt"
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
	"openimds/internal/store"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
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
	// broken is told of each commit; nil: nobody is.
	broken func()
}

const (
	alarmEC2 = "i-0123456789abcdef0"
	alarmECS = "i-bp1alarm00000000001"
)

// committing is a store that tells of commits.
type committing struct {
	store.Store
	b *alarmBed
}

func (c committing) Commit(ctx context.Context, tx store.Tx) (uint64, error) {
	revision, err := c.Store.Commit(ctx, tx)
	if c.b.broken != nil {
		c.b.broken()
	}
	return revision, err
}

func newAlarmBed(t *testing.T) *alarmBed {
	t.Helper()
	b := &alarmBed{t: t, now: time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)}
	store := committing{memstore.New(memstore.Config{}), b}
	t.Cleanup(func() { _ = store.Close() })
	var err error
	if b.db, err = state.Open(t.Context(), store, testnet.Quiet()); err != nil {
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

// A rule over all instances has a state for each, tells each by name, goes on
// after a crash between two commits without telling anything twice, forgets
// instances that are gone, and begins anew when it is made anew.
func TestRuleOverAll(t *testing.T) {
	b := newAlarmBed(t)
	const n = 130 // some commits
	id := func(i int) string { return fmt.Sprintf("i-many%03d", i) }
	err := b.db.Update(t.Context(), func(tx *state.Tx) error {
		for i := range n {
			in := instance.Instance{ID: id(i), Dialect: "ecs", Account: "123456789012", Region: "cn-hangzhou", State: "running"}
			if err := state.Save(tx, b.db.Instances, in.ID, &state.Instance{Spec: in}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rule := state.Alarm{
		Name: "r/all", Namespace: "ours", Metric: "free", Everything: true, Period: time.Minute,
		Levels: []state.AlarmLevel{{Name: "Warn", Statistic: "Sum", Rule: alarm.Rule{
			Operator: alarm.AtLeast, Threshold: 1, Periods: 1, Datapoints: 1, Missing: alarm.MissingIgnored}}},
		Actions: map[alarm.State][]string{alarm.Alarm: {"http://hook.test/"}, alarm.OK: {"http://hook.test/"}},
	}
	b.put("ecs", rule)
	counts := func(ids ...int) {
		t.Helper()
		b.now = b.now.Truncate(time.Minute).Add(time.Minute)
		b.sequence++
		r := series.Report{Node: "n", Boot: "b", Sequence: b.sequence}
		for _, i := range ids {
			r.Samples = append(r.Samples, series.Sample{Instance: id(i), Minute: b.now.Unix()/60 - 1, Counts: series.Counts{series.TokenFree: uint64(i + 1)}})
		}
		if err := b.file.Record(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		b.now = b.now.Add(10 * time.Second)
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	counts(all...)
	// It is broken off after the first commit, as by a crash.
	ctx, cancel := context.WithCancel(t.Context())
	b.broken = func() { cancel() }
	if err := b.EvaluateAlarms(ctx, b.metrics); err == nil {
		t.Error("nothing was broken off")
	}
	b.broken = nil
	for range 1000 {
		if len(b.db.AlarmStates.All(nil)) > 0 {
			break // nobody waited for the mirror
		}
		time.Sleep(time.Millisecond)
	}
	if got := len(b.db.AlarmStates.All(nil)); got == 0 || got == n {
		t.Fatalf("%d states after it was broken off", got)
	}
	for range 2 {
		if err := b.EvaluateAlarms(t.Context(), b.metrics); err != nil {
			t.Fatal(err)
		}
	}
	told := map[string]int{}
	for _, notice := range b.db.Notices.All(nil) {
		var m control.AlarmMessage
		if err := json.Unmarshal([]byte(notice.Body), &m); err != nil || m.State != alarm.Alarm || m.Value == nil || m.Instance != notice.Instance {
			t.Errorf("%s, %v", notice.Body, err)
		}
		told[m.Instance]++
	}
	if len(told) != n || len(b.db.Notices.All(nil)) != n {
		t.Errorf("%d instances were told of, in %d messages", len(told), len(b.db.Notices.All(nil)))
	}
	if s := b.state("ecs", "r/all", id(7)); s.State != alarm.Alarm || s.Level != "Warn" || s.Value == nil || *s.Value != 8 {
		t.Errorf("it is %+v", s)
	}
	if s := b.state("ecs", "r/all", alarmECS); s.State != alarm.Insufficient {
		t.Errorf("one without data is %+v", s)
	}
	if a, _ := b.db.Alarms.Get("ecs/123456789012//r/all"); len(a.Before) > 0 || len(a.Events) > state.MostAlarmEvents {
		t.Errorf("the record of the rule has %d states, %d events", len(a.Before), len(a.Events))
	}
	// One is gone, the rule is deleted, and another of its name is made.
	if err := b.db.Update(t.Context(), func(tx *state.Tx) error { state.Remove(tx, b.db.Instances, id(7)); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := b.EvaluateAlarms(t.Context(), b.metrics); err != nil || len(b.db.AlarmStates.All(nil)) != n-1 {
		t.Errorf("%v, %d states", err, len(b.db.AlarmStates.All(nil)))
	}
	if err := b.DeleteAlarms(t.Context(), alarmCaller("ecs"), []string{"r/all"}); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(time.Second)
	b.put("ecs", rule)
	if s := b.state("ecs", "r/all", id(3)); s.State != alarm.Insufficient {
		t.Errorf("the new one begins as %+v", s)
	}
	b.now = b.now.Add(time.Hour)
	if err := b.EvaluateAlarms(t.Context(), b.metrics); err != nil || len(b.db.AlarmStates.All(nil)) != 0 {
		t.Errorf("%v, %d states are left", err, len(b.db.AlarmStates.All(nil)))
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

// A name may be longer than a key of the store.
func TestLongAlarmName(t *testing.T) {
	b := newAlarmBed(t)
	for _, end := range []string{"x", "y"} {
		a := ec2Alarm(1, 1, alarm.MissingGood)
		a.Name = strings.Repeat("😀", 254) + end
		b.put("ec2", a)
		b.minute(alarmEC2, 5)
		if s := b.state("ec2", a.Name, alarmEC2); s.State != alarm.Alarm {
			t.Errorf("%s: %+v", end, s)
		}
		if err := b.SetAlarmState(t.Context(), alarmCaller("ec2"), a.Name, state.AlarmStatus{State: alarm.OK}); err != nil {
			t.Error(err)
		}
	}
	if n := len(b.db.Alarms.All(nil)); n != 2 {
		t.Errorf("%d alarms", n)
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
