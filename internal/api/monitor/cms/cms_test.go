package cms_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"openimds/internal/api/alisign"
	"openimds/internal/api/monitor/cms"
	"openimds/internal/control"
	"openimds/internal/instance"
	"openimds/internal/state"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
	"openimds/internal/usage/history"
	"openimds/internal/usage/series"
)

const (
	account = "123456789012"
	secret  = "hidden-key-secret"
	mine    = "i-bp1monitor000000001"
	second  = "i-bp1monitor000000002"
	foreign = "i-bp1monitor000000009"
)

var now = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

type bed struct {
	t    *testing.T
	api  http.Handler
	db   *state.DB
	file *history.File
	n    int
}

func newBed(t *testing.T, names cms.Names) *bed {
	t.Helper()
	store := memstore.New(memstore.Config{})
	t.Cleanup(func() { _ = store.Close() })
	db, err := state.Open(t.Context(), store, testnet.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	clock := func() time.Time { return now }
	var file *history.File
	c := control.New(control.Config{DB: db, Now: clock, Departed: func(id string) (control.Owner, bool) {
		o, known, err := file.Owner(id)
		return control.Owner(o), known && err == nil
	}})
	file, err = history.Open(history.Config{Path: filepath.Join(t.TempDir(), "usage"), Now: clock, Together: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	file.SetOwner(func(id string) (history.Owner, bool) {
		in, ok := db.Instances.Get(id)
		if !ok {
			return history.Owner{}, false
		}
		return history.Owner{Dialect: in.Spec.Dialect, Account: in.Spec.Account, Region: in.Spec.Region}, true
	})
	operator := control.Caller{Admin: true, Action: "Test"}
	allow := func(action string) string {
		return `{"Version":"1","Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"*"}]}`
	}
	for _, err := range []error{
		c.PutPolicy(t.Context(), operator, state.Policy{Name: "all", Dialect: "ecs", Document: allow("*")}),
		c.PutPolicy(t.Context(), operator, state.Policy{Name: "read", Dialect: "ecs", Document: allow("cms:QueryMetricList")}),
		c.PutKey(t.Context(), operator, state.AccessKey{ID: "LTAITEST", Dialect: "ecs", Account: account, User: "ops", Policies: []string{"all"}}, secret),
		c.PutKey(t.Context(), operator, state.AccessKey{ID: "LTAIREAD", Dialect: "ecs", Account: account, User: "reader", Policies: []string{"read"}}, secret),
		db.Update(t.Context(), func(tx *state.Tx) error {
			for id, owner := range map[string]string{mine: account, second: account, foreign: "999999"} {
				in := instance.Instance{ID: id, Dialect: "ecs", Account: owner, Region: "cn-hangzhou", State: "running"}
				if err := state.Save(tx, db.Instances, id, &state.Instance{Spec: in}); err != nil {
					return err
				}
			}
			return nil
		}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return &bed{t: t, db: db, file: file, api: cms.New(cms.Config{Control: c, History: file, Names: names, Now: clock})}
}

func defaultNames(t *testing.T) cms.Names {
	t.Helper()
	n, err := cms.NewNames("", nil)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (b *bed) did(id string, ago time.Duration, counts series.Counts) {
	b.t.Helper()
	b.n++
	s := series.Sample{Instance: id, Minute: now.Add(-ago).Unix() / 60, Counts: counts}
	if err := b.file.Record(b.t.Context(), series.Report{Node: "n", Boot: "b", Sequence: uint64(b.n), Samples: []series.Sample{s}}); err != nil {
		b.t.Fatal(err)
	}
}

// do calls an action; params are name and value.
func (b *bed) do(key, action, format string, params ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	q := url.Values{"Action": {action}, "Version": {"2019-01-01"}, "Format": {format}}
	for i := 0; i < len(params); i += 2 {
		q.Set(params[i], params[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, "http://metrics.test/?"+q.Encode(), http.NoBody)
	b.n++
	if err := alisign.SignV1(r, nil, alisign.Credentials{AccessKeyID: key, AccessKeySecret: secret}, strconv.Itoa(b.n), now); err != nil {
		b.t.Fatal(err)
	}
	w := httptest.NewRecorder()
	b.api.ServeHTTP(w, r)
	return w
}

func (b *bed) call(action string, params ...string) (int, map[string]any) {
	b.t.Helper()
	w := b.do("LTAITEST", action, "JSON", params...)
	var out map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		b.t.Fatalf("%v in %s", err, w.Body)
	}
	return w.Code, out
}

// points writes the datapoints of a reply in a line: minutes ago, the last
// digit of the instance, and the sum.
func points(t *testing.T, out map[string]any) string {
	t.Helper()
	var all []struct {
		Timestamp  int64   `json:"timestamp"`
		UserID     string  `json:"userId"`
		InstanceID string  `json:"instanceId"`
		Sum        float64 `json:"Sum"`
	}
	if err := json.Unmarshal([]byte(fmt.Sprint(out["Datapoints"])), &all); err != nil {
		t.Fatalf("%v in %v", err, out)
	}
	var got []string
	for _, p := range all {
		if p.UserID != account {
			t.Errorf("of %s", p.UserID)
		}
		got = append(got, fmt.Sprintf("%d/%s:%v", (now.Truncate(time.Minute).UnixMilli()-p.Timestamp)/60000, p.InstanceID[len(p.InstanceID)-1:], p.Sum))
	}
	return strings.Join(got, " ")
}

// Datapoints are sparse, of the caller's own instances, after the start up to
// the end, in pages (ECS-CMS-01, ECS-CMS-03, ECS-CMS-04, ECS-CMS-05).
func TestMetricList(t *testing.T) {
	b := newBed(t, defaultNames(t))
	b.did(mine, 0, series.Counts{series.TokenFree: 1})
	b.did(mine, 2*time.Minute, series.Counts{series.TokenFree: 2})
	b.did(second, 2*time.Minute, series.Counts{series.TokenFree: 3})
	b.did(mine, 5*time.Minute, series.Counts{series.Tokened: 9, series.TokenFree: 4})
	b.did(foreign, 0, series.Counts{series.TokenFree: 5})
	at := func(ago time.Duration) time.Time { return now.Truncate(time.Minute).Add(-ago) }
	millis := func(ago time.Duration) string { return strconv.FormatInt(at(ago).UnixMilli(), 10) }
	base := []string{"Namespace", "openimds_ecs_metadata", "MetricName", "normal_success", "Period", "60"}
	token := fmt.Sprintf("%x", millis(2*time.Minute)+"/"+mine)
	for _, tt := range []struct {
		name   string
		params []string
		want   string
	}{
		{"all", nil, "5/1:4 2/1:2 2/2:3 0/1:1"},
		{"one", []string{"Dimensions", `{"instanceId":"` + mine + `"}`}, "5/1:4 2/1:2 0/1:1"},
		{"one of a list", []string{"Dimensions", `[{"instanceId":"` + second + `"},{"instanceId":"` + foreign + `"}]`}, "2/2:3"},
		{"nobody's", []string{"Dimensions", `[{"instanceId":"i-none"}]`}, ""},
		{"after the start, up to the end", []string{"StartTime", millis(5 * time.Minute), "EndTime", millis(2 * time.Minute)}, "2/1:2 2/2:3"},
		{"times in words", []string{"StartTime", "2026-03-14 17:21:00", "EndTime", "2026-03-14T09:24:00Z"}, "2/1:2 2/2:3"},
		{"five minutes", []string{"Period", "300"}, "6/1:6 6/2:3 1/1:1"},
		{"another metric", []string{"MetricName", "hardened_success"}, "5/1:9"},
		{"the next page", []string{"Length", "1", "NextToken", token}, "2/2:3"},
	} {
		status, out := b.call("DescribeMetricList", append(base[:len(base):len(base)], tt.params...)...)
		if got := points(t, out); status != 200 || got != tt.want || out["Code"] != "200" || out["Success"] != true {
			t.Errorf("%s: %d %s\nwant %s", tt.name, status, got, tt.want)
		}
	}
	_, out := b.call("DescribeMetricList", append(base, "Length", "2")...)
	if out["NextToken"] != token {
		t.Errorf("token %v", out["NextToken"])
	}
	_, out = b.call("DescribeMetricLast", base...)
	if got := points(t, out); got != "0/1:1 2/2:3" {
		t.Errorf("last: %s", got)
	}
	if w := b.do("LTAITEST", "DescribeMetricList", "XML", base...); !strings.Contains(w.Body.String(), "<DescribeMetricListResponse><RequestId>") || !strings.Contains(w.Body.String(), "<Datapoints>[{&#34;timestamp") {
		t.Errorf("XML: %s", w.Body)
	}
	if w := b.do("LTAIREAD", "DescribeMetricList", "JSON", base...); w.Code != 200 { // ECS-CMS-10
		t.Errorf("what its policy allows: %d %s", w.Code, w.Body)
	}
	if w := b.do("LTAIREAD", "DescribeMetricLast", "JSON", base...); w.Code != 403 || !strings.Contains(w.Body.String(), `"Code":"Forbidden.RAM"`) {
		t.Errorf("what its policy does not allow: %d %s", w.Code, w.Body)
	}
}

// What is refused, and how (ECS-CMS-09).
func TestRefused(t *testing.T) {
	b := newBed(t, defaultNames(t))
	for _, tt := range []struct {
		action, code string
		status       int
		params       []string
	}{
		{"DescribeMetricList", "MissingParameter", 400, []string{"MetricName", ""}},
		{"DescribeMetricList", "ResourceNotFound", 404, []string{"MetricName", "cpu_total"}},
		{"DescribeMetricList", "ResourceNotFound", 404, []string{"Namespace", "acs_ecs_dashboard"}},
		{"DescribeMetricList", "InvalidParameterValue", 400, []string{"Period", "15"}},
		{"DescribeMetricList", "InvalidParameterValue", 400, []string{"Period", "90"}},
		{"DescribeMetricList", "InvalidParameterValue", 400, []string{"Length", "1441"}},
		{"DescribeMetricList", "InvalidParameterValue", 400, []string{"StartTime", "yesterday"}},
		{"DescribeMetricList", "InvalidParameterValue", 400, []string{"StartTime", "2026-03-14 09:00:00", "EndTime", "2026-03-14 09:00:00"}},
		{"DescribeMetricList", "InvalidParameterValue", 400, []string{"StartTime", "2026-01-14 09:00:00"}},
		{"DescribeMetricList", "InvalidParameterValue", 400, []string{"Dimensions", `[{"instanceId":1}]`}},
		{"DescribeMetricList", "InvalidParameterValue", 400, []string{"Dimensions", `[{"device":"x"}]`}},
		{"DescribeMetricList", "InvalidParameterValue", 400, []string{"NextToken", "zz"}},
		{"DescribeMetricList", "InvalidParameterValue", 400, []string{"Express", `{"groupby":["userId"]}`}},
		{"DescribeMetricTop", "InvalidAction.NotFound", 404, nil},
		{"PutResourceMetricRule", "MissingParameter", 400, []string{"RuleId", ""}},
		{"PutResourceMetricRule", "InvalidParameterValue", 400, []string{"RuleId", "a/b"}},
		{"PutResourceMetricRule", "InvalidParameterValue", 400, []string{"Escalations.Critical.Times", "0"}},
		{"PutResourceMetricRule", "InvalidParameterValue", 400, []string{"Escalations.Critical.Statistics", "p90"}},
		{"PutResourceMetricRule", "InvalidParameterValue", 400, []string{"Escalations.Critical.Threshold", "NaN"}},
		{"PutResourceMetricRule", "InvalidParameterValue", 400, []string{"Escalations.Critical.ComparisonOperator", "GreaterThanYesterday"}},
		{"PutResourceMetricRule", "MissingParameter", 400, []string{"Escalations.Critical.Threshold", ""}},
		{"PutResourceMetricRule", "InvalidParameterValue", 400, []string{"NoDataPolicy", "ALARM"}},
		{"PutResourceMetricRule", "InvalidParameterValue", 400, []string{"Webhook", "gopher://x"}},
		{"PutResourceMetricRule", "InvalidParameterValue", 400, []string{"Prometheus.PromQL", "up"}},
		{"PutResourceMetricRule", "InvalidParameterValue", 400, []string{"EffectiveInterval", "08:00-20:00"}},
		{"DeleteMetricRules", "MissingParameter", 400, nil},
		{"EnableMetricRules", "InvalidParameterValue", 400, []string{"RuleId.0", "x"}},
	} {
		all := append(rule("r"), "StartTime", "", "EndTime", "")
		if strings.HasSuffix(tt.action, "MetricRules") {
			all = nil
		}
		status, out := b.call(tt.action, append(all, tt.params...)...)
		if status != tt.status || out["Code"] != tt.code {
			t.Errorf("%s %v: %d %v", tt.action, tt.params, status, out)
		}
	}
}

func rule(id string) []string {
	return []string{
		"RuleId", id, "RuleName", "of " + id, "Namespace", "openimds_ecs_metadata", "MetricName", "normal_success", "Period", "60",
		"Resources", `[{"resource":"_ALL"}]`, "Escalations.Critical.Statistics", "Sum", "Escalations.Critical.ComparisonOperator", "GreaterThanThreshold",
		"Escalations.Critical.Threshold", "0.5", "Escalations.Critical.Times", "2",
	}
}

// Rules are put, listed in pages, switched and deleted (ECS-CMS-06, ECS-CMS-07,
// ECS-CMS-08).
func TestRules(t *testing.T) {
	b := newBed(t, defaultNames(t))
	for i := range 3 {
		if status, out := b.call("PutResourceMetricRule", rule(fmt.Sprint("r", i))...); status != 200 {
			t.Fatal(out)
		}
	}
	list := func(params ...string) string {
		_, out := b.call("DescribeMetricRuleList", params...)
		s := fmt.Sprint(out["Code"], " ", out["Total"], ":")
		for _, a := range out["Alarms"].(map[string]any)["Alarm"].([]any) {
			m := a.(map[string]any)
			c := m["Escalations"].(map[string]any)["Critical"].(map[string]any)
			s += fmt.Sprint(" ", m["RuleId"], m["EnableState"], m["AlertState"], m["SilenceTime"], m["NoDataPolicy"], c["Threshold"], c["Times"])
		}
		return s
	}
	if got, want := list("RuleIds", "r1,r2"), "200 2: r1 trueINSUFFICIENT_DATA86400 KEEP_LAST_STATE0.5 2 r2 trueINSUFFICIENT_DATA86400 KEEP_LAST_STATE0.5 2"; strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := list("PageSize", "2", "Page", "2"); !strings.HasPrefix(got, "200 3: r2") || strings.Count(got, "r") != 2 {
		t.Error(got)
	}
	b.call("DisableMetricRules", "RuleId.1", "r0")
	if got := list("EnableState", "false"); !strings.HasPrefix(got, "200 1: r0") {
		t.Error(got)
	}
	b.call("DeleteMetricRules", "Id.1", "r0", "Id.2", "r1")
	if got := list("RuleName", "of r"); !strings.HasPrefix(got, "200 1: r2") {
		t.Error(got)
	}
	if got := list("AlertState", "ALARM"); got != "200 0:" {
		t.Error(got)
	}
}

// Names can be others, and are said to be ours where they are ours
// (ECS-CMS-02).
func TestNames(t *testing.T) {
	n, err := cms.NewNames("acs_other", map[string]string{"normal_success": "NormalCount"})
	if err != nil {
		t.Fatal(err)
	}
	b := newBed(t, n)
	_, out := b.call("DescribeMetricMetaList", "MetricName", "NormalCount")
	all := out["Resources"].(map[string]any)["Resource"].([]any)
	if out["TotalCount"] != "1" || len(all) != 1 || all[0].(map[string]any)["Namespace"] != "acs_other" || !strings.Contains(fmt.Sprint(all[0]), "not the vendor's") {
		t.Errorf("%v", out)
	}
	for _, tt := range []struct {
		namespace string
		others    map[string]string
	}{{"a b", nil}, {"", map[string]string{"x": "y"}}, {"", map[string]string{"normal_success": "throttled"}}, {"", map[string]string{"normal_success": ""}}} {
		if _, err := cms.NewNames(tt.namespace, tt.others); err == nil {
			t.Errorf("%+v was taken", tt)
		}
	}
}

func FuzzParameters(f *testing.F) {
	f.Add(`[{"instanceId":"i-1"}]`, "60", "2026-01-01 00:00:00")
	f.Fuzz(func(_ *testing.T, dimensions, period, at string) {
		cms.Read(map[string]string{"Dimensions": dimensions, "Period": period, "StartTime": at, "NextToken": at, "RuleId." + period: at})
	})
}

// end takes an instance out of the state.
func (b *bed) end(ids ...string) {
	b.t.Helper()
	err := b.db.Update(b.t.Context(), func(tx *state.Tx) error {
		for _, id := range ids {
			state.Remove(tx, b.db.Instances, id)
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// What an instance did can be read when it is gone, by who had it.
func TestGone(t *testing.T) {
	b := newBed(t, defaultNames(t))
	b.did(mine, 10*time.Minute, series.Counts{series.TokenFree: 2})
	b.did(second, 20*time.Minute, series.Counts{series.TokenFree: 3})
	b.did(foreign, 10*time.Minute, series.Counts{series.TokenFree: 5})
	b.end(mine, foreign)
	for dimensions, want := range map[string]string{
		"": mine + " " + second, `[{"instanceId":"` + mine + `"}]`: mine, `[{"instanceId":"` + foreign + `"}]`: "",
	} {
		_, out := b.call("DescribeMetricLast", "Namespace", cms.DefaultNamespace, "MetricName", "normal_success", "Dimensions", dimensions)
		var all []struct{ InstanceID string }
		if err := json.Unmarshal([]byte(fmt.Sprint(out["Datapoints"])), &all); err != nil {
			t.Fatal(err, out)
		}
		var got []string
		for _, p := range all {
			got = append(got, p.InstanceID)
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%q: %s, want %s", dimensions, s, want)
		}
	}
}
