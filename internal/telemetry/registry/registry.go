// Package registry puts the sources of metrics into a registry of Prometheus's
// library, for programs that link it anyway.
package registry

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"openimds/internal/telemetry"
)

// New returns a registry of its own with the metrics of sources, of the Go
// runtime and of the process.
func New(sources ...telemetry.Source) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, s := range sources {
		r.MustRegister(newCollector(s))
	}
	return r
}

// collector is a source as the library wants it.
type collector struct {
	telemetry.Source
	descs map[string]*prometheus.Desc
}

func newCollector(s telemetry.Source) collector {
	c := collector{s, map[string]*prometheus.Desc{}}
	for _, m := range s.Metrics {
		c.descs[m.Name] = prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
	}
	return c
}

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	c.Source.Collect(func(m telemetry.Metric, value float64, labels ...string) {
		kind := prometheus.CounterValue
		if m.Type == "gauge" {
			kind = prometheus.GaugeValue
		}
		ch <- prometheus.MustNewConstMetric(c.descs[m.Name], kind, value, labels...)
	})
}
