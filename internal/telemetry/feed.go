package telemetry

import "time"

// FeedStatus is how a node stands to its control plane.
type FeedStatus struct {
	Connected      bool
	Contact        time.Time
	Revision       uint64
	Unsaved        bool
	HeldBack       int
	CertificateEnd time.Time
}

// Feed is the source of how a node stands to its control plane.
func Feed(status func() FeedStatus) Source {
	return Source{feedMetrics(), func(emit Emit) {
		s := status()
		emit(FeedConnected, flag(s.Connected))
		emit(FeedContact, seconds(s.Contact))
		emit(FeedRevision, float64(s.Revision))
		emit(FeedUnsaved, flag(s.Unsaved))
		emit(FeedHeldBack, float64(s.HeldBack))
		emit(FeedCertificateEnd, seconds(s.CertificateEnd))
	}}
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// seconds is a time in Unix seconds, 0 for none.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
