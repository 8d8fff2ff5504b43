package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"openimds/internal/admin"
)

// get decodes an answer of the admin API.
func get[T any](b *bed, method, path string, in any) (out T) {
	b.t.Helper()
	if err := json.Unmarshal([]byte(b.call(method, path, in)), &out); err != nil {
		b.t.Fatal(err)
	}
	return out
}

// counted is what the control plane knows of the nth instance.
func (b *bed) counted(n int) (c admin.UsageCounts) {
	b.t.Helper()
	for _, p := range get[admin.UsageSeries](b, http.MethodGet, "/v1/usage/series?instance="+guestID(n), nil).Points {
		c.TokenFree += p.TokenFree
		c.Rejected += p.Rejected
		c.Tokened += p.Tokened
	}
	return c
}

// What nodes count reaches the control plane exactly, over a restart of both
// and a time in which the control plane is away.
func TestUsageOfNodes(t *testing.T) {
	b := newBed(t)
	b.put(1, "a", "m7g.large")
	b.put(2, "a", "m7g.large")
	a := b.node("a")
	b.serves(a, 2, "m7g.large")
	load := func(times int) {
		for range times {
			if got := b.item(a, 1, "meta-data/"); got.status != http.StatusOK {
				t.Fatalf("%v", got)
			}
		}
	}
	load(7)
	if code := a.signal(t, syscall.SIGTERM); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if got := b.counted(1).TokenFree; got != 7 {
		t.Errorf("after the node has ended %d requests are known, want 7", got)
	}
	a = b.node("a")
	load(5)
	b.control.signal(t, syscall.SIGKILL)
	load(3)
	a.signal(t, syscall.SIGTERM) // its reports wait on the disk
	if left, err := os.ReadDir(b.path("a/usage")); err != nil || len(left) == 0 {
		t.Fatalf("no report waits: %v", err)
	}
	b.up()
	a = b.node("a")
	b.eventually("all was reported", func() bool { return b.counted(1).TokenFree == 15 })
	gaps := get[admin.UsageSeries](b, http.MethodGet, "/v1/usage/series?instance="+guestID(1), nil).Gaps
	if len(gaps) != 0 {
		t.Errorf("the node was never killed, and there are gaps: %+v", gaps)
	}
	_ = a
}

// An instance of a node is returned when its requests are refused; also when
// that was while the control plane was away.
func TestHardenOfNodes(t *testing.T) {
	b := newBed(t)
	for n := 1; n <= 3; n++ {
		b.put(n, "a", "m7g.large")
	}
	a := b.node("a")
	b.serves(a, 3, "m7g.large")
	var ids []string
	for n := 1; n <= 3; n++ {
		ids = append(ids, guestID(n))
	}
	id := get[admin.Hardening](b, http.MethodPost, "/v1/hardenings", admin.NewHardening{Target: admin.Target{Instances: ids}, Watch: "1h", Force: true}).ID
	status := func(n, want int) func() bool {
		return func() bool { return b.item(a, n, "meta-data/ami-id", "User-Agent", "backup/2").status == want }
	}
	state := func(n int) admin.HardenedInstance {
		for _, in := range get[admin.Hardening](b, http.MethodGet, "/v1/hardenings/"+id, nil).Instances {
			if in.Instance == guestID(n) {
				return in
			}
		}
		return admin.HardenedInstance{}
	}
	token := b.mint(a, 1)
	b.eventually("it was switched", status(1, http.StatusUnauthorized))
	b.eventually("it was returned", status(1, http.StatusOK))
	if in := state(1); in.State != "returned" || in.Rejected == 0 || in.Callers[0].Agent != "backup/2" || in.Callers[0].Item != "meta-data/ami-id" {
		t.Errorf("%+v", in)
	}
	b.control.signal(t, syscall.SIGKILL)
	if !status(2, http.StatusUnauthorized)() {
		t.Fatal("without a control plane the node does not serve what it knows")
	}
	b.up()
	b.eventually("what was refused meanwhile counts", status(2, http.StatusOK))
	if in := state(2); in.State != "returned" || !strings.HasPrefix(in.Callers[0].Agent, "backup/") {
		t.Errorf("%+v", in)
	}
	if in := state(3); in.State != "watched" {
		t.Errorf("another instance: %+v", in)
	}
	if got := b.item(a, 1, "meta-data/ami-id", tokenHeader, token); got.status != http.StatusOK {
		t.Errorf("with a token: %v", got)
	}
}
