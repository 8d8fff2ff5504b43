// Package telemetry is how the process shows itself: the names of all metrics,
// in one file, and the set-up of the log.
package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"openimds/internal/node"
	"openimds/internal/usage"
)

// Metric describes one metric for the reference page.
type Metric struct {
	Name, Type, Help string
	Labels           []string
}

// Metrics of the data plane. Labels are bounded: an item is the template of a
// path, never the path that was asked for.
var (
	Requests = Metric{"openimds_requests_total", "counter",
		"Requests answered, by dialect, item template, access mode (none, token_free, tokened) and outcome.",
		[]string{"dialect", "item", "access", "outcome"}}
	UnknownCallers = Metric{"openimds_unknown_callers_total", "counter",
		"Requests refused because no running instance has the caller's address.", nil}
	Connections = Metric{"openimds_connections", "gauge",
		"Connections that are open.", nil}
	ConnectionsAccepted = Metric{"openimds_connections_accepted_total", "counter",
		"Connections accepted.", nil}
	ConnectionsRefused = Metric{"openimds_connections_refused_total", "counter",
		"Connections closed unanswered, because too many were open in total or for one instance.", []string{"reason"}}
	Instances = Metric{"openimds_instances", "gauge",
		"Instances that are served.", nil}
)

// All returns the metrics of this package in the order of the reference page.
func All() []Metric {
	return []Metric{Requests, UnknownCallers, Connections, ConnectionsAccepted, ConnectionsRefused, Instances}
}

// NewRegistry returns a registry of its own with the metrics of n, of the Go
// runtime and of the process.
func NewRegistry(n *node.Node) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newDataPlane(n))
	return r
}

// dataPlane reads a node's counters when it is asked, so that counting itself
// stays an atomic addition.
type dataPlane struct {
	node  *node.Node
	descs map[string]*prometheus.Desc
}

func newDataPlane(n *node.Node) *dataPlane {
	d := &dataPlane{n, map[string]*prometheus.Desc{}}
	for _, m := range All() {
		d.descs[m.Name] = prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
	}
	return d
}

// Describe implements prometheus.Collector.
func (d *dataPlane) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range d.descs {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (d *dataPlane) Collect(ch chan<- prometheus.Metric) {
	send := func(m Metric, value float64, labels ...string) {
		kind := prometheus.CounterValue
		if m.Type == "gauge" {
			kind = prometheus.GaugeValue
		}
		ch <- prometheus.MustNewConstMetric(d.descs[m.Name], kind, value, labels...)
	}
	d.node.Totals(func(t usage.Total) {
		send(Requests, float64(t.Count), t.Dialect, t.Item, t.Access.String(), t.Outcome.String())
	})
	s := d.node.Stats()
	send(UnknownCallers, float64(s.Strangers))
	send(Connections, float64(s.Open))
	send(ConnectionsAccepted, float64(s.Accepted))
	send(ConnectionsRefused, float64(s.RefusedTotal), "total")
	send(ConnectionsRefused, float64(s.RefusedShare), "instance")
	send(Instances, float64(s.Instances))
}
