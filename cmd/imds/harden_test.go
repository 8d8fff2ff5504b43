package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"openimds/internal/admin"
	"openimds/internal/instance"
)

// operatorClient talks to the admin API of a running program.
type operatorClient struct{ base, token string }

func operatorOf(t *testing.T, p *program, state string) operatorClient {
	t.Helper()
	o := operatorClient{base: "http://" + p.addr["control"] + "/v1/"}
	if state != "" {
		token, err := os.ReadFile(filepath.Join(state, "admin-token"))
		if err != nil {
			t.Fatal(err)
		}
		o.token = strings.TrimSpace(string(token))
	}
	return o
}

// do sends a request, and decodes the answer into out.
func (o operatorClient) do(ctx context.Context, out any, method, path string, body any) (int, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, method, o.base+path, bytes.NewReader(data))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+o.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode/100 != 2 {
		return res.StatusCode, fmt.Errorf("%s %s: %d, %s %w", method, path, res.StatusCode, answer, err)
	}
	if out == nil {
		return res.StatusCode, nil
	}
	return res.StatusCode, json.Unmarshal(answer, out)
}

func (o operatorClient) must(t *testing.T, out any, method, path string, body any) {
	t.Helper()
	if _, err := o.do(t.Context(), out, method, path, body); err != nil {
		t.Fatal(err)
	}
}

func (o operatorClient) hardening(t *testing.T, id string) (h admin.Hardening) {
	t.Helper()
	o.must(t, &h, "GET", "hardenings/"+id, nil)
	return h
}

// tokens returns the access mode of an instance.
func (o operatorClient) tokens(t *testing.T, id string) string {
	t.Helper()
	var in admin.Instance
	o.must(t, &in, "GET", "instances/"+id, nil)
	return in.Metadata.HTTPTokens
}

// of returns an instance of a guarded switch.
func of(t *testing.T, h admin.Hardening, id string) admin.HardenedInstance {
	t.Helper()
	for _, in := range h.Instances {
		if in.Instance == id {
			return in
		}
	}
	t.Fatalf("%s is not in %s", id, h.ID)
	return admin.HardenedInstance{}
}

// manyInstances is an instances file with n instances, the first of which
// calls from 127.0.1.1.
func manyInstances(n int) string {
	text := "instances:\n"
	for i := 1; i <= n; i++ {
		text += strings.NewReplacer(
			"instances:\n", "", "i-0123456789abcdef0", manyID(i), "127.0.0.1", fmt.Sprintf("127.0.1.%d", i), "NAME", "m7g.large",
			"02:00:00:00:00:01", fmt.Sprintf("02:00:00:00:01:%02x", i), "10.0.0.1]", fmt.Sprintf("10.0.0.%d]", i), "eni-0123456789abcdef0", fmt.Sprintf("eni-%017x", i),
		).Replace(oneInstance)
	}
	return text
}

func manyID(i int) string { return fmt.Sprintf("i-%017x", i) }

// switchAll switches the instances of manyInstances, whatever is known of them.
func (o operatorClient) switchAll(t *testing.T, n int, plan admin.NewHardening) string {
	t.Helper()
	for i := 1; i <= n; i++ {
		plan.Target.Instances = append(plan.Target.Instances, manyID(i))
	}
	plan.Force = true
	var h admin.Hardening
	o.must(t, &h, "POST", "hardenings", plan)
	return h.ID
}

// A process that calls without a token during a guarded switch has its
// instance back within a second and is named; the others stay switched.
func TestHardenReturns(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "instances.yaml")
	writeFile(t, path, manyInstances(5))
	p := startDev(t, "--instances", path, "--state", filepath.Join(dir, "state"))
	o := operatorOf(t, p, "")
	base := "http://" + p.addr["ec2"] + "/latest/"
	trace := `{"v":1,"ts":"` + time.Now().UTC().Format(time.RFC3339) + `","mode":"IMDSv1","count":1,"user_agent":"nightly/1.0","path":"/latest/user-data","dst":"169.254.169.254:80","process":{"pid":41,"uid":0,"comm":"nightly","unit":"nightly.service"},"machine":{"instance":"` + manyID(2) + `"}}` + "\n"
	res, err := http.Post(o.base+"trace/findings", "application/x-ndjson", strings.NewReader(trace+strings.ReplaceAll(trace, manyID(2), "i-none"))) //nolint:noctx // the test's own server
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(res.Body); strings.TrimSpace(string(body)) != `{"taken":1,"unknown":1}` {
		t.Errorf("findings: %s", body)
	}
	_ = res.Body.Close()

	id := o.switchAll(t, 5, admin.NewHardening{Watch: "1h"})
	waitFor(t, "the instances were switched", func() bool {
		return o.tokens(t, manyID(2)) == instance.Required && o.tokens(t, manyID(5)) == instance.Required
	})
	if status, _ := get(t, "127.0.1.2", "GET", base+"user-data", "User-Agent", "nightly/1.0"); status != http.StatusUnauthorized {
		t.Fatalf("during the switch: %d", status)
	}
	refused := time.Now()
	waitFor(t, "the instance was returned", func() bool { return o.tokens(t, manyID(2)) == instance.Optional })
	t.Logf("returned after %v", time.Since(refused).Round(time.Millisecond))
	if status, _ := get(t, "127.0.1.2", "GET", base+"meta-data/", "User-Agent", "nightly/1.0"); status != http.StatusOK {
		t.Errorf("after it was returned: %d", status)
	}
	h := o.hardening(t, id)
	in := of(t, h, manyID(2))
	if in.State != "returned" || in.Rejected != 1 || len(in.Callers) != 1 {
		t.Fatalf("%+v", in)
	}
	// The times of the server alone: how long the test waited says nothing.
	if took := in.Ended.Sub(refused); took > time.Second {
		t.Logf("this machine was slow: returned %v after the refusal", took)
	}
	if c := in.Callers[0]; c.Agent != "nightly/1.0" || c.Item != "user-data" || c.Source != "127.0.1.2" || !strings.Contains(c.Process, "nightly (pid 41, unit nightly.service)") {
		t.Errorf("named: %+v", c)
	}
	for _, n := range []int{1, 3, 4, 5} {
		if o.tokens(t, manyID(n)) != instance.Required || of(t, h, manyID(n)).State != "watched" {
			t.Errorf("%s: %+v", manyID(n), of(t, h, manyID(n)))
		}
	}
	// The way back for all.
	o.must(t, nil, "POST", "hardenings/"+id+"/abort", nil)
	h = o.hardening(t, id)
	if h.State != "aborted" || h.Count["undone"] != 4 || h.Count["returned"] != 1 || o.tokens(t, manyID(5)) != instance.Optional {
		t.Errorf("aborted: %+v", h.Count)
	}
	var log admin.AuditRecords
	o.must(t, &log, "GET", "audit?limit=1000&principal=admin/"+id, nil)
	actions := map[string]int{}
	for _, r := range log.Records {
		actions[r.Action]++
	}
	if actions["admin:HardenSwitch"] != 1 || actions["admin:HardenReturn"] != 5 || actions["admin:HardenEnd"] != 1 {
		t.Errorf("in the audit log: %v", actions)
	}
	p.end()
}

// Batches grow; a batch of which an instance was returned is the last until the
// operator resumes; a rehearsal returns everything.
func TestHardenBatches(t *testing.T) {
	path := filepath.Join(t.TempDir(), "instances.yaml")
	writeFile(t, path, manyInstances(10))
	p := startDev(t, "--instances", path)
	o := operatorOf(t, p, "")
	id := o.switchAll(t, 10, admin.NewHardening{Watch: "1s", Batches: []string{"10%", "50%"}})
	waitFor(t, "the second batch was switched", func() bool { return o.hardening(t, id).Batch == 2 && o.hardening(t, id).Count["watched"] > 0 })
	h := o.hardening(t, id)
	if h.Batches != 3 || h.Count["kept"] != 1 || h.Count["watched"] != 4 || h.Count["waiting"] != 5 {
		t.Errorf("in the second batch: %+v", h)
	}
	for i := 1; i <= 10; i++ {
		if of(t, h, manyID(i)).State == "watched" {
			get(t, fmt.Sprintf("127.0.1.%d", i), "GET", "http://"+p.addr["ec2"]+"/latest/meta-data/")
			break
		}
	}
	waitFor(t, "it paused", func() bool { return o.hardening(t, id).State == "paused" })
	if h = o.hardening(t, id); h.Count["returned"] != 1 || h.Count["kept"] != 4 || h.Count["waiting"] != 5 {
		t.Errorf("paused: %+v", h)
	}
	for verb, status := range map[string]int{"pause": 409, "nothing": 404} {
		if got, _ := o.do(t.Context(), nil, "POST", "hardenings/"+id+"/"+verb, nil); got != status {
			t.Errorf("%s: %d, want %d", verb, got, status)
		}
	}
	o.must(t, nil, "POST", "hardenings/"+id+"/resume", nil)
	waitFor(t, "it was done", func() bool { return o.hardening(t, id).State == "done" })
	if h = o.hardening(t, id); h.Count["kept"] != 9 || h.Count["returned"] != 1 {
		t.Errorf("done: %+v", h)
	}

	var changed admin.OptionsResults
	o.must(t, &changed, "PATCH", "metadata-options", admin.ManyOptions{Target: admin.Target{All: true}, Options: instance.MetadataOptions{HTTPTokens: "optional"}})
	id = o.switchAll(t, 10, admin.NewHardening{Rehearse: "1s"})
	waitFor(t, "the rehearsal was over", func() bool { return o.hardening(t, id).State == "done" })
	if h = o.hardening(t, id); h.Count["rehearsed"] != 10 || o.tokens(t, manyID(3)) != instance.Optional {
		t.Errorf("rehearsed: %+v", h)
	}
	p.end()
}

// What is not ready is refused, with the reason, and so is a plan that makes no
// sense.
func TestHardenRefuses(t *testing.T) {
	p := startDev(t)
	o := operatorOf(t, p, "")
	get(t, "127.0.0.1", "GET", "http://"+p.addr["ec2"]+"/latest/meta-data/")
	one := admin.Target{Instances: []string{"i-0a1b2c3d4e5f60001"}}
	less := -1
	for want, plan := range map[string]admin.NewHardening{
		"not ready: it came without a token once":       {Target: one},
		"tokens are required already":                   {Target: admin.Target{Instances: []string{"i-0a1b2c3d4e5f60002"}}, Force: true},
		"watch: found 360h":                             {Target: one, Watch: "15d"},
		"expected growing shares":                       {Target: one, Batches: []string{"50%", "10%"}},
		"expected shares such as":                       {Target: one, Batches: []string{"all"}},
		"give one of them":                              {Target: one, Watch: "1m", Rehearse: "1m"},
		"rollbackOnReject: found -1":                    {Target: one, RollbackOnReject: &less},
		"there is no instances/i-none":                  {Target: admin.Target{Instances: []string{"i-none"}}},
		"it is not said which instances":                {},
		"window: found \\\"soon\\\", expected how long": {Target: one, Window: "soon"},
	} {
		if status, err := o.do(t.Context(), nil, "POST", "hardenings", plan); status/100 != 4 || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if o.tokens(t, "i-0a1b2c3d4e5f60001") != instance.Optional {
		t.Error("an instance that was refused is switched")
	}
	p.end()
}

// The control plane is killed in the middle: started again, it returns what is
// rejected, whether that was before it was killed or after, and ends the
// rehearsal that is overdue.
func TestHardenSurvivesKill(t *testing.T) {
	h := newHost(t)
	h.seed(t)
	writeFile(t, filepath.Join(h.dir, "instances.yaml"), manyInstances(6))
	writeFile(t, h.config, h.sampleSettings(t)+"\ninstances: instances.yaml\n")
	p := h.start(t)
	o := operatorOf(t, p.program, h.state())
	once := 2 // rejections
	id := o.switchAll(t, 4, admin.NewHardening{Watch: "1h", RollbackOnReject: &once})
	var rehearsal admin.Hardening
	o.must(t, &rehearsal, "POST", "hardenings", admin.NewHardening{Target: admin.Target{Instances: []string{manyID(5)}}, Rehearse: "2s", Force: true})
	waitFor(t, "all were switched", func() bool {
		return o.hardening(t, id).Count["watched"] == 4 && o.tokens(t, manyID(5)) == instance.Required
	})
	call := func(n int, want int) {
		t.Helper()
		if status, _ := get(t, fmt.Sprintf("127.0.1.%d", n), "GET", "http://"+p.addr["ec2"]+"/latest/meta-data/ami-id", "User-Agent", fmt.Sprint("agent-", n)); status != want {
			t.Errorf("instance %d: %d, want %d", n, status, want)
		}
	}
	call(1, 401) // one before the kill, one after it: two
	waitFor(t, "the rejection was kept", func() bool { return of(t, o.hardening(t, id), manyID(1)).Rejected == 1 })
	killed(t, p)
	time.Sleep(2 * time.Second) // the rehearsal is overdue
	p = h.start(t)
	o = operatorOf(t, p.program, h.state())
	call(2, 401)
	call(2, 401)
	call(1, 401)
	for _, n := range []int{1, 2} {
		waitFor(t, "an instance was returned", func() bool { return o.tokens(t, manyID(n)) == instance.Optional })
		call(n, 200)
		if in := of(t, o.hardening(t, id), manyID(n)); in.State != "returned" || in.Rejected != 2 || in.Callers[0].Agent != fmt.Sprint("agent-", n) {
			t.Errorf("%+v", in)
		}
	}
	waitFor(t, "the rehearsal was over", func() bool { return o.tokens(t, manyID(5)) == instance.Optional })
	for _, n := range []int{3, 4} {
		if in := of(t, o.hardening(t, id), manyID(n)); in.State != "watched" || o.tokens(t, manyID(n)) != instance.Required {
			t.Errorf("another instance: %+v", in)
		}
	}
	if o.tokens(t, manyID(6)) != instance.Optional {
		t.Error("an instance that is in no guarded switch was changed")
	}
	if code := p.signal(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
