package remote_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"openimds/internal/usage/history"
	"openimds/internal/usage/remote"
	"openimds/internal/usage/series"
)

// counting takes everything, and counts it.
type counting struct{ requests, bytes int64 }

// RoundTrip takes a request.
func (c *counting) RoundTrip(q *http.Request) (*http.Response, error) {
	n, err := io.Copy(io.Discard, q.Body)
	c.requests, c.bytes = c.requests+1, c.bytes+n
	return &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{}, Body: http.NoBody, Request: q}, err
}

// A minute of 10,000 instances, a tenth of which do something in it, is frozen
// and sent.
func BenchmarkMinute(b *testing.B) {
	const instances = 10_000
	clock := &clock{t: start}
	f, err := history.Open(history.Config{Path: filepath.Join(b.TempDir(), "usage"), Now: clock.now, Together: time.Nanosecond})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	c := &counting{}
	s, err := remote.NewShipper(remote.ShipperConfig{File: f, Write: remote.Access{URL: "http://127.0.0.1/", Transport: c}, Now: clock.now})
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		b.StopTimer()
		n++
		r := series.Report{Node: "n", Boot: "b", Sequence: uint64(n)}
		for i := range instances / 10 {
			r.Samples = append(r.Samples, sampleOf(fmt.Sprintf("i-%017x", (i*7+n*1013)%instances), clock.now(), uint64(i%2), 3))
		}
		if err := f.Record(context.Background(), r); err != nil {
			b.Fatal(err)
		}
		clock.add(time.Minute)
		b.StartTimer()
		if _, err := s.Catch(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(c.bytes)/float64(n), "wire-B/minute")
	b.ReportMetric(float64(c.requests)/float64(n), "requests/minute")
	b.ReportMetric(float64(s.Stats().Sent)/float64(n), "samples/minute")
}
