package readiness_test

import (
	"testing"
	"time"

	"openimds/internal/readiness"
)

// Whoever would be ready is not while something could not be read; whoever is
// known not to be is still called so.
func TestUnread(t *testing.T) {
	now := time.Date(2026, 3, 15, 0, 0, 0, 0, time.UTC)
	e := readiness.Evidence{
		Instance: "i-1", Dialect: "ec2", Platform: "linux", Now: now, Window: 24 * time.Hour, Started: now.Add(-72 * time.Hour), Observed: now.Add(-72 * time.Hour),
		Image: readiness.Image{ID: "ami-1", Known: true, Supports: true}, Recent: readiness.Counts{Tokened: 3, Minted: 1},
	}
	for _, tc := range []struct {
		unread string
		free   uint64
		want   readiness.Verdict
	}{
		{"", 0, readiness.Ready}, {"it is away", 0, readiness.Unknown}, {"it is away", 1, readiness.NotReady},
	} {
		e.Unread, e.Recent.TokenFree = tc.unread, tc.free
		r := readiness.Judge(e, readiness.Rules{})
		said := false
		for _, reason := range r.Reasons {
			said = said || reason.Code == readiness.CodeUnread && reason.Text == "what it did before is not known: it is away"
		}
		if r.Verdict != tc.want || said != (tc.unread != "") {
			t.Errorf("%q, %d: %s, %+v", tc.unread, tc.free, r.Verdict, r.Reasons)
		}
	}
}
