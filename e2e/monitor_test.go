//go:build linux

package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"openimds/internal/alarm/deliver"
)

// load is what instances are asked: every number is told from every other.
const (
	tokenFree = 7
	tokened   = 3
	rejected  = 5
)

// receive starts a webhook that takes messages which are signed with a key.
func receive(t *testing.T, key []byte) *webhook {
	t.Helper()
	w := &webhook{came: make(chan values, 100)}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var message values
		if err != nil || json.Unmarshal(body, &message) != nil {
			t.Errorf("a message cannot be read: %v, %s", err, body)
			return
		}
		want := "v1=" + deliver.Signature(key, r.Header.Get(deliver.HeaderTime), r.Header.Get(deliver.HeaderID), body)
		if r.Header.Get(deliver.HeaderSignature) != want || r.Header.Get(deliver.HeaderID) != message["id"] {
			t.Errorf("a message is not signed as it should be: %v", r.Header)
		}
		w.came <- message
	}))
	t.Cleanup(s.Close)
	w.url = s.URL + "/hook"
	return w
}

// ask asks an instance for an item n times.
func ask(t *testing.T, source, url, header, token string, n, status int) {
	t.Helper()
	c := &http.Client{Transport: transport(source)}
	for range n {
		r := check[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil))
		if token != "" {
			r.Header.Set(header, token)
		}
		res := check[*http.Response](t)(c.Do(r))
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != status {
			t.Fatalf("%s of %s: %d, want %d", url, source, res.StatusCode, status)
		}
	}
}

// tokenOf fetches a session token.
func tokenOf(t *testing.T, source, url, header string) string {
	t.Helper()
	r := check[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPut, url, nil))
	r.Header.Set(header+"-ttl-seconds", "600")
	res := check[*http.Response](t)((&http.Client{Transport: transport(source)}).Do(r))
	defer res.Body.Close()
	return string(check[[]byte](t)(io.ReadAll(res.Body)))
}

// burden makes the load on a dialect's instances.
func burden(t *testing.T, base, header string, refused int) {
	t.Helper()
	item := base + "/latest/meta-data/instance-id"
	ask(t, optional, item, "", "", tokenFree, 200)
	ask(t, optional, item, header, tokenOf(t, optional, base+"/latest/api/token", header), tokened, 200)
	ask(t, required, item, "", "", rejected, refused)
}

// TestCloudWatch: the clients of CloudWatch read what a load of known size
// produced, exactly, and put alarms that are evaluated and told.
func TestCloudWatch(t *testing.T) {
	state := t.TempDir()
	p := start(t, map[string]string{"state": state})
	key := []byte(strings.TrimSpace(string(check[[]byte](t)(os.ReadFile(filepath.Join(state, "alarm-key"))))))
	hook := receive(t, key)
	in, out := sample(t, "ec2", optional), sample(t, "ec2", required)
	// The instances are in different regions, which have nothing to do with each other.
	c := connection{Endpoint: p.control, Region: in.Region, Key: "AKIAIMDSDEV000000000", Secret: "imds-dev-secret"}
	d := c
	d.Region = out.Region
	burden(t, p.ec2, "X-aws-ec2-metadata-token", 401)
	w := watcher{in: in.ID, out: out.ID, from: time.Now().Add(-time.Hour).UTC(), hook: hook}
	for name, open := range cloudWatchClients {
		t.Run(name, func(t *testing.T) { w.tell(t, open(t, c), open(t, d), name) })
	}
	// One alarm by its own evaluation, on whole minutes.
	sdk := cloudWatchClients["aws-sdk-go-v2"](t, d)
	check[values](t)(sdk.call("PutMetricAlarm", w.alarm("by itself", w.out, "MetadataNoTokenRejected", 1)))
	ask(t, required, p.ec2+"/latest/meta-data/ami-id", "", "", 1, 401)
	m := hook.next(t, 3*time.Minute, func(m values) bool { return m["alarm"] == "by itself" })
	equal(t, "state", m["state"], any("ALARM"))
	equal(t, "instance", m["instance"], any(w.out))
	reply := check[values](t)(sdk.call("DescribeAlarms", values{"AlarmNames": []any{"by itself"}}))
	equal(t, "state", at(reply, "MetricAlarms", 0, "StateValue"), any("ALARM"))
}

// watcher is what each client of CloudWatch tells.
type watcher struct {
	in, out string // instances, of which the latter requires tokens
	from    time.Time
	hook    *webhook
}

func dimensions(id string) []any { return []any{values{"Name": "InstanceId", "Value": id}} }

func (w watcher) window() (from, to string) {
	return w.from.Format(time.RFC3339), w.from.Add(2 * time.Hour).Format(time.RFC3339)
}

func (w watcher) statistics(id, metric string) values {
	from, to := w.window()
	return values{
		"Namespace": "AWS/EC2", "MetricName": metric, "Dimensions": dimensions(id), "StartTime": from, "EndTime": to,
		"Period": 300, "Statistics": []any{"Sum", "Maximum"},
	}
}

// with returns parameters with others in place of some; nil takes one away.
func with(params values, others values) values {
	all := values{}
	for name, v := range params {
		all[name] = v
	}
	for name, v := range others {
		all[name] = v
		if v == nil {
			delete(all, name)
		}
	}
	return all
}

func sum(list any, name string) (total float64) {
	l, _ := list.([]any)
	for _, d := range l {
		if name != "" {
			d = at(d, name)
		}
		n, _ := d.(float64)
		total += n
	}
	return total
}

func (w watcher) tell(t *testing.T, c, d client, name string) {
	call := func(action string, params values) values {
		t.Helper()
		return check[values](t)(c.call(action, params))
	}
	there := func(action string, params values) values {
		t.Helper()
		return check[values](t)(d.call(action, params))
	}
	// What there is.
	list := call("ListMetrics", values{"Namespace": "AWS/EC2", "MetricName": "MetadataNoToken"})
	if ids := each(list["Metrics"], "Dimensions", 0, "Value"); !contains(ids, w.in) || contains(ids, w.out) {
		t.Errorf("MetadataNoToken exists of %v", ids)
	}
	list = there("ListMetrics", values{"Dimensions": []any{values{"Name": "InstanceId", "Value": w.out}}})
	if names := each(list["Metrics"], "MetricName"); len(names) != 1 || names[0] != "MetadataNoTokenRejected" {
		t.Errorf("the metrics of %s are %v", w.out, names)
	}
	// How much.
	for metric, want := range map[string]float64{"MetadataNoToken": tokenFree, "MetadataNoTokenRejected": 0} {
		reply := call("GetMetricStatistics", w.statistics(w.in, metric))
		equal(t, "sum of "+metric, sum(reply["Datapoints"], "Sum"), want)
		equal(t, "label", reply["Label"], any(metric))
		if want > 0 {
			equal(t, "unit", at(reply, "Datapoints", 0, "Unit"), any("Count"))
		}
	}
	reply := there("GetMetricStatistics", w.statistics(w.out, "MetadataNoTokenRejected"))
	equal(t, "sum of rejected", sum(reply["Datapoints"], "Sum"), float64(rejected))
	reply = call("GetMetricStatistics", w.statistics(w.out, "MetadataNoTokenRejected"))
	equal(t, "sum of rejected in another region", sum(reply["Datapoints"], "Sum"), 0)
	reply = call("GetMetricStatistics", with(w.statistics(w.in, "MetadataNoToken"), values{"Statistics": nil, "ExtendedStatistics": []any{"p100"}}))
	if p := at(reply, "Datapoints", 0, "ExtendedStatistics", "p100"); p == nil {
		t.Errorf("no percentile in %v", reply)
	}
	from, to := w.window()
	query := func(c client) values {
		return check[values](t)(c.call("GetMetricData", values{"StartTime": from, "EndTime": to, "ScanBy": "TimestampAscending", "MetricDataQueries": []any{
			values{"Id": "one", "ReturnData": true, "MetricStat": values{
				"Metric": values{"Namespace": "AWS/EC2", "MetricName": "MetadataNoToken", "Dimensions": dimensions(w.in)}, "Period": 60, "Stat": "Sum"}},
			values{"Id": "all", "Expression": `SEARCH('{AWS/EC2,InstanceId} MetricName="MetadataNoToken"', 'Sum', 300)`, "ReturnData": true},
			values{"Id": "total", "Expression": `SUM(SEARCH('{AWS/EC2,InstanceId} MetricName="MetadataNoTokenRejected"', 'Sum', 300))`, "ReturnData": true},
		}}))
	}
	sums := map[string]float64{}
	for _, data := range []values{query(c), query(d)} {
		for i := range each(data["MetricDataResults"]) {
			r := at(data, "MetricDataResults", i)
			id, _ := at(r, "Id").(string)
			sums[id] += sum(at(r, "Values"), "")
			equal(t, "status", at(r, "StatusCode"), any("Complete"))
		}
	}
	equal(t, "sum of one", sums["one"], tokenFree)
	equal(t, "sum of all", sums["all"], tokenFree)
	equal(t, "sum of total", sums["total"], rejected)
	w.wrong(t, c)
	w.alarms(t, c, name)
}

// wrong tells what is refused, in the vendor's words.
func (w watcher) wrong(t *testing.T, c client) {
	good := w.statistics(w.in, "MetadataNoToken")
	for _, tt := range []struct {
		what   string
		params values
		code   string
	}{
		{"a period that does not divide", with(good, values{"Period": 90}), "InvalidParameterValue"},
		{"a window with too many datapoints", with(good, values{"StartTime": w.from.Add(-48 * time.Hour).Format(time.RFC3339), "Period": 60}), "InvalidParameterCombination"},
		{"the end before the start", with(good, values{"EndTime": w.from.Add(-time.Hour).Format(time.RFC3339)}), "InvalidParameterValue"},
		{"two kinds of statistics", with(good, values{"ExtendedStatistics": []any{"p50"}}), "InvalidParameterCombination"},
		{"no statistic", with(good, values{"Statistics": nil}), "MissingParameter"},
	} {
		_, err := c.call("GetMetricStatistics", tt.params)
		told(t, tt.what, err, tt.code, 400)
	}
	for what, params := range map[string]values{
		"an unknown metric":             with(good, values{"MetricName": "MetadataNothing"}),
		"an unknown instance":           with(good, values{"Dimensions": dimensions("i-00000000000000000")}),
		"no dimension":                  with(good, values{"Dimensions": nil}),
		"another unit":                  with(good, values{"Unit": "Bytes"}),
		"a window longer than the data": with(good, values{"StartTime": w.from.Add(-500 * 24 * time.Hour).Format(time.RFC3339), "EndTime": w.from.Add(-400 * 24 * time.Hour).Format(time.RFC3339), "Period": 86400}),
		"a window in front of the data": with(good, values{"StartTime": w.from.Add(-time.Hour).Format(time.RFC3339), "EndTime": w.from.Format(time.RFC3339)}),
	} {
		reply, err := c.call("GetMetricStatistics", params)
		if err != nil || len(each(reply["Datapoints"])) != 0 {
			t.Errorf("%s: %v, %v", what, reply, err)
		}
	}
}

func (w watcher) alarm(name, id, metric string, datapoints int) values {
	return values{
		"AlarmName": name, "AlarmDescription": "who still uses <normal mode>?", "ActionsEnabled": true, "AlarmActions": []any{w.hook.url, "arn:aws:sns:us-east-1:123456789012:topic"},
		"Namespace": "AWS/EC2", "MetricName": metric, "Dimensions": dimensions(id), "Statistic": "Sum", "Period": 60,
		"EvaluationPeriods": 3, "DatapointsToAlarm": datapoints, "Threshold": 0.5, "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching",
	}
}

// alarms puts, moves, silences and deletes an alarm.
func (w watcher) alarms(t *testing.T, c client, name string) {
	call := func(action string, params values) values {
		t.Helper()
		return check[values](t)(c.call(action, params))
	}
	name = "alarm/of " + name
	names := values{"AlarmNames": []any{name}}
	call("PutMetricAlarm", w.alarm(name, w.in, "MetadataNoToken", 3))
	shown := func() any { return at(call("DescribeAlarms", names), "MetricAlarms", 0) }
	a := shown()
	for member, want := range map[string]any{
		"AlarmName": name, "StateValue": "INSUFFICIENT_DATA", "Threshold": 0.5, "Period": 60.0, "EvaluationPeriods": 3.0, "DatapointsToAlarm": 3.0,
		"ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching", "Statistic": "Sum", "ActionsEnabled": true,
		"AlarmDescription": "who still uses <normal mode>?",
	} {
		equal(t, member, at(a, member), want)
	}
	call("SetAlarmState", values{"AlarmName": name, "StateValue": "ALARM", "StateReason": "a test"})
	equal(t, "state", at(shown(), "StateValue"), any("ALARM"))
	m := w.hook.next(t, 20*time.Second, func(m values) bool { return m["alarm"] == name })
	equal(t, "message: state", m["state"], any("ALARM"))
	equal(t, "message: before", m["was"], any("INSUFFICIENT_DATA"))
	history := call("DescribeAlarmHistory", values{"AlarmName": name, "HistoryItemType": "StateUpdate"})
	if n := len(each(history["AlarmHistoryItems"])); n < 1 {
		t.Errorf("the history has %d lines", n)
	}
	call("DisableAlarmActions", names)
	equal(t, "actions", at(shown(), "ActionsEnabled"), any(false))
	call("EnableAlarmActions", names)
	_, err := c.call("PutMetricAlarm", with(w.alarm(name, w.in, "MetadataNoToken", 4), nil))
	told(t, "more datapoints than periods", err, "InvalidParameterValue", 400)
	call("DeleteAlarms", names)
	if a := shown(); a != nil {
		t.Errorf("a deleted alarm is shown: %v", a)
	}
	_, err = c.call("SetAlarmState", values{"AlarmName": name, "StateValue": "OK", "StateReason": "a test"})
	told(t, "an alarm that is gone", err, "ResourceNotFound", 404)
}

// TestCloudMonitor: the clients of CloudMonitor likewise.
func TestCloudMonitor(t *testing.T) {
	state := t.TempDir()
	p := start(t, map[string]string{"state": state})
	key := []byte(strings.TrimSpace(string(check[[]byte](t)(os.ReadFile(filepath.Join(state, "alarm-key"))))))
	hook := receive(t, key)
	in, out := sample(t, "ecs", optional), sample(t, "ecs", required)
	c := connection{Endpoint: p.control, Region: in.Region, Key: "LTAIimdsdev000000000", Secret: "imds-dev-secret"}
	burden(t, p.ecs, "X-aliyun-ecs-metadata-token", 403)
	for name, open := range cmsClients {
		t.Run(name, func(t *testing.T) { tellCMS(t, open(t, c), in.ID, out.ID, in.Account) })
	}
	sdk := cmsClients["alibaba-cloud-sdk-go"](t, c)
	rule := ruleOf("r-1", out.ID, "normal_rejected")
	rule["Webhook"] = hook.url
	check[values](t)(sdk.call("PutResourceMetricRule", rule))
	ask(t, required, p.ecs+"/latest/meta-data/image-id", "", "", 1, 403)
	m := hook.next(t, 3*time.Minute, func(m values) bool { return m["alarm"] == "r-1" })
	equal(t, "state", m["state"], any("ALARM"))
	equal(t, "level", m["level"], any("Critical"))
	reply := check[values](t)(sdk.call("DescribeMetricRuleList", values{"RuleIds": "r-1"}))
	equal(t, "state", at(reply, "Alarms", "Alarm", 0, "AlertState"), any("ALARM"))
}

func ruleOf(id, instance, metric string) values {
	return values{
		"RuleId": id, "RuleName": "name of " + id, "Namespace": "openimds_ecs_metadata", "MetricName": metric, "ContactGroups": "ops",
		"Resources": `[{"instanceId":"` + instance + `"}]`, "Period": "60", "NoDataPolicy": "OK", "SilenceTime": 86400,
		"Escalations": values{"Critical": values{"Statistics": "Sum", "ComparisonOperator": "GreaterThanThreshold", "Threshold": "0", "Times": 1}},
	}
}

func tellCMS(t *testing.T, c client, in, out, account string) {
	call := func(action string, params values) values {
		t.Helper()
		return check[values](t)(c.call(action, params))
	}
	points := func(action, metric, id string) []any {
		t.Helper()
		reply := call(action, values{
			"Namespace": "openimds_ecs_metadata", "MetricName": metric, "Period": "60", "Dimensions": `[{"instanceId":"` + id + `"}]`,
			"StartTime": time.Now().Add(-time.Hour).UTC().Format(time.RFC3339),
		})
		equal(t, "code", reply["Code"], any("200"))
		text, ok := reply["Datapoints"].(string)
		var all []any
		if !ok || json.Unmarshal([]byte(text), &all) != nil {
			t.Fatalf("the datapoints are %v", reply["Datapoints"])
		}
		return all
	}
	for _, tt := range []struct {
		metric, id string
		want       float64
	}{
		{"normal_success", in, tokenFree}, {"hardened_success", in, tokened}, {"token_success", in, 1}, {"normal_rejected", in, 0},
		{"normal_rejected", out, rejected}, {"normal_success", out, 0},
	} {
		all := points("DescribeMetricList", tt.metric, tt.id)
		equal(t, "sum of "+tt.metric, sum(any(all), "Sum"), tt.want)
		if tt.want == 0 {
			equal(t, "points of "+tt.metric, len(all), 0)
			continue
		}
		equal(t, "instance", at(all[0], "instanceId"), any(tt.id))
		equal(t, "user", at(all[0], "userId"), any(account))
		last := points("DescribeMetricLast", tt.metric, tt.id)
		equal(t, "last of "+tt.metric, len(last), 1)
	}
	meta := call("DescribeMetricMetaList", values{"Namespace": "openimds_ecs_metadata"})
	if names := each(at(meta, "Resources", "Resource"), "MetricName"); !contains(names, "normal_rejected") || len(names) != 7 {
		t.Errorf("the metrics are %v", names)
	}
	call("PutResourceMetricRule", ruleOf("rule", out, "normal_success"))
	rules := func() any { return at(call("DescribeMetricRuleList", values{"RuleIds": "rule"}), "Alarms", "Alarm", 0) }
	for member, want := range map[string]any{"RuleName": "name of rule", "EnableState": true, "MetricName": "normal_success", "NoDataPolicy": "OK"} {
		equal(t, member, at(rules(), member), want)
	}
	equal(t, "threshold", at(rules(), "Escalations", "Critical", "Threshold"), any("0"))
	call("DisableMetricRules", values{"RuleId": []any{"rule"}})
	equal(t, "disabled", at(rules(), "EnableState"), any(false))
	call("EnableMetricRules", values{"RuleId": []any{"rule"}})
	call("DeleteMetricRules", values{"Id": []any{"rule"}})
	equal(t, "deleted", rules(), nil)
	for what, tt := range map[string]struct {
		params values
		code   string
		status int
	}{
		"an unknown metric":             {values{"MetricName": "nothing"}, "ResourceNotFound", 404},
		"an unknown namespace":          {values{"Namespace": "acs_ecs_dashboard"}, "ResourceNotFound", 404},
		"a period that does not divide": {values{"Period": "90"}, "InvalidParameterValue", 400},
		"a window that is too long":     {values{"StartTime": time.Now().Add(-40 * 24 * time.Hour).UTC().Format(time.RFC3339)}, "InvalidParameterValue", 400},
		"no metric":                     {values{"MetricName": nil}, "MissingParameter", 400},
	} {
		_, err := c.call("DescribeMetricList", with(values{"Namespace": "openimds_ecs_metadata", "MetricName": "normal_success", "Period": "60"}, tt.params))
		told(t, what, err, tt.code, tt.status)
	}
}
