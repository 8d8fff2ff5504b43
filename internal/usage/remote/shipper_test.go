package remote_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"openimds/internal/testnet"
	"openimds/internal/usage/history"
	"openimds/internal/usage/remote"
	"openimds/internal/usage/series"
)

// ship is a shipper with the clock of a test.
type ship struct {
	file    *history.File
	shipper *remote.Shipper
	stop    context.CancelFunc
	done    chan struct{}
}

type fataler interface {
	Helper()
	Fatal(args ...any)
}

// sail opens a history and lets it be handed on, until it is ended.
func sail(t fataler, path string, r *receiver, log *slog.Logger, access remote.Access) *ship {
	t.Helper()
	f, err := history.Open(history.Config{Path: path, Together: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	access.URL, access.Transport = "https://prometheus.example/api/v1/write", r
	s, err := remote.NewShipper(remote.ShipperConfig{File: f, Write: access, Labels: map[string]string{"cluster": "a"}, Logger: log, Together: 5})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	v := &ship{f, s, stop, make(chan struct{})}
	go func() {
		defer close(v.done)
		s.Run(ctx)
	}()
	return v
}

func (v *ship) end(t fataler) {
	t.Helper()
	v.stop()
	<-v.done
	if err := v.file.Close(); err != nil {
		t.Fatal(err)
	}
}

func (v *ship) report(t fataler, node string, n uint64, samples ...series.Sample) {
	t.Helper()
	if err := v.file.Record(context.Background(), series.Report{Node: node, Boot: "b", Sequence: n, Samples: samples}); err != nil {
		t.Fatal(err)
	}
}

// A minute goes out as protocol 1.0 has it, once it has settled: first what the
// counters were, then what they are.
func TestRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver()
		v := sail(t, filepath.Join(t.TempDir(), "usage"), r, nil, remote.Access{})
		defer v.end(t)
		from := time.Now()
		v.report(t, "n", 1, sampleOf("i-1", from, 3, 0))
		time.Sleep(79 * time.Second)
		synctest.Wait()
		if len(r.requests()) != 0 {
			t.Fatalf("%d requests before the minute has settled", len(r.requests()))
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		h := r.requests()[0].Header
		for name, want := range map[string]string{
			"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0", "User-Agent": "openimds",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		at := from.UnixMilli()
		want := []value64{{at, 0}, {at + 60_000, 3}}
		if got := r.of(`__name__="openimds_instance_usage_total" cluster="a" instance_id="i-1" kind="token_free" writer="`); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("found %v, want %v", got, want)
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		// It is written on for a while, and no longer; that minutes are written is said for ever.
		if got := r.of("i-1"); len(got) != 2+remote.Idle {
			t.Errorf("%d samples", len(got))
		}
		if got := r.of("openimds_usage_minutes_total"); len(got) != 21 || got[20].value != 21 {
			t.Errorf("minutes %v", got)
		}
		if got := v.shipper.Stats(); got.Lag != 0 || got.Sent != 2+remote.Idle+21 || got.Failed+got.Dropped != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// Whatever may be taken later is tried again, as late as the place wants; what
// it says of it is in the log once, without secrets.
func TestTriesAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		answer answer
		after  time.Duration // at least
	}{
		"away":              {answer{broken: true}, 0},
		"500":               {answer{status: 500, text: "out of disk"}, 0},
		"503 and taken":     {answer{status: 503, taken: true}, 0},
		"broken and taken":  {answer{broken: true, taken: true}, 0},
		"429":               {answer{status: 429, header: http.Header{"Retry-After": {"90"}}}, 90 * time.Second},
		"503 until":         {answer{status: 503, header: http.Header{"Retry-After": {"Sat, 01 Jan 2000 00:10:00 GMT"}}}, 8*time.Minute + 40*time.Second},
		"429 for too long":  {answer{status: 429, header: http.Header{"Retry-After": {"99999999"}}}, 15 * time.Minute},
		"429, not a number": {answer{status: 429, header: http.Header{"Retry-After": {"soon"}}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				r := newReceiver()
				r.answers = []answer{tc.answer}
				v := sail(t, filepath.Join(t.TempDir(), "usage"), r, testnet.Logger(&log, nil), remote.Access{Headers: map[string]string{"X-Key": "s3cret"}})
				defer v.end(t)
				v.report(t, "n", 1, sampleOf("i-1", time.Now(), 3, 0))
				time.Sleep(80*time.Second + tc.after - time.Second)
				synctest.Wait()
				if got := v.shipper.Stats(); tc.after > 0 && (got.Sent != 0 || got.Failed != 1) {
					t.Errorf("too early: %+v", got)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := r.of("i-1"); len(got) < 2 || got[1].value != 3 {
					t.Errorf("found %v", got)
				}
				if len(r.refusals()) != 0 {
					t.Errorf("refused: %v", r.refusals())
				}
				if n := strings.Count(log.String(), "could not be handed on"); n != 1 || strings.Contains(log.String(), "s3cret") {
					t.Errorf("the log has it %d times:\n%s", n, &log)
				}
			})
		})
	}
}

// A place that is away for hours is asked less and less often, and told of how
// much waits; then all of it arrives, in order.
func TestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver()
		for range 100_000 {
			r.answers = append(r.answers, answer{broken: true})
		}
		v := sail(t, filepath.Join(t.TempDir(), "usage"), r, nil, remote.Access{})
		defer v.end(t)
		for i := range uint64(180) {
			v.report(t, "n", i+1, sampleOf("i-1", time.Now(), 1, 0))
			time.Sleep(time.Minute)
		}
		if got := v.shipper.Stats(); got.Lag.Truncate(time.Second) != 180*time.Minute-80*time.Second || got.Failed < 180 || got.Failed > 400 {
			t.Errorf("%+v", got)
		}
		r.mu.Lock()
		r.answers = nil
		r.mu.Unlock()
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		got := r.of("i-1")
		if len(got) < 181 {
			t.Fatalf("%d samples", len(got))
		}
		for i := range 181 {
			if got[i].value != float64(i) {
				t.Fatalf("minute %d has %v", i, got[i])
			}
		}
		if len(r.refusals()) != 0 || v.shipper.Stats().Lag != 0 {
			t.Errorf("refused %v, %+v", r.refusals(), v.shipper.Stats())
		}
	})
}

// What is refused for good is counted, said, and not tried again; the file
// remembers which minute it was, and the counters go on.
func TestRefused(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 409, 413, 301} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			r := newReceiver()
			r.answers = []answer{{status: status, text: "no\nsuch <thing>"}}
			v := sail(t, filepath.Join(t.TempDir(), "usage"), r, testnet.Logger(&log, nil), remote.Access{})
			defer v.end(t)
			v.report(t, "n", 1, sampleOf("i-1", time.Now(), 3, 0))
			time.Sleep(85 * time.Second)
			v.report(t, "n", 2, sampleOf("i-1", time.Now(), 4, 0))
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			if got := v.shipper.Stats(); got.Dropped != 1 || got.Failed != 0 {
				t.Errorf("%d: %+v", status, got)
			}
			if at, _, err := v.file.Shipping(); err != nil || len(at.Dropped) != 1 || at.Dropped[0] != (history.Minutes{First: at.Begin, Last: at.Begin}) {
				t.Errorf("%d: %+v, %v", status, at, err)
			}
			if got := r.of("i-1"); len(got) < 2 || got[len(got)-1].value != 7 || len(r.refusals()) != 0 {
				t.Errorf("%d: found %v, refused %v", status, got, r.refusals())
			}
			if !strings.Contains(log.String(), fmt.Sprintf("prometheus.example answered %d: no such <thing>", status)) {
				t.Errorf("the log says\n%s", &log)
			}
		})
	}
}

// deed is one thing that happens.
type deed struct {
	what    string
	id      string
	late    time.Duration
	count   uint64
	twice   bool
	pause   time.Duration
	answers []answer
}

func deeds(t *rapid.T) deed {
	return deed{
		what:  rapid.SampledFrom([]string{"report", "report", "time", "time", "trouble", "restart"}).Draw(t, "what"),
		id:    rapid.SampledFrom([]string{"i-1", "i-2", "i-3"}).Draw(t, "id"),
		late:  rapid.SampledFrom([]time.Duration{0, 0, 0, time.Minute, 2 * time.Minute, 30 * time.Minute}).Draw(t, "late"),
		count: rapid.Uint64Range(1, 9).Draw(t, "count"),
		twice: rapid.Bool().Draw(t, "twice"),
		pause: time.Duration(rapid.IntRange(1, 200).Draw(t, "seconds")) * time.Second,
		answers: rapid.SliceOfN(rapid.SampledFrom([]answer{
			{}, {broken: true}, {broken: true, taken: true}, {status: 500}, {status: 503, taken: true}, {status: 429, header: http.Header{"Retry-After": {"7"}}},
		}), 0, 4).Draw(t, "answers"),
	}
}

// panics makes an error of what cannot be.
type panics struct{}

func (panics) Helper()           {}
func (panics) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// live does deeds, lets what waits arrive, and tells what is wrong then.
func live(path string, all []deed) error {
	var t panics
	r := newReceiver()
	v := sail(t, path, r, nil, remote.Access{})
	defer func() { v.end(t) }()
	total := map[string]uint64{}
	for i, d := range all {
		switch d.what {
		case "report":
			v.report(t, "n", uint64(i+1), sampleOf(d.id, time.Now().Add(-d.late), d.count, 0))
			if d.twice {
				v.report(t, "n", uint64(i+1), sampleOf(d.id, time.Now().Add(-d.late), d.count, 0))
			}
			total[d.id] += d.count
		case "time":
			time.Sleep(d.pause)
		case "trouble":
			r.mu.Lock()
			r.answers = append(r.answers, d.answers...)
			r.mu.Unlock()
		case "restart":
			v.end(t)
			v = sail(t, path, r, nil, remote.Access{})
		}
	}
	r.mu.Lock()
	r.answers = nil
	r.mu.Unlock()
	time.Sleep(20 * time.Minute)
	synctest.Wait()
	for id, want := range total {
		if got := r.of(id, `kind="token_free"`); len(got) == 0 || got[0].value != 0 || got[len(got)-1].value != float64(want) {
			return fmt.Errorf("%s: %v, want 0 to %d", id, got, want)
		}
	}
	if len(r.refusals()) != 0 || r.most() > 5 {
		return fmt.Errorf("refused: %v, %d samples in a request", r.refusals(), r.most())
	}
	return nil
}

// The law: whatever the place answers, and whenever this side ends, the place
// never sees a sample that it has to refuse, and has in the end what was
// counted, once.
func TestExactly(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := rapid.SliceOfN(rapid.Custom(deeds), 0, 40).Draw(rt, "deeds")
		path := filepath.Join(t.TempDir(), "usage")
		var err error
		synctest.Test(t, func(*testing.T) { err = live(path, all) })
		if err != nil {
			rt.Fatal(err)
		}
	})
}
