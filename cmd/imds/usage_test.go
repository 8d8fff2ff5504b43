package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"openimds/internal/admin"
)

// asks gets JSON from the admin API.
func asks[T any](t *testing.T, p *program, token, path string) T {
	t.Helper()
	var out T
	headers := []string{}
	if token != "" {
		headers = []string{"Authorization", "Bearer " + token}
	}
	status, body := get(t, "127.0.0.1", "GET", "http://"+p.addr["control"]+path, headers...)
	if err := json.Unmarshal([]byte(body), &out); status != http.StatusOK || err != nil {
		t.Fatalf("%s: %d, %v, %.300s", path, status, err, body)
	}
	return out
}

// sum adds up the points of a series.
func sum(s admin.UsageSeries) (c admin.UsageCounts) {
	for _, p := range s.Points {
		c.TokenFree += p.TokenFree
		c.Rejected += p.Rejected
		c.Tokened += p.Tokened
		c.BadToken += p.BadToken
		c.Minted += p.Minted
	}
	return c
}

// A load of known size is counted exactly, whoever reads meanwhile, and over a
// restart.
func TestUsageIsExact(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	p := startDev(t, "--state", state)
	free, required := "i-0a1b2c3d4e5f60001", "i-0a1b2c3d4e5f60002"
	base := "http://" + p.addr["ec2"] + "/latest/"
	series := func(id string) admin.UsageSeries {
		return asks[admin.UsageSeries](t, p, "", "/v1/usage/series?from=1h&instance="+id)
	}
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			_, token := get(t, "127.0.0.1", "PUT", base+"api/token", "X-aws-ec2-metadata-token-ttl-seconds", "600")
			for i := range 25 {
				get(t, "127.0.0.1", "GET", base+"meta-data/", "User-Agent", "old-agent")
				get(t, "127.0.0.1", "GET", base+"meta-data/none-such")
				get(t, "127.0.0.1", "GET", base+"meta-data/", "X-aws-ec2-metadata-token", token)
				get(t, "127.0.0.1", "GET", base+"meta-data/", "X-aws-ec2-metadata-token", "wrong")
				get(t, "127.0.0.2", "GET", base+"meta-data/ami-id", "User-Agent", "older-agent")
				if i%10 == 0 {
					series(free)
				}
			}
		})
	}
	load.Wait()
	check := func(when string) {
		t.Helper()
		if got, want := sum(series(free)), (admin.UsageCounts{TokenFree: 200, Tokened: 100, BadToken: 100, Minted: 4}); got != want {
			t.Errorf("%s: %+v, want %+v", when, got, want)
		}
		if got, want := sum(series(required)), (admin.UsageCounts{Rejected: 100}); got != want {
			t.Errorf("%s: %+v, want %+v", when, got, want)
		}
		if gaps := series(free).Gaps; len(gaps) != 0 {
			t.Errorf("%s: gaps %v", when, gaps)
		}
		callers := asks[admin.UsageCallers](t, p, "", "/v1/usage/callers?instance="+required).Callers
		if len(callers) != 1 || callers[0].Agent != "older-agent" || callers[0].Item != "meta-data/ami-id" || callers[0].Count != 100 || callers[0].Access != "rejected" {
			t.Errorf("%s: callers %+v", when, callers)
		}
	}
	check("after the load")
	get(t, "127.0.0.1", "GET", base+"meta-data/none-such") // not read before the end
	p.end()
	p = startDev(t, "--state", state)
	if got := sum(series(free)); got.TokenFree != 201 {
		t.Errorf("after a restart: %+v", got)
	}
	if gaps := series(free).Gaps; len(gaps) != 0 {
		t.Errorf("after a restart in order: gaps %v", gaps)
	}
	p.end()
}

// Without a state folder, usage is kept while the program runs, and nothing is
// left of it.
func TestUsageLeavesNothing(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	p := startDev(t)
	asks[admin.UsageSeries](t, p, "", "/v1/usage/series?instance=i-0a1b2c3d4e5f60001&from=14d&step=1h")
	p.end()
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestUsageMistakes(t *testing.T) {
	p := startDev(t)
	for path, want := range map[string]string{
		"/v1/usage/series":                                                        "instance: is required",
		"/v1/usage/series?instance=i-none":                                        "there is no instance",
		"/v1/usage/series?instance=i-0a1b2c3d4e5f60001&step=90s":                  "multiple of 1m0s",
		"/v1/usage/series?instance=i-0a1b2c3d4e5f60001&from=30d&step=1m":          "multiple of 5m0s",
		"/v1/usage/series?instance=i-0a1b2c3d4e5f60001&from=1h&to=2h":             "ends before",
		"/v1/usage/series?instance=i-0a1b2c3d4e5f60001&from=2000-01-01T00:00:00Z": "more than 50000 steps",
		"/v1/usage/series?instance=i-0a1b2c3d4e5f60001&from=soon":                 "expected a time",
	} {
		if status, body := get(t, "127.0.0.1", "GET", "http://"+p.addr["control"]+path); status/100 != 4 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want %q", path, status, body, want)
		}
	}
}

// killed ends a process at once, as a failing machine does.
func killed(t *testing.T, p *process) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	<-p.done
}

// After kill -9, what was reported is there, and a gap says of which time the
// rest is missing.
func TestUsageAfterKill(t *testing.T) {
	h := newHost(t)
	h.seed(t)
	path := filepath.Join(h.dir, "instances.yaml")
	writeFile(t, path, oneInstance)
	writeFile(t, h.config, h.sampleSettings(t)+"\ninstances: instances.yaml\n")
	p := h.start(t)
	token, err := os.ReadFile(filepath.Join(h.state(), "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	const id = "i-0123456789abcdef0"
	series := func() admin.UsageSeries {
		return asks[admin.UsageSeries](t, p.program, strings.TrimSpace(string(token)), "/v1/usage/series?instance="+id)
	}
	load := func(n int) {
		for range n {
			get(t, "127.0.0.1", "GET", "http://"+p.addr["ec2"]+"/latest/meta-data/")
		}
	}
	load(7)
	if got := sum(series()); got.TokenFree != 7 {
		t.Fatalf("%+v", got)
	}
	reported := time.Now()
	load(5)
	killed(t, p)
	p = h.start(t)
	load(1)
	got := series()
	if n := sum(got).TokenFree; n < 8 || n > 13 {
		t.Errorf("%d requests are known, of which 8 were reported or came after", n)
	}
	if len(got.Gaps) != 1 || got.Gaps[0].From.After(time.Now()) || got.Gaps[0].To.Before(reported) || got.Gaps[0].To.Sub(got.Gaps[0].From) > 2*time.Minute {
		t.Errorf("gaps: %+v", got.Gaps)
	}
	waitFor(t, "the gap was said", func() bool { return strings.Contains(p.err.String(), "not stopped in order") })
	if code := p.signal(t, syscall.SIGTERM); code != 0 {
		t.Error(fmt.Sprint("exit code ", code))
	}
}
