package trace

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Metric describes one metric for the reference page.
type Metric struct {
	Name, Type, Help string
	Labels           []string
}

// Metrics of the tracer. No label has a process or a path in it: there are as
// many series as modes and watched addresses.
var (
	metricInfo = Metric{"imds_tracer_engine_info", "gauge",
		"Always 1; the label says which engine observes.", []string{"engine"}}
	metricRequests = Metric{"imds_tracer_requests_total", "counter",
		"Requests seen, by mode (IMDSv1, IMDSv2, token-request, attempt, unreadable), address and dialect.", []string{"mode", "dst", "cloud"}}
	metricProcesses = Metric{"imds_tracer_token_free_processes", "gauge",
		"Processes that made a request without a token since the tracer began, up to 4096.", nil}
	metricLast = Metric{"imds_tracer_last_token_free_timestamp_seconds", "gauge",
		"When the last request without a token was seen, in Unix time; 0: none was.", nil}
	metricRecords = Metric{"imds_tracer_records_total", "counter",
		"Records that the engine handed over.", nil}
	metricLost = Metric{"imds_tracer_lost_total", "counter",
		"What could not be told, by where it was lost: connect, request, answer (no room in the kernel's buffer), cut (more than is copied of a segment), connection (forgotten for want of room), sink (not written), report (no room in the spool, or refused).", []string{"where"}}
	metricUnnamed = Metric{"imds_tracer_unnamed_requests_total", "counter",
		"Requests whose process is not known.", nil}
	metricUnplaced = Metric{"imds_tracer_unplaced_requests_total", "counter",
		"Requests that --netns left out because their network namespace is not known.", nil}
	metricTruncated = Metric{"imds_tracer_truncated_requests_total", "counter",
		"Requests of which a part was not seen.", nil}
	metricSuppressed = Metric{"imds_tracer_summed_findings_total", "counter",
		"Findings that were told only in the sum of a minute.", nil}
	metricConns = Metric{"imds_tracer_connections", "gauge",
		"Connections that are remembered.", nil}
	metricReported = Metric{"imds_tracer_reported_total", "counter",
		"Findings that the control plane took.", nil}
)

// Metrics returns all metrics in the order of the reference page.
func Metrics() []Metric {
	return []Metric{metricInfo, metricRequests, metricProcesses, metricLast, metricRecords, metricLost,
		metricUnnamed, metricUnplaced, metricTruncated, metricSuppressed, metricConns, metricReported}
}

// Numbers are the values of the metrics at one moment.
type Numbers struct {
	Engine string
	Snapshot
	// Reported and ReportLost are those of the report, if there is one.
	Reported, ReportLost uint64
}

// Append appends the metrics in the text format of Prometheus.
func (n *Numbers) Append(b []byte) []byte {
	m := exposition{b}
	m.one(metricInfo, 1, n.Engine)
	m.head(metricRequests)
	keys := make([]RequestKey, 0, len(n.Requests))
	for k := range n.Requests {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b RequestKey) int {
		return cmp.Or(cmp.Compare(a.Mode, b.Mode), cmp.Compare(a.Dst, b.Dst), cmp.Compare(a.Cloud, b.Cloud))
	})
	for _, k := range keys {
		m.value(metricRequests, n.Requests[k], string(k.Mode), k.Dst, k.Cloud)
	}
	m.one(metricProcesses, uint64(n.Processes))
	last := uint64(0)
	if !n.LastTokenFree.IsZero() {
		last = uint64(n.LastTokenFree.Unix())
	}
	m.one(metricLast, last)
	m.one(metricRecords, n.Records)
	m.head(metricLost)
	m.value(metricLost, n.Snapshot.Engine.LostConnects, "connect")
	m.value(metricLost, n.Snapshot.Engine.LostRequests, "request")
	m.value(metricLost, n.Snapshot.Engine.LostAnswers, "answer")
	m.value(metricLost, n.Snapshot.Engine.Cut, "cut")
	m.value(metricLost, n.Evicted, "connection")
	m.value(metricLost, n.SinkErrors, "sink")
	m.value(metricLost, n.ReportLost, "report")
	m.one(metricUnnamed, n.Unnamed)
	m.one(metricUnplaced, n.Unplaced)
	m.one(metricTruncated, n.Truncated)
	m.one(metricSuppressed, n.Suppressed)
	m.one(metricConns, n.Connections)
	m.one(metricReported, n.Reported)
	return m.b
}

// exposition is text in the making.
type exposition struct{ b []byte }

func (m *exposition) one(of Metric, v uint64, labels ...string) {
	m.head(of)
	m.value(of, v, labels...)
}

func (m *exposition) head(of Metric) {
	m.b = fmt.Appendf(m.b, "# HELP %s %s\n# TYPE %s %s\n", of.Name, of.Help, of.Name, of.Type)
}

func (m *exposition) value(of Metric, v uint64, labels ...string) {
	m.b = append(m.b, of.Name...)
	for i, name := range of.Labels {
		open := ","
		if i == 0 {
			open = "{"
		}
		m.b = fmt.Appendf(m.b, `%s%s="%s"`, open, name, labelValue.Replace(labels[i]))
	}
	if len(of.Labels) > 0 {
		m.b = append(m.b, '}')
	}
	m.b = fmt.Appendf(m.b, " %d\n", v)
}

var labelValue = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
