package cloudwatch_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"openimds/internal/usage/series"
)

// Which minute has which metric (EC2-CW-01, EC2-CW-02, EC2-CW-06).
func TestWhichMetric(t *testing.T) {
	b := newBed(t)
	b.did(mine, 1*time.Minute, free(2))
	b.did(mine, 2*time.Minute, tokened(5))
	b.did(mine, 3*time.Minute, rejected(4))
	b.did(mine, 4*time.Minute, series.Counts{series.TokenFree: 1, series.Rejected: 1}) // the mode was changed
	b.did(mine, 5*time.Minute, series.Counts{series.Tokened: 1, series.Rejected: 1})
	b.did(mine, 6*time.Minute, series.Counts{series.Throttled: 9})
	for metric, want := range map[string]string{"MetadataNoToken": "4:1 2:0 1:2", "MetadataNoTokenRejected": "5:1 4:1 3:4"} {
		var got []string
		_, out := b.json("GetMetricStatistics", `{"Namespace":"AWS/EC2","MetricName":"`+metric+`","Dimensions":[{"Name":"InstanceId","Value":"`+mine+`"}],
			"StartTime":1773478800,"EndTime":1773482400,"Period":60,"Statistics":["Sum"]}`)
		for _, d := range out["Datapoints"].([]any) {
			p := d.(map[string]any)
			got = append(got, fmt.Sprintf("%v:%v", (now.Unix()/60*60-int64(p["Timestamp"].(float64)))/60, p["Sum"]))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %s, want %s", metric, s, want)
		}
	}
}

// Windows and periods that the vendor refuses (EC2-CW-07, EC2-CW-08,
// EC2-CW-11).
func TestStatisticsRefused(t *testing.T) {
	b := newBed(t)
	for _, tt := range []struct{ change, code, message string }{
		{`"StartTime":1773309600`, "InvalidParameterCombinationException", "You have requested up to 2,880 datapoints, which exceeds the limit of 1,440. You may reduce the datapoints requested by increasing Period, or decreasing the time range."},
		{`"StartTime":1773482400`, "InvalidParameterValueException", "The parameter StartTime must not equal parameter EndTime."},
		{`"StartTime":1773482401`, "InvalidParameterValueException", "The parameter StartTime must be less than the parameter EndTime."},
		{`"Period":30`, "InvalidParameterValueException", "The parameter Period must be greater or equal to 60 and a multiple of 60. Value: 30"},
		{`"Period":0`, "InvalidParameterValueException", ""},
		{`"Statistics":["Median"]`, "InvalidParameterValueException", "The value Median for parameter Statistics is not supported."},
		{`"Statistics":[],"ExtendedStatistics":["tm90"]`, "InvalidParameterValueException", "The value tm90 for parameter ExtendedStatistics is not supported."},
		{`"ExtendedStatistics":["p1"]`, "InvalidParameterCombinationException", ""},
		{`"Statistics":[]`, "MissingRequiredParameterException", "The parameter Statistics is required."},
		{`"Statistics":["Sum","Sum","Sum","Sum","Sum","Sum"]`, "InvalidParameterValueException", ""},
		{`"Dimensions":[{"Name":"","Value":"x"}]`, "InvalidParameterValueException", ""},
	} {
		input := map[string]any{}
		for _, text := range []string{`{"Namespace":"AWS/EC2","MetricName":"MetadataNoToken","StartTime":1773478800,"EndTime":1773482400,"Period":60,"Statistics":["Sum"]}`, `{` + tt.change + `}`} {
			if err := json.Unmarshal([]byte(text), &input); err != nil {
				t.Fatal(err)
			}
		}
		text, _ := json.Marshal(input)
		status, out := b.json("GetMetricStatistics", string(text))
		if status != 400 || out["code"] != tt.code || tt.message != "" && out["message"] != tt.message {
			t.Errorf("%s: %d %v", tt.change, status, out)
		}
	}
}

// Lists come in pages, and only of what had data (EC2-CW-12).
func TestListMetrics(t *testing.T) {
	b := newBed(t)
	b.did(mine, 0, free(1))
	b.did(mine, 0, rejected(1))
	b.did(second, 5*time.Hour, tokened(1))
	for input, want := range map[string]string{
		`{}`:                        mine + " MetadataNoToken, " + mine + " MetadataNoTokenRejected, " + second + " MetadataNoToken",
		`{"RecentlyActive":"PT3H"}`: mine + " MetadataNoToken, " + mine + " MetadataNoTokenRejected",
		`{"MetricName":"MetadataNoTokenRejected"}`:                                   mine + " MetadataNoTokenRejected",
		`{"Namespace":"AWS/EBS"}`:                                                    "",
		`{"Dimensions":[{"Name":"InstanceId","Value":"` + second + `"}]}`:            second + " MetadataNoToken",
		`{"Dimensions":[{"Name":"InstanceId"}],"MetricName":"MetadataNoToken"}`:      mine + " MetadataNoToken, " + second + " MetadataNoToken",
		`{"Dimensions":[{"Name":"ImageId"}]}`:                                        "",
		`{"NextToken":"` + fmt.Sprintf("%x", mine+"/MetadataNoTokenRejected") + `"}`: second + " MetadataNoToken",
	} {
		_, out := b.json("ListMetrics", input)
		var got []string
		for _, m := range out["Metrics"].([]any) {
			d := m.(map[string]any)["Dimensions"].([]any)[0].(map[string]any)
			got = append(got, fmt.Sprint(d["Value"], " ", m.(map[string]any)["MetricName"]))
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("%s: %s", input, s)
		}
	}
}

// data asks GetMetricData and writes its series in a line.
func (b *bed) data(queries, more string) string {
	b.t.Helper()
	status, out := b.json("GetMetricData", `{"StartTime":1773478800,"EndTime":1773482400,"MetricDataQueries":[`+queries+`]`+more+`}`)
	if status != 200 {
		return fmt.Sprint(out["code"], ": ", out["message"])
	}
	var all []string
	for _, r := range out["MetricDataResults"].([]any) {
		m := r.(map[string]any)
		all = append(all, fmt.Sprint(m["Id"], " ", m["Label"], " ", m["Values"], " ", m["StatusCode"]))
	}
	if next, ok := out["NextToken"]; ok {
		all = append(all, "next "+fmt.Sprint(next))
	}
	return strings.Join(all, "; ")
}

// Series by metric, by search and by functions, in pages (EC2-CW-13,
// EC2-CW-14).
func TestMetricData(t *testing.T) {
	b := newBed(t)
	b.did(mine, 0, free(2))
	b.did(mine, 10*time.Minute, free(3))
	b.did(second, 10*time.Minute, free(5))
	b.did(second, 20*time.Minute, rejected(7))
	stat := func(id, instance string) string {
		return `{"Id":"` + id + `","MetricStat":{"Stat":"Sum","Period":60,"Metric":{"Namespace":"AWS/EC2","MetricName":"MetadataNoToken","Dimensions":[{"Name":"InstanceId","Value":"` + instance + `"}]}}}`
	}
	hidden := func(id, instance string) string {
		return strings.Replace(stat(id, instance), `{`, `{"ReturnData":false,`, 1)
	}
	expression := func(id, text string) string {
		q, _ := json.Marshal(text)
		return `{"Id":"` + id + `","Expression":` + string(q) + `}`
	}
	const search = `SEARCH('{AWS/EC2,InstanceId} MetricName="MetadataNoToken"', 'Sum', 60)`
	for _, tt := range []struct{ name, queries, more, want string }{
		{"a metric", stat("a", mine), "", "a MetadataNoToken [2 3] Complete"},
		{"oldest first", stat("a", mine), `,"ScanBy":"TimestampAscending"`, "a MetadataNoToken [3 2] Complete"},
		{"a page", stat("a", mine) + "," + stat("b", second), `,"MaxDatapoints":1`, "a MetadataNoToken [2] PartialData; next 0-1"},
		{"the next page", stat("a", mine) + "," + stat("b", second), `,"MaxDatapoints":2,"NextToken":"0-1"`, "a MetadataNoToken [3] Complete; b MetadataNoToken [5] Complete"},
		{"search", expression("s", search), "", "s " + mine + " [2 3] Complete; s " + second + " [5] Complete"},
		{"search by words", expression("s", `SEARCH('rejected', 'Sum', 3600)`), "", "s " + second + " [7] Complete"},
		{"search by OR", expression("s", `SEARCH('InstanceId=("`+mine+`" OR "`+second+`") AND MetricName=NoToken Namespace="AWS/EC2"', 'Maximum', 3600)`), "",
			"s " + mine + " [3] Complete; s " + second + " [5] Complete; s " + second + " [7] Complete"},
		{"search for another schema", expression("s", `SEARCH('{AWS/EC2,ImageId} MetricName="MetadataNoToken"', 'Sum')`), "", ""},
		{"sum of a search", expression("s", "SUM("+search+")"), "", "s s [2 8] Complete"},
		{"sum of ids", hidden("a", mine) + "," + hidden("b", second) + "," + expression("s", "SUM([a, b])"), "", "s s [2 8] Complete"},
		{"average of all", hidden("a", mine) + "," + hidden("b", second) + "," + expression("s", "AVG(METRICS())"), "", "s s [2 4] Complete"},
		{"most", hidden("a", mine) + "," + hidden("b", second) + "," + expression("s", `MAX(METRICS("b"))`), "", "s s [5] Complete"},
		{"itself", expression("s", "SUM([s])"), "", `ValidationException: Error in expression "s": it needs itself.`},
		{"an id that is not there", expression("s", "a"), "", `ValidationException: Error in expression: the query "a" does not exist.`},
		{"another function", expression("s", "RATE(a)"), "", "ValidationException: Error in expression 's': the function RATE is not offered here: there are SEARCH, METRICS, SUM, AVG, MIN, MAX."},
		{"no end", expression("s", "SUM("+search), "", `ValidationException: Error in expression 's': expected ")" before "".`},
		{"an odd period", expression("s", `SEARCH('x', 'Sum', 61)`), "", "ValidationException: The parameter Period must be greater or equal to 60 and a multiple of 60. Value: 61"},
		{"an odd id", stat("A", mine), "", `ValidationException: The value "A" for parameter Id is not matching the expected pattern ^[a-z][a-zA-Z0-9_]*$.`},
		{"one id twice", stat("a", mine) + "," + stat("a", mine), "", "ValidationException: The value a for parameter Id is used more than once."},
		{"nothing to return", hidden("a", mine), "", "ValidationException: At least one query must have ReturnData set to true."},
		{"a token", stat("a", mine), `,"NextToken":"x"`, "InvalidNextToken: The next token specified is invalid."},
		{"deep", expression("s", strings.Repeat("[", 30)), "", "ValidationException: Error in expression 's': it is nested too deeply."},
		{"no time at all", stat("a", mine), `,"EndTime":1773478800`, "ValidationException: The parameter StartTime must not equal parameter EndTime."},
	} {
		if got := b.data(tt.queries, tt.more); got != tt.want {
			t.Errorf("%s: %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// What alarms cannot be (EC2-CW-18).
func TestAlarmsRefused(t *testing.T) {
	b := newBed(t)
	good := map[string]any{
		"AlarmName": "a", "Namespace": "AWS/EC2", "MetricName": "MetadataNoToken", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1,
		"Threshold": 0, "ComparisonOperator": "GreaterThanThreshold", "Tags": []any{map[string]any{"Key": "team", "Value": "ops"}},
	}
	put := func(change map[string]any) (int, map[string]any) {
		all := map[string]any{}
		for _, m := range []map[string]any{good, change} {
			for k, v := range m {
				all[k] = v
			}
		}
		text, _ := json.Marshal(all)
		return b.json("PutMetricAlarm", string(text))
	}
	for _, tt := range []struct {
		change map[string]any
		code   string
	}{
		{map[string]any{"AlarmName": nil}, "MissingRequiredParameterException"},
		{map[string]any{"Threshold": nil}, "MissingRequiredParameterException"},
		{map[string]any{"Period": 90}, "InvalidParameterValueException"},
		{map[string]any{"Period": 3600, "EvaluationPeriods": 169}, "ValidationException"},
		{map[string]any{"EvaluationPeriods": 1441}, "ValidationException"},
		{map[string]any{"EvaluationPeriods": 0}, "InvalidParameterValueException"},
		{map[string]any{"DatapointsToAlarm": 2}, "InvalidParameterValueException"},
		{map[string]any{"ExtendedStatistic": "p90"}, "InvalidParameterCombinationException"},
		{map[string]any{"Statistic": nil}, "InvalidParameterCombinationException"},
		{map[string]any{"ComparisonOperator": "GreaterThanUpperThreshold"}, "InvalidParameterValueException"},
		{map[string]any{"TreatMissingData": "no"}, "InvalidParameterValueException"},
		{map[string]any{"AlarmActions": []any{"http://user:pass@x/"}}, "InvalidParameterValueException"},
		{map[string]any{"Metrics": []any{map[string]any{"Id": "m1"}}}, "InvalidParameterCombinationException"},
	} {
		if status, out := put(tt.change); status != 400 || out["code"] != tt.code {
			t.Errorf("%v: %d %v", tt.change, status, out)
		}
	}
	if status, out := put(nil); status != 200 {
		t.Fatal(out)
	}
	const arn = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:a"
	if _, out := b.json("ListTagsForResource", `{"ResourceARN":"`+arn+`"}`); fmt.Sprint(out["Tags"]) != "[map[Key:team Value:ops]]" {
		t.Errorf("tags: %v", out)
	}
	if _, out := b.json("DescribeAlarmsForMetric", `{"Namespace":"AWS/EC2","MetricName":"MetadataNoToken"}`); len(out["MetricAlarms"].([]any)) != 1 {
		t.Errorf("by metric: %v", out)
	}
	for i := range 3 {
		put(map[string]any{"AlarmName": fmt.Sprint("b", i)})
	}
	_, out := b.json("DescribeAlarms", `{"MaxRecords":2,"AlarmNamePrefix":"b"}`)
	_, rest := b.json("DescribeAlarms", `{"MaxRecords":2,"AlarmNamePrefix":"b","NextToken":"`+fmt.Sprint(out["NextToken"])+`"}`)
	if len(out["MetricAlarms"].([]any)) != 2 || len(rest["MetricAlarms"].([]any)) != 1 || rest["NextToken"] != nil {
		t.Errorf("pages: %v, %v", out, rest)
	}
	// EC2-CW-19: the history of those that there are.
	if _, out := b.json("DescribeAlarmHistory", `{"MaxRecords":3}`); len(out["AlarmHistoryItems"].([]any)) != 3 || out["NextToken"] == nil {
		t.Errorf("history: %v", out)
	}
}

// What an instance did can be read when it is gone, by who had it and nobody
// else, and is listed for two weeks (EC2-CW-10, EC2-CW-12).
func TestGone(t *testing.T) {
	b := newBed(t)
	b.did(mine, time.Hour, free(2))
	b.did(second, 14*24*time.Hour+time.Hour, free(3))
	b.did(foreign, time.Hour, free(5))
	b.end(mine, second, foreign)
	b.did("i-0123456789abcdef9", time.Hour, free(7)) // nobody knows whose it was
	_, out := b.json("ListMetrics", `{}`)
	if s := fmt.Sprint(out["Metrics"]); strings.Count(s, "MetricName") != 1 || !strings.Contains(s, mine) {
		t.Errorf("the metrics are %s", s)
	}
	for id, want := range map[string]float64{mine: 2, second: 3, foreign: 0, "i-0123456789abcdef9": 0} {
		_, out := b.json("GetMetricStatistics", `{"Namespace":"AWS/EC2","MetricName":"MetadataNoToken","Dimensions":[{"Name":"InstanceId","Value":"`+id+`"}],
			"StartTime":1771000000,"EndTime":1773482400,"Period":3600,"Statistics":["Sum"]}`)
		var sum float64
		for _, d := range out["Datapoints"].([]any) {
			sum += d.(map[string]any)["Sum"].(float64)
		}
		if sum != want {
			t.Errorf("%s: %v, want %v", id, sum, want)
		}
	}
	_, out = b.json("GetMetricData", `{"StartTime":1773396000,"EndTime":1773482400,"MetricDataQueries":[
		{"Id":"one","MetricStat":{"Metric":{"Namespace":"AWS/EC2","MetricName":"MetadataNoToken","Dimensions":[{"Name":"InstanceId","Value":"`+mine+`"}]},"Period":86400,"Stat":"Sum"}},
		{"Id":"other","MetricStat":{"Metric":{"Namespace":"AWS/EC2","MetricName":"MetadataNoToken","Dimensions":[{"Name":"InstanceId","Value":"`+foreign+`"}]},"Period":86400,"Stat":"Sum"}},
		{"Id":"all","Expression":"SUM(SEARCH('{AWS/EC2,InstanceId}', 'Sum', 86400))"}]}`)
	var got []string
	for _, r := range out["MetricDataResults"].([]any) {
		m := r.(map[string]any)
		got = append(got, fmt.Sprint(m["Id"], m["Values"]))
	}
	if s := strings.Join(got, " "); s != "one[2] other[] all[2]" {
		t.Error(s)
	}
}
