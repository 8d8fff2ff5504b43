// Package telemetry is how the process shows itself: the names of all metrics,
// in one file, where their values come from, and the set-up of the log. A
// Source goes into a registry of Prometheus's library (package registry), or is
// written out as text here, without one.
package telemetry

import (
	"openimds/internal/creds"
	"openimds/internal/node"
	"openimds/internal/usage"
)

// Emit takes one value. Labels are in the order of the metric's.
type Emit func(m Metric, value float64, labels ...string)

// Source is where the values of some metrics come from. They are read when
// somebody asks, so that counting itself stays an atomic addition.
type Source struct {
	// Metrics are all that Collect may emit, in order.
	Metrics []Metric
	// Collect emits what there is, each combination of labels at most once. It
	// may be called by several goroutines at once.
	Collect func(Emit)
}

// DataPlane is the source of a node's counters.
func DataPlane(n *node.Node) Source {
	return Source{dataPlaneMetrics(), func(emit Emit) {
		n.Totals(func(t usage.Total) {
			emit(Requests, float64(t.Count), t.Dialect, t.Item, t.Access.String(), t.Outcome.String())
		})
		s := n.Stats()
		emit(UnknownCallers, float64(s.Strangers))
		emit(SpoofedCallers, float64(s.Spoofed))
		emit(ForwardersRefused, float64(s.ForwardersRefused))
		emit(HopLimitSuspects, float64(s.HopLimitSuspects))
		emit(Connections, float64(s.Open))
		emit(ConnectionsAccepted, float64(s.Accepted))
		emit(ConnectionsRefused, float64(s.RefusedTotal), "total")
		emit(ConnectionsRefused, float64(s.RefusedShare), "instance")
		emit(Instances, float64(s.Instances))
	}}
}

// Credentials is the source of what a broker of role credentials does.
func Credentials(b *creds.Broker) Source {
	return Source{credentialMetrics(), func(emit Emit) {
		s := b.Stats()
		emit(CredentialsMade, float64(s.Made))
		emit(CredentialsNotMade, float64(s.Refused), "refused")
		emit(CredentialsNotMade, float64(s.Failed), "failed")
		emit(CredentialsHeld, float64(s.Held))
		emit(CredentialsEnding, float64(s.Ending))
		emit(CredentialsEnded, float64(s.Ended))
	}}
}
