package cloudwatch_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/smithy-go/encoding/cbor"

	"openimds/internal/api/monitor/cloudwatch"
	"openimds/internal/usage/series"
)

// The same question in three protocols has the same answer, each in its own
// form (EC2-CW-03, EC2-CW-04, EC2-CW-05, EC2-CW-16).
func TestProtocols(t *testing.T) {
	b := newBed(t)
	b.did(mine, 0, free(3))
	const start, end = 1773478800, 1773482400 // 09:00 and 10:00
	w := b.form("GetMetricStatistics", "Namespace", "AWS/EC2", "MetricName", "MetadataNoToken", "Dimensions.member.1.Name", "InstanceId",
		"Dimensions.member.1.Value", mine, "StartTime", "2026-03-14T09:00:00Z", "EndTime", "2026-03-14T10:00:00Z", "Period", "3600", "Statistics.member.1", "Sum",
		"Statistics.member.2", "SampleCount")
	const id = "00000000-0000-4000-8000-000000000000"
	const want = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<GetMetricStatisticsResponse xmlns="http://monitoring.amazonaws.com/doc/2010-08-01/"><GetMetricStatisticsResult><Label>MetadataNoToken</Label>` +
		`<Datapoints><member><Timestamp>2026-03-14T09:00:00Z</Timestamp><SampleCount>1</SampleCount><Sum>3</Sum><Unit>Count</Unit></member></Datapoints>` +
		`</GetMetricStatisticsResult><ResponseMetadata><RequestId>` + id + `</RequestId></ResponseMetadata></GetMetricStatisticsResponse>`
	if got := w.Body.String(); got != want || w.Code != 200 || w.Header().Get("Content-Type") != "text/xml" {
		t.Errorf("Query: %d %s", w.Code, got)
	}

	w = b.do("AKIATEST", "/", []byte(`{"Namespace":"AWS/EC2","MetricName":"MetadataNoToken","Dimensions":[{"Name":"InstanceId","Value":"`+mine+`"}],
		"StartTime":1773478800,"EndTime":1773482400,"Period":3600,"ExtendedStatistics":["p50"],"Future":{"a":null}}`), "X-Amz-Target", cloudwatch.Target+"GetMetricStatistics")
	if got := w.Body.String(); got != `{"Label":"MetadataNoToken","Datapoints":[{"Timestamp":1773478800,"ExtendedStatistics":{"p50":3},"Unit":"Count"}]}` || w.Header().Get("Content-Type") != "application/x-amz-json-1.0" {
		t.Errorf("JSON: %d %s", w.Code, got)
	}

	input := cbor.Map{
		"Namespace": cbor.String("AWS/EC2"), "MetricName": cbor.String("MetadataNoToken"), "Period": cbor.Uint(3600),
		"Dimensions": cbor.List{cbor.Map{"Name": cbor.String("InstanceId"), "Value": cbor.String(mine)}},
		"StartTime":  &cbor.Tag{ID: 1, Value: cbor.Float64(start)}, "EndTime": &cbor.Tag{ID: 1, Value: cbor.Uint(end)},
		"Statistics": cbor.List{cbor.String("Sum")}, "Unit": &cbor.Nil{},
	}
	w = b.do("AKIATEST", cloudwatch.Prefix+"GetMetricStatistics", cbor.Encode(input), "Smithy-Protocol", "rpc-v2-cbor")
	v, err := cbor.Decode(w.Body.Bytes())
	out, _ := v.(cbor.Map)
	points, _ := out["Datapoints"].(cbor.List)
	if err != nil || w.Code != 200 || w.Header().Get("Smithy-Protocol") != "rpc-v2-cbor" || len(points) != 1 {
		t.Fatalf("CBOR: %d %v %v", w.Code, v, err)
	}
	point := points[0].(cbor.Map)
	at, ok := point["Timestamp"].(*cbor.Tag)
	if !ok || at.ID != 1 || at.Value != cbor.Float64(start) || point["Sum"] != cbor.Float64(3) {
		t.Errorf("CBOR: %v", slices.Collect(maps.Keys(point)))
	}

	// Errors, and empty outputs.
	w = b.do("AKIATEST", cloudwatch.Prefix+"GetMetricStatistics", cbor.Encode(cbor.Map{}), "Smithy-Protocol", "rpc-v2-cbor")
	v, _ = cbor.Decode(w.Body.Bytes())
	if out, _ := v.(cbor.Map); w.Code != 400 || w.Header().Get("X-Amzn-Query-Error") != "MissingParameter;Sender" ||
		out["__type"] != cbor.String("com.amazonaws.cloudwatch#MissingRequiredParameterException") || out["message"] != cbor.String("The parameter Namespace is required.") {
		t.Errorf("CBOR: %d %v %v", w.Code, w.Header(), v)
	}
	w = b.form("GetMetricStatistics")
	if want := `<Type>Sender</Type><Code>MissingParameter</Code><Message>The parameter Namespace is required.</Message>`; w.Code != 400 || !strings.Contains(w.Body.String(), want) {
		t.Errorf("Query: %d %s", w.Code, w.Body)
	}
	w = b.form("DeleteAlarms", "AlarmNames.member.1", "x")
	if got := w.Body.String(); strings.Contains(got, "Result") || !strings.Contains(got, "<RequestId>") {
		t.Errorf("an empty output: %s", got)
	}
	if code, out := b.json("DeleteAlarms", `{"AlarmNames":["x"]}`); code != 200 || len(out) != 0 {
		t.Errorf("an empty output: %d %v", code, out)
	}
}

// What cannot be read, is not signed or not allowed is refused in the
// request's own form.
func TestRefusals(t *testing.T) {
	b := newBed(t)
	for _, tt := range []struct{ action, input, code string }{
		{"ListMetrics", `{`, "SerializationException"},
		{"ListMetrics", `{} {}`, "SerializationException"},
		{"ListMetrics", `[]`, "SerializationException"},
		{"ListMetrics", `{"Namespace":1}`, "SerializationException"},
		{"ListMetrics", `{"Dimensions":[null]}`, "SerializationException"},
		{"ListMetrics", `{"NextToken":"zz"}`, "InvalidNextToken"},
		{"ListMetrics", `{"RecentlyActive":"PT4H"}`, "InvalidParameterValueException"},
		{"GetMetricStatistics", `{"Period":1e300}`, "SerializationException"},
		{"GetMetricStatistics", `{"StartTime":1e300}`, "SerializationException"},
		{"PutMetricData", `{}`, "UnknownOperationException"},
	} {
		if status, out := b.json(tt.action, tt.input); status != 400 || out["code"] != tt.code {
			t.Errorf("%s %s: %d %v", tt.action, tt.input, status, out)
		}
	}
	for _, params := range [][]string{
		{"Dimensions", "x"}, {"Dimensions.member.0.Name", "x"}, {"Dimensions.member.x.Name", "x"}, {"Dimensions.member.1.Name", "x", "Dimensions.member.1", "y"}, {"Namespace", "\xff"},
		{"Dimensions.member.1", "x"}, {strings.Repeat("a.", 40) + "b", "x"},
	} {
		if w := b.form("ListMetrics", params...); w.Code != 400 || !strings.Contains(w.Body.String(), "<Code>MalformedInput</Code>") {
			t.Errorf("%v: %d %s", params, w.Code, w.Body)
		}
	}
	for _, tt := range []struct {
		key, action, code string
		status            int
	}{
		{"AKIAREAD", "ListMetrics", "AccessDenied;Sender", 403},
		{"AKIAREAD", "DescribeAlarms", "AccessDenied;Sender", 403},
		{"AKIANONE", "ListMetrics", "InvalidClientTokenId;Sender", 403},
	} {
		w := b.do(tt.key, "/", []byte(`{}`), "X-Amz-Target", cloudwatch.Target+tt.action)
		if got := w.Header().Get("X-Amzn-Query-Error"); w.Code != tt.status || got != tt.code {
			t.Errorf("%s of %s: %d %s", tt.action, tt.key, w.Code, got)
		}
	}
	if w := b.do("AKIAREAD", "/", []byte(`{"MetricDataQueries":[{"Id":"a","Expression":"METRICS()"}],"StartTime":1,"EndTime":2}`), "X-Amz-Target", cloudwatch.Target+"GetMetricData"); w.Code != 200 {
		t.Errorf("what its policy allows: %d %s", w.Code, w.Body)
	}
}

// What is not the caller's has no data, whoever asks how (EC2-CW-10).
func TestForeign(t *testing.T) {
	b := newBed(t)
	b.did(foreign, 0, free(3))
	b.did("i-gone", 0, series.Counts{series.TokenFree: 1})
	if _, out := b.json("ListMetrics", `{}`); len(out["Metrics"].([]any)) != 0 {
		t.Errorf("%v", out)
	}
	for _, id := range []string{foreign, "i-gone"} {
		_, out := b.json("GetMetricData", `{"StartTime":1773478800,"EndTime":1773482400,"MetricDataQueries":[{"Id":"a","MetricStat":{"Stat":"Sum","Period":60,"Metric":
			{"Namespace":"AWS/EC2","MetricName":"MetadataNoToken","Dimensions":[{"Name":"InstanceId","Value":"`+id+`"}]}}}]}`)
		if r := out["MetricDataResults"].([]any); len(r) != 1 || len(r[0].(map[string]any)["Values"].([]any)) != 0 {
			t.Errorf("%s: %v", id, out)
		}
	}
}
