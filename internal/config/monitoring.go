package config

import (
	"regexp"

	"openimds/internal/instance"
)

// Monitoring is how the clouds' monitoring APIs show usage.
type Monitoring struct {
	// CloudMonitor, of Alibaba Cloud.
	CloudMonitor CloudMonitor `json:"cloudMonitor,omitzero"`
}

// CloudMonitor is what its API calls the metrics of ECS instances. The vendor
// does not publish its names: whoever knows them sets them here (ECS-CMS-02).
// Rules that were put with other names stay, and find no data.
type CloudMonitor struct {
	// Namespace. Default: `openimds_ecs_metadata`.
	Namespace string `json:"namespace,omitempty"`
	// Names of metrics; no two alike.
	Metrics MetricNames `json:"metrics,omitzero"`
}

// MetricNames are letters, digits and `_` `.` `-`, at most 64.
type MetricNames struct {
	// Requests without a token that were answered. Default: `normal_success`.
	NormalSuccess string `json:"normalSuccess,omitempty"`
	// Requests without a token that were refused. Default: `normal_rejected`.
	NormalRejected string `json:"normalRejected,omitempty"`
	// Requests with a token that were answered. Default: `hardened_success`.
	HardenedSuccess string `json:"hardenedSuccess,omitempty"`
	// Requests whose token was not good. Default: `hardened_rejected`.
	HardenedRejected string `json:"hardenedRejected,omitempty"`
	// Session tokens given out. Default: `token_success`.
	TokenSuccess string `json:"tokenSuccess,omitempty"`
	// Requests over the instance's rate. Default: `throttled`.
	Throttled string `json:"throttled,omitempty"`
	// Token answers that never arrived. Default: `hop_limit_suspects`.
	HopLimitSuspects string `json:"hopLimitSuspects,omitempty"`
}

// Of returns the names that are set, by those of the default.
func (m MetricNames) Of() map[string]string {
	all := map[string]string{}
	for _, n := range m.all() {
		if n.name != "" {
			all[n.usual] = n.name
		}
	}
	return all
}

// metricName is one name: the key that sets it, the usual one, and what is set.
type metricName struct {
	key         instance.Path
	usual, name string
}

func (m MetricNames) all() []metricName {
	return []metricName{
		{"normalSuccess", "normal_success", m.NormalSuccess}, {"normalRejected", "normal_rejected", m.NormalRejected},
		{"hardenedSuccess", "hardened_success", m.HardenedSuccess}, {"hardenedRejected", "hardened_rejected", m.HardenedRejected},
		{"tokenSuccess", "token_success", m.TokenSuccess}, {"throttled", "throttled", m.Throttled}, {"hopLimitSuspects", "hop_limit_suspects", m.HopLimitSuspects},
	}
}

var monitoringName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

func (c *checker) monitoring(m Monitoring) {
	const at = instance.Path("monitoring.cloudMonitor")
	valid := func(at instance.Path, name string) {
		c.expect(name == "" || monitoringName.MatchString(name), at, "is %.80q: want letters, digits and _ . -, at most 64", name)
	}
	valid(at.Key("namespace"), m.CloudMonitor.Namespace)
	names := m.CloudMonitor.Metrics.all()
	taken := map[string]instance.Path{} // by whom
	for _, n := range names {
		if n.name == "" {
			taken[n.usual] = n.key
		}
	}
	for _, n := range names {
		if n.name == "" {
			continue
		}
		valid(at.Key("metrics").Key(string(n.key)), n.name)
		other, twice := taken[n.name]
		c.expect(!twice, at.Key("metrics").Key(string(n.key)), "is %.80q, which %s is called, too: want names of which no two are alike", n.name, other)
		taken[n.name] = n.key
	}
}
