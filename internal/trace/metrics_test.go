package trace

import (
	"strings"
	"testing"

	"openimds/internal/trace/engine"
	"openimds/internal/trace/finding"
)

func TestMetrics(t *testing.T) {
	var s Stats
	s.init()
	for range 3 {
		f := request(1, finding.TokenFree, "/a")
		f.Cloud = "ec2"
		s.count(&f)
	}
	n := Numbers{Engine: "cgrich", Snapshot: s.Snapshot(engine.Counts{LostRequests: 7}), Reported: 2}
	text := string(n.Append(nil))
	for _, want := range []string{
		`imds_tracer_engine_info{engine="cgrich"} 1`,
		`imds_tracer_requests_total{mode="IMDSv1",dst="169.254.169.254:80",cloud="ec2"} 3`,
		"imds_tracer_token_free_processes 1", `imds_tracer_lost_total{where="request"} 7`, "imds_tracer_reported_total 2",
		"imds_tracer_last_token_free_timestamp_seconds 1795307729",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, m := range Metrics() {
		if strings.Count(text, "# TYPE "+m.Name+" "+m.Type+"\n") != 1 || m.Type == "counter" != strings.HasSuffix(m.Name, "_total") {
			t.Errorf("%s is not told once, or has another type than its name says", m.Name)
		}
	}
}
