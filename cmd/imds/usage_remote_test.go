package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"openimds/internal/admin"
	"openimds/internal/api/sigv4"
	"openimds/internal/testnet"
)

// statistics asks CloudWatch for the sum of MetadataNoToken of an instance, by
// the minute.
func statistics(t *testing.T, p *process, id string) (int, string, float64) {
	t.Helper()
	form := url.Values{
		"Version": {"2010-08-01"}, "Action": {"GetMetricStatistics"}, "Namespace": {"AWS/EC2"}, "MetricName": {"MetadataNoToken"},
		"Dimensions.member.1.Name": {"InstanceId"}, "Dimensions.member.1.Value": {id}, "Period": {"60"}, "Statistics.member.1": {"Sum"},
		"StartTime": {time.Now().Add(-2 * time.Hour).UTC().Format(time.RFC3339)}, "EndTime": {time.Now().Add(time.Minute).UTC().Format(time.RFC3339)},
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
	var out struct {
		Sums []float64 `xml:"GetMetricStatisticsResult>Datapoints>member>Sum"`
	}
	if err := xml.Unmarshal(text, &out); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	total := 0.0
	for _, n := range out.Sums {
		total += n
	}
	return res.StatusCode, string(text), total
}

// promValue asks a Prometheus for one value; empty: it has none.
func promValue(t *testing.T, p *testnet.Prometheus, expr string) string {
	t.Helper()
	_, body := get(t, "127.0.0.1", "GET", p.URL+"/api/v1/query?"+url.Values{"query": {expr}}.Encode())
	var out struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if len(out.Data.Result) != 1 {
		return ""
	}
	return fmt.Sprint(out.Data.Result[0].Value[1])
}

// The program hands usage on to Prometheus, over kill -9 of either, and reads it
// from there; while that is away it says so, and calls nobody ready.
func TestUsageGoesToPrometheus(t *testing.T) {
	t.Parallel()
	prom := testnet.StartPrometheus(t)
	h := newHost(t)
	h.seed(t)
	const id = "i-0123456789abcdef0"
	writeFile(t, h.dir+"/instances.yaml", strings.NewReplacer("123456789012", firstSample()["ec2"].Account).Replace(oneInstance))
	writeFile(t, h.config, h.sampleSettings(t)+fmt.Sprintf("\ninstances: instances.yaml\nusage:\n  remote: {write: %q, query: %q, labels: {cluster: test}}\n", prom.URL+"/api/v1/write", prom.URL+"/"))
	p := h.start(t)
	total := 0
	load := func(n int) {
		for range n {
			if status, _ := get(t, "127.0.0.1", "GET", "http://"+p.addr["ec2"]+"/latest/meta-data/instance-type"); status != http.StatusOK {
				t.Fatalf("status %d", status)
			}
		}
		total += n
		// Who reads makes it be kept.
		if status, text, got := statistics(t, p, id); status != http.StatusOK || got != float64(total) {
			t.Fatalf("%d, %v, want %d\n%s", status, got, total, text)
		}
	}
	arrives := func() {
		expr := `sum(max_over_time(openimds_instance_usage_total{cluster="test",instance_id="` + id + `",kind="token_free"}[1h]))`
		for end := time.Now().Add(3 * time.Minute); promValue(t, prom, expr) != fmt.Sprint(total); time.Sleep(time.Second) {
			if time.Now().After(end) {
				t.Fatalf("found %q, expected %d", promValue(t, prom, expr), total)
			}
		}
	}
	load(7)
	p.signal(t, syscall.SIGKILL)
	p = h.start(t)
	load(5)
	arrives()
	prom.Kill()
	if status, text, _ := statistics(t, p, id); status != http.StatusInternalServerError || !strings.Contains(text, "<Code>InternalServiceError</Code>") || strings.Contains(text, "127.0.0.1:") {
		t.Errorf("without Prometheus CloudWatch says %d\n%s", status, text)
	}
	o := operatorOf(t, p.program, h.state())
	var r admin.Readiness
	o.must(t, &r, "GET", "readiness?window=1m&any-boot=true", nil)
	if r.Ready != 0 || r.Unknown+r.NotReady != 1 || !strings.Contains(fmt.Sprintf("%+v", r.Instances), "usage could not be read from where it is kept") {
		t.Errorf("without Prometheus: %+v", r)
	}
	p.signal(t, syscall.SIGKILL)
	prom.Start()
	p = h.start(t)
	load(3)
	arrives()
	_, metrics := get(t, "127.0.0.1", "GET", "http://"+p.addr["control"]+"/metrics")
	for _, line := range []string{"openimds_usage_remote_samples_dropped_total 0\n", `openimds_usage_remote_queries_total{outcome="failed"} 0` + "\n"} {
		if !strings.Contains(metrics, line) {
			t.Errorf("the metrics have no %q", line)
		}
	}
	p.signal(t, syscall.SIGTERM)
}
