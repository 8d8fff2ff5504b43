package survey_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"openimds/internal/readiness"
	"openimds/internal/readiness/survey"
	"openimds/internal/testnet"
	"openimds/internal/usage/remote"
)

// A fleet whose usage is read from Prometheus is judged as it is from the
// embedded history: the same evidence, the same verdicts, the same words. While
// Prometheus is away nobody is ready, and why is said; who is known not to be
// ready is still called so.
func TestRemote(t *testing.T) {
	p := testnet.StartPrometheus(t)
	f := newFleet(t)
	now := func() time.Time { return f.now }
	var shipper *remote.Shipper
	f.hourly = func(at time.Duration) {
		if at < 34*day {
			return
		}
		var err error
		if shipper == nil {
			shipper, err = remote.NewShipper(remote.ShipperConfig{File: f.ledger.Kept(), Write: remote.Access{URL: p.URL + "/api/v1/write"}, Now: now})
		} else {
			_, err = shipper.Catch(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	f.run()
	f.now = judge.Add(3 * time.Minute)
	if _, err := shipper.Catch(t.Context()); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range f.members {
		ids = append(ids, m.id)
	}
	s := survey.New(survey.Config{DB: f.db, Ledger: f.ledger, Now: now})
	judged := func(window time.Duration) []readiness.Result {
		t.Helper()
		results, err := s.Judge(t.Context(), survey.Ask{Instances: ids, Window: window})
		if err != nil || len(results) != fleetSize {
			t.Fatalf("%d results, %v", len(results), err)
		}
		return results
	}
	windows := []time.Duration{14 * day, 7 * day, 47 * time.Hour, 90 * time.Minute}
	var want [][]readiness.Result
	for _, w := range windows {
		want = append(want, judged(w))
	}
	past, err := remote.NewPast(remote.PastConfig{File: f.ledger.Kept(), Query: remote.Access{URL: p.URL}, Delivered: shipper.Delivered, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	f.ledger.ReadFrom(past)
	for i, w := range windows {
		for j, r := range judged(w) {
			if !reflect.DeepEqual(r, want[i][j]) {
				t.Fatalf("%s, %v:\n%+v, want\n%+v", ids[j], w, r, want[i][j])
			}
		}
	}
	if asked, failed := past.Queries(); asked == 0 || failed != 0 {
		t.Errorf("%d questions were answered, %d not", asked, failed)
	}

	p.Stop()
	verdicts := map[readiness.Verdict]int{}
	for j, r := range judged(14 * day) {
		verdicts[r.Verdict]++
		at := slices.IndexFunc(r.Reasons, func(r readiness.Reason) bool { return r.Code == readiness.CodeUnread })
		if r.Verdict == readiness.Ready || at < 0 || !strings.Contains(r.Reasons[at].Text, "usage could not be read from where it is kept: ask 127.0.0.1:") {
			t.Fatalf("%s: %s, %+v", ids[j], r.Verdict, r.Reasons)
		}
		if was := want[0][j].Verdict; was == readiness.NotReady && r.Verdict != was {
			t.Errorf("%s: %s, was %s", ids[j], r.Verdict, was)
		}
	}
	t.Logf("without Prometheus: %v", verdicts)
}
