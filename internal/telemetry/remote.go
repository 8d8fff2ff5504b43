package telemetry

import "time"

// RemoteUsage is how usage gets to the place that it is handed on to.
type RemoteUsage struct {
	Lag                   time.Duration
	Sent, Dropped, Failed uint64
	// Answered and Unanswered are questions about the past.
	Answered, Unanswered uint64
}

// Remote is the source of how usage gets to another place.
func Remote(status func() RemoteUsage) Source {
	return Source{remoteMetrics(), func(emit Emit) {
		s := status()
		emit(UsageLag, s.Lag.Seconds())
		emit(UsageSent, float64(s.Sent))
		emit(UsageDropped, float64(s.Dropped))
		emit(UsageFailed, float64(s.Failed))
		emit(UsageQueries, float64(s.Answered), "answered")
		emit(UsageQueries, float64(s.Unanswered), "failed")
	}}
}
