package admin

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"openimds/internal/alarm"
	"openimds/internal/state"
)

// What an operator sees of alarms: how they stand for each instance, which
// messages do not arrive and why, and nothing of an address but its host.
func TestAlarms(t *testing.T) {
	b := newBed(t, nil)
	const hook = "https://hooks.example.com:8443/T000/secret-of-the-path?token=secret-of-the-query"
	three := 3.0
	ec2 := &state.Alarm{
		Name: "a/b", Dialect: "ec2", Account: "123456789012", Region: "us-east-1", Namespace: "AWS/EC2", Metric: "MetadataNoToken", Period: time.Minute,
		Instances: []string{ec2Optional}, Levels: []state.AlarmLevel{{Statistic: "Sum", Rule: alarm.Rule{Operator: alarm.Above, Periods: 1, Datapoints: 1, Missing: alarm.MissingGood}}},
		Actions: map[alarm.State][]string{alarm.Alarm: {hook, "arn:aws:sns:us-east-1:123456789012:x"}}, Created: b.now, GivenUp: 2,
		Events: []state.AlarmEvent{{At: b.now, Type: state.AlarmMoved, Summary: "Alarm updated"}},
	}
	ecs := &state.Alarm{Name: "rule-1", Title: "all of them", Dialect: "ecs", Account: "1234567890123456", Everything: true, Created: b.now, Attributes: map[string]string{state.Webhook: hook}}
	err := b.db.Update(t.Context(), func(tx *state.Tx) error {
		status := state.AlarmStatus{State: alarm.Alarm, Reason: "because", Since: b.now, Value: &three, ValueAt: b.now}
		states := []*state.AlarmState{{Alarm: ec2.Key(), Created: b.now, Instance: ec2Optional, AlarmStatus: status}}
		for i, s := range []alarm.State{alarm.OK, alarm.Alarm, alarm.OK} {
			status.State, status.Reason = s, string(rune('0'+i))
			states = append(states, &state.AlarmState{Alarm: ecs.Key(), Created: b.now, Instance: "i-" + string(rune('0'+i)), AlarmStatus: status})
		}
		// One of an alarm of the same name that was deleted.
		states = append(states, &state.AlarmState{Alarm: ecs.Key(), Created: b.now.Add(-time.Hour), Instance: "i-9", AlarmStatus: status})
		for _, s := range states {
			if err := state.Save(tx, b.db.AlarmStates, s.Key(), s); err != nil {
				return err
			}
		}
		for _, a := range []*state.Alarm{ec2, ecs} {
			if err := state.Save(tx, b.db.Alarms, a.Key(), a); err != nil {
				return err
			}
		}
		for i, n := range []*state.Notice{
			{ID: "1", Tries: 4, Problem: "connection refused", Next: b.now.Add(time.Minute)}, {ID: "2"}, {ID: "3"},
		} {
			n.URL, n.Alarm, n.Made = hook, ec2.Key(), b.now.Add(time.Duration(i)*time.Second)
			if err := state.Save(tx, b.db.Notices, n.ID, n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const first = "ec2/123456789012/us-east-1/a/b"
	for _, step := range []struct {
		path   string
		status int
		want   string
	}{
		{"", 200, `"name":"` + first + `"`},
		{"?limit=1", 200, `"next":"` + first + `"`},
		{"?limit=1&after=" + first, 200, `{"items":[{"name":"ecs/1234567890123456/-/rule-1","title":"all of them"`},
		{"?dialect=ecs&state=ALARM&instance=i-1&name=rule-1", 200, `"count":{"ALARM":1,"OK":2}`},
		{"?instance=i-9", 200, `{"items":[]}`},
		{"?region=us-east-1", 200, `"deliveries":[{"address":"https://hooks.example.com:8443","waiting":3,"failed":1,"since":"2026-06-01T12:00:00Z","tries":4,"lastError":"connection refused","nextTry":"2026-06-01T12:01:00Z"}]`},
		{"/ec2/123456789012/us-east-1/a%2Fb", 200, `"instances":[{"instance":"` + ec2Optional + `","state":"ALARM","reason":"because","since":"2026-06-01T12:00:00Z","value":3,`},
		{"/ec2/123456789012/us-east-1/a%2Fb", 200, `"waiting":3,"failed":1,"givenUp":2`},
		{"/ec2/123456789012/us-east-1/a%2Fb", 200, `"actions":{"ALARM":["https://hooks.example.com:8443","arn:aws:sns:us-east-1:123456789012:x"]}`},
		{"/ec2/123456789012/us-east-1/a%2Fb", 200, `"events":[{`},
		{"/ecs/1234567890123456/-/rule-1", 200, `"instances":[{"instance":"i-1","state":"ALARM"`},
		{"/ecs/1234567890123456/-/none", 404, `there is no alarm`},
		{"?state=alarm", 400, `state: found`},
	} {
		status, answer := b.ask("GET", "/v1/alarms"+step.path, "")
		if status != step.status || !strings.Contains(answer, step.want) {
			t.Errorf("%s: %d %s\nwant %s", step.path, status, answer, step.want)
		}
		if strings.Contains(answer, "secret") {
			t.Errorf("%s shows a secret: %s", step.path, answer)
		}
		if !json.Valid([]byte(answer)) {
			t.Errorf("%s: %s", step.path, answer)
		}
	}
}
