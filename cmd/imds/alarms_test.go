package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"openimds/internal/admin"
	"openimds/internal/api/sigv4"
	"openimds/internal/testnet"
)

// cloudwatchAPI calls the CloudWatch API of a running program.
func cloudwatchAPI(t *testing.T, p *program, params ...string) (int, string) {
	t.Helper()
	form := url.Values{"Version": {"2010-08-01"}}
	for i := 0; i < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	body := []byte(form.Encode())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.addr["control"]+"/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	creds := sigv4.Credentials{AccessKeyID: devKeyEC2, SecretKey: devSecret}
	if err := sigv4.Sign(req, body, creds, firstSample()["ec2"].Region, "monitoring", time.Now()); err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// putAlarm puts an alarm that tells an address, and makes it do so.
func putAlarm(t *testing.T, p *program, name, hook string) {
	t.Helper()
	for _, params := range [][]string{
		{
			"Action", "PutMetricAlarm", "AlarmName", name, "Namespace", "AWS/EC2", "MetricName", "MetadataNoToken", "Statistic", "Sum", "Period", "60",
			"EvaluationPeriods", "1", "Threshold", "0", "ComparisonOperator", "GreaterThanThreshold", "TreatMissingData", "ignore",
			"Dimensions.member.1.Name", "InstanceId", "Dimensions.member.1.Value", firstSample()["ec2"].ID, "AlarmActions.member.1", hook,
		},
		{"Action", "SetAlarmState", "AlarmName", name, "StateValue", "ALARM", "StateReason", "a test"},
	} {
		if status, text := cloudwatchAPI(t, p, params...); status != 200 {
			t.Fatalf("%s: %d %s", params[1], status, text)
		}
	}
}

// An operator sees that the messages of an alarm do not arrive, why, and when
// they are tried again; and nothing of the address but its host.
func TestAlarmsAreShown(t *testing.T) {
	var status atomic.Int32
	status.Store(500)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }))
	defer receiver.Close()
	const secret = "secret-of-the-hook-000001"
	testnet.Secret(t, secret)
	p := startDev(t)
	server := "http://" + p.addr["control"]
	if code, out, problems := imds(t, server, "", "get", "alarms"); code != 0 || out != "" || !strings.Contains(problems, "no such alarms") {
		t.Errorf("without any: %d %q %q", code, out, problems)
	}
	putAlarm(t, p, "web/one", receiver.URL+"/T0/"+secret+"?token="+secret)
	shown := func(args ...string) string {
		t.Helper()
		code, out, problems := imds(t, server, "", args...)
		if code != 0 || strings.Contains(out, secret) {
			t.Fatalf("%q: %d %s %s", args, code, out, problems)
		}
		return out
	}
	full := "ec2/" + firstSample()["ec2"].Account + "/" + firstSample()["ec2"].Region + "/web/one"
	waitFor(t, "the failure was shown", func() bool { return strings.Contains(shown("get", "alarms"), "did not answer with success: 500") })
	table := shown("get", "alarm", "--state", "ALARM", "--dialect", "ec2")
	for _, want := range []string{full, "ALARM", "WAITING", "LAST-ERROR", "NEXT-TRY", "1 ALARM"} {
		if !strings.Contains(table, want) {
			t.Errorf("%s is not in:\n%s", want, table)
		}
	}
	text := shown("describe", "alarm", "web/one")
	for _, want := range []string{"alarm:      " + full, "reason:     a test", "tells:      ALARM: " + receiver.URL, "1 waiting, 1 of them tried in vain, 0 given up", "next try at 20", "history:", firstSample()["ec2"].ID + " ALARM since"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in:\n%s", want, text)
		}
	}
	var a admin.Alarm
	if err := json.Unmarshal([]byte(shown("get", "alarms", full, "-o", "json")), &a); err != nil || a.Waiting != 1 || a.Failed != 1 || len(a.Deliveries) != 1 || a.Deliveries[0].NextTry.IsZero() {
		t.Errorf("%+v, %v", a, err)
	}
	status.Store(204)
	waitFor(t, "it was delivered", func() bool { return strings.Contains(shown("describe", "alarm", full), "0 waiting") })
	for _, tc := range []struct{ args, want string }{
		{"describe alarm none", `there is no alarm "none"`}, {"describe alarm ec2/1/r/none", "there is no alarm"},
		{"get alarms --http-tokens required", "alarms have no --http-tokens"}, {"get alarms --state BAD", "state: found"},
		{"delete alarm x", `no kind "alarm"`}, {"get alrms", "did you mean alarms?"}, {"get alarms a -l x=y", "alarms have no --tag"},
	} {
		if code, _, problems := imds(t, server, "", strings.Fields(tc.args)...); code == 0 || !strings.Contains(problems, tc.want) {
			t.Errorf("%s: %d %s", tc.args, code, problems)
		}
	}
}

// The files of a control plane hold nothing of where its alarms send to, and a
// restart finds it again.
func TestServeSealsAddresses(t *testing.T) {
	h := newHost(t)
	const secret = "secret-of-the-hook-000002"
	testnet.Secret(t, secret)
	h.seed(t)
	p := h.start(t)
	hook := "http://127.0.0.1:9/T0/" + secret + "?token=" + secret
	putAlarm(t, p.program, "sealed", hook)
	shown := func() string {
		_, text := cloudwatchAPI(t, p.program, "Action", "DescribeAlarms", "AlarmNames.member.1", "sealed")
		return text
	}
	o := operatorOf(t, p.program, h.state())
	waitFor(t, "it was tried", func() bool {
		var all admin.Alarms
		o.must(t, &all, "GET", "alarms", nil)
		return len(all.Items) == 1 && all.Items[0].Failed == 1
	})
	killed(t, p)
	p = h.start(t)
	if text := shown(); !strings.Contains(text, "/T0/"+secret) || !strings.Contains(text, "<StateValue>ALARM<") {
		t.Errorf("after a restart it is %s", text)
	}
	p.signal(t, syscall.SIGTERM)
	files, err := os.ReadDir(h.state())
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		if f.IsDir() {
			continue
		}
		data, err := os.ReadFile(h.state() + "/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("%s holds the secret of an address", f.Name())
		}
	}
}
