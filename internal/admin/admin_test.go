package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"openimds/internal/audit"
	"openimds/internal/config"
	"openimds/internal/control"
	"openimds/internal/instance"
	"openimds/internal/node"
	"openimds/internal/readiness"
	"openimds/internal/readiness/survey"
	"openimds/internal/state"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
	"openimds/internal/token"
	"openimds/internal/usage/history"
	"openimds/internal/usage/ledger"
)

// bed is the API over a control plane with the samples, and the data plane
// that shows what it does.
type bed struct {
	t       *testing.T
	handler http.Handler
	control *control.Control
	db      *state.DB
	now     time.Time
	mu      sync.Mutex // guards served and actions
	served  map[string]*instance.Instance
	actions []string
}

func newBed(t *testing.T, change func(*Config)) *bed {
	t.Helper()
	log := testnet.Quiet()
	s := memstore.New(memstore.Config{})
	db, err := state.Open(t.Context(), s, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = db.Close(), s.Close() })
	records, err := audit.Open(audit.Config{Path: t.TempDir() + "/audit.log", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = records.Close() })
	b := &bed{t: t, db: db, now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC), served: map[string]*instance.Instance{}}
	b.control = control.New(control.Config{DB: db, Now: func() time.Time { return b.now }, Audit: func(e control.Entry) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.actions = append(b.actions, e.Caller.Action)
		return records.Append(audit.Record{Time: e.Time, API: audit.Admin, Action: "admin:" + e.Caller.Action, Principal: e.Caller.ARN(), Resources: e.Resources, Decision: audit.Allow})
	}})
	db.OnChange(func(c state.Change) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, in := range c.Put {
			b.served[in.Spec.ID] = &in.Spec
		}
		for _, id := range c.Removed {
			delete(b.served, id)
		}
	})
	if err := b.control.Give(t.Context(), config.Samples()); err != nil {
		t.Fatal(err)
	}
	secrets, err := token.NewSecrets(b.now, strings.NewReader(strings.Repeat("x", 1000)))
	if err != nil {
		t.Fatal(err)
	}
	usage, err := ledger.Open(ledger.Config{File: history.Config{Path: t.TempDir() + "/usage.db", Passing: true, Now: func() time.Time { return b.now }}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = usage.Close() })
	judge := survey.New(survey.Config{DB: db, Ledger: usage, Now: func() time.Time { return b.now }})
	hardener := b.control.NewHardener(control.HardenConfig{
		Judge: func(ctx context.Context, ids []string, window time.Duration, rules readiness.Rules) ([]readiness.Result, error) {
			return judge.Judge(ctx, survey.Ask{Instances: ids, Window: window, Rules: rules})
		},
		Rejected:  func(context.Context, string, time.Time) (uint64, error) { return 0, nil },
		Rejecters: func(string, time.Time) ([]state.HardenedCaller, error) { return nil, nil },
		Heard:     func(context.Context, string) (time.Time, error) { return b.now, nil },
	})
	n := node.New(node.Config{Ring: token.NewRing(secrets)})
	if err := n.Set(config.Samples()); err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Node: n, Metrics: prometheus.NewRegistry(), Logger: log, Ready: func() bool { return true }, Control: b.control, Audit: records, Usage: usage, Survey: judge, Hardener: hardener,
		Now: func() time.Time { return b.now },
		CheckTemplate: func(parameters map[string]string) error {
			if parameters["ImageId"] == "" {
				return errors.New("no image")
			}
			return nil
		},
	}
	if change != nil {
		change(&cfg)
	}
	b.handler = New(cfg)
	return b
}

// ask makes a request; headers are names and values.
func (b *bed) ask(method, path, body string, headers ...string) (int, string) {
	b.t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, path, content)
	r.Host = "127.0.0.1:8180"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	if kind := w.Header().Get("Content-Type"); kind == "application/json" && !json.Valid(w.Body.Bytes()) {
		b.t.Errorf("%s %s: the answer is no JSON: %s", method, path, w.Body)
	}
	return w.Code, w.Body.String()
}

func (b *bed) instance(id string) *instance.Instance {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.served[id]
}

const (
	ec2Optional = "i-0a1b2c3d4e5f60001"
	ec2Required = "i-0a1b2c3d4e5f60002"
	ecsOptional = "i-bp1imdssample0000001"
	ecsWindows  = "i-bp1imdssample0000004"
)

const allowAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

const newInstance = `{"id":"i-0000000000000000f","dialect":"ec2","account":123456789012,"region":"us-east-1","zone":"us-east-1a","type":"m7g.large",
 "sources":["127.0.0.9"],"image":{"id":"ami-1"},"userData":"#!/bin/sh\necho \"hi\"\n","tags":{"env":"test"},
 "role":{"name":"web","credentials":{"accessKeyId":"AKIA1","accessKeySecret":"very-secret","sessionToken":"session-secret"}},
 "interfaces":[{"id":"eni-1","mac":"02:00:00:00:00:99","ipv4":["10.9.0.1"],"subnet":{"id":"subnet-1","ipv4":"10.9.0.0/24"},"vpc":{"id":"vpc-1","ipv4":["10.9.0.0/16"]}}]}`

// Every route, with what it should do and what it must refuse, in one story.
func TestRoutes(t *testing.T) {
	b := newBed(t, nil)
	for i, step := range []struct {
		method, path, body string
		status             int
		want               string // a part of the answer
	}{
		{"GET", "/healthz", "", 200, "ok"},
		{"GET", "/readyz", "", 200, "ready"},
		{"GET", "/metrics", "", 200, ""},
		{"GET", "/v1/usage", "", 200, `{"usage":[{"instance":"` + ec2Optional},
		{"GET", "/v1/usage?instance=" + ec2Optional, "", 200, `"tokenFreeServed":0`},
		{"GET", "/v1/usage?instance=i-none", "", 404, `no instance has the id`},
		{"GET", "/v1/usage?instanc=x", "", 400, `unknown parameter \"instanc\"; did you mean instance?`},
		{"GET", "/v1/interfaces", "", 200, `{"interfaces":`},
		{"GET", "/v1/openapi.json", "", 200, `"openapi":"3.1.0"`},
		{"GET", "/v1/openapi.json?x=1", "", 400, "there are none here"},
		{"GET", "/v2", "", 404, "openapi.json"},
		{"GET", "/v1/instnces", "", 404, "did you mean instances?"},
		{"GET", "/v1/policies/x", "", 404, "/v1/policies/{dialect}/{name}"},
		{"POST", "/v1/instances", "{}", 405, "use GET"},

		{"PUT", "/v1/policies/ec2/all", `{"document":` + allowAll + `}`, 201, `"document":{"Version"`},
		{"PUT", "/v1/policies/ec2/all", `{"document":"{}","guard":true}`, 400, "document: "},
		{"PUT", "/v1/policies/ec2/all", `{"dialect":"ecs","document":` + allowAll + `}`, 400, `dialect: found \"ecs\", and the path says \"ec2\"`},
		{"PUT", "/v1/policies/ec2/all", `{"kind":"keys","document":` + allowAll + `}`, 400, `kind: found`},
		{"PUT", "/v1/policies/gcp/all", `{"document":` + allowAll + `}`, 400, `expected ecs or ec2`},
		{"PUT", "/v1/policies/ec2/a%2Fb", `{"document":` + allowAll + `}`, 400, `name: found`},
		{"GET", "/v1/policies/ec2/all", "", 200, `"kind":"policies"`},
		{"GET", "/v1/policies?dialect=ecs", "", 200, `{"items":[]}`},
		{"GET", "/v1/policies?dialect=gcp", "", 400, `expected ecs or ec2`},
		{"GET", "/v1/policies?tag=a", "", 400, `unknown parameter`},

		{"PUT", "/v1/keys/AKIATEST", `{"dialect":"ec2","account":123456789012,"user":"ann","policies":["all"]}`, 201, `"secret":"`},
		{"PUT", "/v1/keys/AKIATEST", `{"dialect":"ec2","account":123456789012,"user":"ann","policies":["all"]}`, 200, `"user":"ann"`},
		{"PUT", "/v1/keys/AKIATEST", `{"dialect":"ec2","account":123456789012,"user":"ann","policies":["al"]}`, 400, `there is no policy \"ec2/al\"`},
		{"PUT", "/v1/keys/AKIATEST", `{"dialect":"ec2","account":12,"user":"ann","secret":"short"}`, 400, `12 digits\nkeys/AKIATEST: secret: `},
		{"PUT", "/v1/keys/AKIATEST", `{"polices":[]}`, 400, `polices: unknown key; did you mean policies?`},
		{"DELETE", "/v1/policies/ec2/all", "", 409, `is attached to keys/AKIATEST`},
		{"GET", "/v1/keys", "", 200, `"id":"AKIATEST"`},
		{"GET", "/v1/keys/AKIATEST", "", 200, `"policies":["all"]`},
		{"DELETE", "/v1/keys/AKIATEST", "", 200, `{"deleted":"keys/AKIATEST"}`},
		{"DELETE", "/v1/keys/AKIATEST", "", 404, `there is no keys/AKIATEST`},
		{"DELETE", "/v1/policies/ec2/all", "", 200, `deleted`},

		{"PUT", "/v1/roles/ec2/123456789012/web", `{"maxSession":"2h","credentials":{"accessKeyId":"A","accessKeySecret":"very-secret","sessionToken":"S"}}`, 201, `"static":true`},
		{"PUT", "/v1/roles/ec2/123456789012/web", `{"maxSession":"2m"}`, 400, `maxSession: found`},
		{"PUT", "/v1/roles/ec2/123456789012/web", `{"maxSession":"long"}`, 400, `expected a duration`},
		{"GET", "/v1/roles/ec2/123456789012/web", "", 200, `"maxSession":"2h0m0s"`},
		{"GET", "/v1/roles?account=123456789012", "", 200, `"name":"web"`},
		{"DELETE", "/v1/roles/ec2/123456789012/web", "", 200, ``},

		{"PUT", "/v1/key-pairs/ecs/1234567890123456/cn-hangzhou/ops", `{"publicKey":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ4aOcPfNbZpM4b3WQIzVYXSWmDPVgyjS8vGM7Zn3dM4 ops"}`, 201, `"id":"skp-bp1`},
		{"PUT", "/v1/key-pairs/ec2/123456789012/us-east-1/ops", `{"publicKey":"-----BEGIN PRIVATE KEY-----"}`, 400, `publicKey: found something else`},
		{"GET", "/v1/key-pairs", "", 200, `"fingerprint":"`},
		{"GET", "/v1/key-pairs/ecs/1234567890123456/cn-hangzhou/ops", "", 200, `"name":"ops"`},
		{"DELETE", "/v1/key-pairs/ecs/1234567890123456/cn-hangzhou/ops", "", 200, ``},

		{"PUT", "/v1/images/ami-1", `{"dialect":"ec2","imdsSupport":true,"tags":{"a":"b"}}`, 201, `"rootDevice":"/dev/xvda"`},
		{"PUT", "/v1/images/ami-1", `{"dialect":"ec2","platform":"dos"}`, 400, `platform: found \"dos\", expected linux or windows`},
		{"GET", "/v1/images/ami-1", "", 200, `"imdsSupport":true`},
		{"GET", "/v1/images?tag=a%3Db", "", 200, `"id":"ami-1"`},
		{"GET", "/v1/images?tag=a%3Dc", "", 200, `{"items":[]}`},
		{"GET", "/v1/images?tag=%3Dc", "", 400, `KEY=VALUE`},
		{"DELETE", "/v1/images/ami-1", "", 200, ``},

		{"PUT", "/v1/templates/123456789012/us-east-1/web%2F1", `{"versions":[{"parameters":{"ImageId":"ami-1"}},{"parameters":{"ImageId":"ami-2"}}],"default":2}`, 201, `"id":"lt-0`},
		{"PUT", "/v1/templates/123456789012/us-east-1/web", `{"versions":[]}`, 400, `at least one`},
		{"PUT", "/v1/templates/123456789012/us-east-1/web", `{"versions":[{"number":2,"parameters":{"ImageId":"a"}},{"number":1,"parameters":{"ImageId":"a"}}],"default":7}`, 400, `default: found 7`},
		{"PUT", "/v1/templates/123456789012/us-east-1/web", `{"versions":[{"parameters":{"Image":"ami-1"}}]}`, 400, `versions[0].parameters: no image`},
		{"POST", "/v1/apply", `{"documents":[{"kind":"template","account":"1","region":"r","name":"n","versions":[{"parameters":{}}]}]}`, 400, `document 1, templates: versions[0].parameters: no image`},
		{"GET", "/v1/templates/123456789012/us-east-1/web%2F1", "", 200, `"number":2`},
		{"GET", "/v1/templates", "", 200, `"name":"web/1"`},
		{"DELETE", "/v1/templates/123456789012/us-east-1/web%2F1", "", 200, ``},

		{"PUT", "/v1/defaults/123456789012/us-east-1", `{"httpTokensEnforced":"enabled","hopLimit":2}`, 201, `"hopLimit":2`},
		{"PUT", "/v1/defaults/123456789012/us-east-1", `{"httpTokens":"maybe","hopLimit":65}`, 400, `hopLimit: found 65`},
		{"PUT", "/v1/instances/i-0000000000000000f", newInstance, 409, `enforce required`},
		{"PATCH", "/v1/instances/" + ec2Optional + "/metadata-options", `{"httpTokens":"optional"}`, 409, `enforce required`},
		{"GET", "/v1/defaults", "", 200, `"httpTokensEnforced":"enabled"`},
		{"GET", "/v1/defaults/123456789012/us-east-1", "", 200, `"region":"us-east-1"`},
		{"DELETE", "/v1/defaults/123456789012/us-east-1", "", 200, ``},

		{"PUT", "/v1/instances/i-0000000000000000f", newInstance, 201, `"accessKeySecret":"","sessionToken":""`},
		{"PUT", "/v1/instances/i-1", newInstance, 400, `and the path says`},
		{"PUT", "/v1/instances/i-0000000000000000f", strings.Replace(newInstance, "127.0.0.9", "127.0.0.1", 1), 409, ec2Optional + ` calls from 127.0.0.1`},
		{"PUT", "/v1/instances/i-0000000000000000f", strings.Replace(newInstance, `"type"`, `"tipe"`, 1), 400, `tipe: unknown key; did you mean type?`},
		{"PUT", "/v1/instances/i-0000000000000000f", strings.Replace(newInstance, `"m7g.large"`, `""`, 1), 400, `type: `},
		{"PUT", "/v1/instances/i-0000000000000000f", strings.Replace(newInstance, `"type"`, `"type":"a","type"`, 1), 400, `type`},
		{"GET", "/v1/instances/i-0000000000000000f", "", 200, `"userData":"#!/bin/sh\necho \"hi\"\n"`},
		{"GET", "/v1/instances/i-none", "", 404, `there is no instances/i-none`},
		{"GET", "/v1/instances?limit=1", "", 200, `"next":"i-0000000000000000f"`},
		{"GET", "/v1/instances?limit=1&after=i-0000000000000000f", "", 200, ec2Optional},
		{"GET", "/v1/instances?after=z", "", 200, `{"items":[]}`},
		{"GET", "/v1/instances?limit=0", "", 400, `limit: found`},
		{"GET", "/v1/instances?http-endpoint=disabled&dialect=ecs", "", 200, `"items":[{"kind":"instances","id":"i-bp1imdssample0000003"`},

		{"PATCH", "/v1/instances/" + ec2Optional + "/metadata-options", `{"httpTokens":"required","httpPutResponseHopLimit":3}`, 200, `"changed":true`},
		{"PATCH", "/v1/instances/" + ec2Optional + "/metadata-options", `{"httpTokens":"always"}`, 400, `expected optional or required`},
		{"PATCH", "/v1/instances/" + ec2Optional + "/metadata-options", `{}`, 400, `no option is given`},
		{"PATCH", "/v1/instances/i-none/metadata-options", `{"httpTokens":"required"}`, 404, ``},
		{"PATCH", "/v1/metadata-options", `{"target":{"all":true},"options":{"httpEndpoint":"enabled"}}`, 200, `"changed":2,"failed":0`},
		{"PATCH", "/v1/metadata-options", `{"options":{"httpEndpoint":"enabled"}}`, 400, `which instances are meant`},
		{"PATCH", "/v1/metadata-options", `{"target":{"share":"0%"},"options":{"httpEndpoint":"enabled"}}`, 400, `expected a share`},
		{"PATCH", "/v1/metadata-options", `{"target":{"tags":{"no":"such"}},"options":{"httpEndpoint":"enabled"}}`, 404, `no instance is meant`},
		{"PATCH", "/v1/metadata-options", `{"target":{"all":true,"instances":["i-1"]},"options":{"httpEndpoint":"enabled"}}`, 400, `instances are named`},

		{"POST", "/v1/events", `{"type":"spot","what":"stop","in":"90s","target":{"instances":["` + ec2Required + `"]}}`, 200, `"at":"2026-06-01T12:01:30Z"`},
		{"POST", "/v1/events", `{"type":"spot","what":"stop","target":{"instances":["` + ecsOptional + `"]}}`, 400, `use what terminate`},
		{"POST", "/v1/events", `{"type":"spot","target":{"instances":["` + ecsOptional + `"]}}`, 200, `"at":"2026-06-01T12:05:00Z"`},
		{"POST", "/v1/events", `{"type":"rebalance","target":{"dialect":"ecs","all":true}}`, 400, `exists on EC2 only`},
		{"POST", "/v1/events", `{"type":"system","at":"2026-06-02T00:00:00Z","target":{"instances":["` + ec2Required + `"]}}`, 400, `exists on ECS only: EC2 instances have spot, rebalance and maintenance`},
		{"POST", "/v1/events", `{"type":"maintenance","target":{"all":true}}`, 400, `give at or in`},
		{"POST", "/v1/events", `{"type":"maintenance","at":"2026-06-02T00:00:00Z","in":"1h","target":{"all":true}}`, 400, `at and in: give one`},
		{"POST", "/v1/events", `{"type":"maintenance","what":"coffee","in":"1h","target":{"all":true}}`, 400, `what: found`},
		{"POST", "/v1/events", `{"type":"maintenance","in":"24h","until":"2026-06-01T13:00:00Z","target":{"all":true}}`, 400, `until: found`},
		{"POST", "/v1/events", `{"type":"flood","target":{"all":true}}`, 400, `type: found`},
		{"POST", "/v1/events", `{"type":"spot","target":{}}`, 400, `which instances`},
		{"POST", "/v1/events", `{"type":"spot","expires":"2020-01-01T00:00:00Z","target":{"all":true}}`, 400, `which is past`},
		{"POST", "/v1/events", `{"type":"spot","in":"-1h","target":{"all":true}}`, 400, `from now on`},
		{"GET", "/v1/events?type=spot&dialect=ecs", "", 200, `"instance":"` + ecsOptional},
		{"GET", "/v1/events?type=flood", "", 400, `type: found`},
		{"GET", "/v1/events?instance=i-none", "", 404, ``},
		{"DELETE", "/v1/events", "", 400, `which events are meant`},
		{"DELETE", "/v1/events?as=done&all=true", "", 400, `as: found`},
		{"DELETE", "/v1/events?type=spot&instance=" + ec2Required, "", 200, `"what":"stop"`},
		{"DELETE", "/v1/events?type=spot&instance=" + ec2Required, "", 200, `{"events":[]}`},

		{"POST", "/v1/revocations", `{"instance":"` + ec2Optional + `"}`, 200, `{"instance":"` + ec2Optional + `"}`},
		{"POST", "/v1/revocations", `{"instance":"i-none"}`, 404, ``},
		{"POST", "/v1/revocations", `{"role":"ec2/123456789012/none"}`, 404, ``},
		{"POST", "/v1/revocations", `{"role":"none"}`, 400, `expected DIALECT/ACCOUNT/NAME`},
		{"POST", "/v1/revocations", `{}`, 400, `instance, role: give one of them`},

		{"POST", "/v1/apply", `{"documents":[{"kind":"image","id":"ami-2","dialect":"ec2"},{"kind":"images","id":"ami-3","dialect":"ec2"}]}`, 200, `"result":"created"},{"kind":"images","name":"ami-3","result":"created"}`},
		{"POST", "/v1/apply", `{"documents":[{"kind":"images","id":"ami-2","dialect":"ec2"},{"kind":"images","id":"ami-3","dialect":"ec2","name":"x"}]}`, 200, `"result":"unchanged"},{"kind":"images","name":"ami-3","result":"changed"}`},
		{"POST", "/v1/apply?dryRun=true", `{"documents":[{"kind":"images","id":"ami-9","dialect":"ec2"}]}`, 200, `"dryRun":true`},
		{"GET", "/v1/images/ami-9", "", 404, ``},
		{"POST", "/v1/apply?dryRun=perhaps", `{"documents":[]}`, 400, `expected true or false`},
		{"POST", "/v1/apply", `{"documents":[{"kind":"images","id":"ami-8","dialect":"ec2"},{"kind":"imags"},{"id":"x"},3]}`, 400, `document 2: kind: unknown kind \"imags\"; did you mean images?`},
		{"POST", "/v1/apply", `{"documents":[{"kind":"images","id":"ami-8","dialect":"ec2"},{"kind":"images","id":"ami-8","dialect":"ec2"}]}`, 400, `document 2, images/ami-8: it stands at place 1 too`},
		{"GET", "/v1/images/ami-8", "", 404, ``},
		{"POST", "/v1/apply", `{"documents":[]}`, 400, `at least one`},
		{"POST", "/v1/apply", `{"document":[]}`, 400, `did you mean documents?`},
		{"POST", "/v1/apply", `[]`, 400, `the body is not JSON`},
		{"POST", "/v1/apply", `{"documents":[` + strings.Repeat(`{"kind":"images"},`, 500) + `{"kind":"images"}]}`, 400, `expected at most 500`},

		{"GET", "/v1/usage/series?instance=" + ec2Optional, "", 200, `"step":"1m0s","points":[],"gaps":[]}`},
		{"GET", "/v1/usage/series?instance=" + ec2Optional + "&step=long", "", 400, `step: found`},
		{"GET", "/v1/usage/callers?instance=" + ec2Optional, "", 200, `"callers":[]`},
		{"GET", "/v1/usage/callers", "", 400, `instance: is required`},
		{"POST", "/v1/trace/findings", found("i-none") + found(ec2Optional), 200, `{"taken":1,"unknown":1}`},
		{"POST", "/v1/trace/findings?instance=" + ec2Optional, found(""), 200, `{"taken":1,"unknown":0}`},
		{"POST", "/v1/trace/findings", "{}", 400, `findings: line 1: no version`},
		{"GET", "/v1/readiness?instance=" + ec2Optional, "", 200, `"verdict":"not ready","reasons":[{"code":"process"`},
		{"GET", "/v1/readiness?instance=" + ec2Required + "&any-boot=true&allow-gaps=1m&window=7d", "", 200, `{"window":"7d","ready":0,"notReady":0,"unknown":1`},
		{"GET", "/v1/readiness?verdict=ready", "", 200, `"instances":[]`},
		{"GET", "/v1/readiness?tag=no=such", "", 200, `"ready":0,"notReady":0,"unknown":0`},
		{"GET", "/v1/readiness?instance=i-none", "", 404, `there is no instances/i-none`},
		{"GET", "/v1/readiness?window=0d", "", 400, `window: found`},
		{"PATCH", "/v1/metadata-options", `{"target":{"instances":["` + ec2Optional + `"]},"options":{"httpTokens":"optional"}}`, 200, ``},
		{"POST", "/v1/hardenings", `{"target":{"instances":["` + ec2Optional + `"]}}`, 409, `not ready: a tracer has seen`},
		{"POST", "/v1/hardenings", `{"target":{"instances":["` + ec2Optional + `"]},"force":true,"watch":"1h","rollbackOnReject":3,"batches":["1%","100%"]}`, 200, `"state":"running"`},
		{"GET", "/v1/hardenings", "", 200, `"rollbackOnReject":3`},
		{"GET", "/v1/hardenings/none", "", 404, `there is no hardening`},
		{"POST", "/v1/hardenings/{it}/pause", "", 200, `"state":"paused"`},
		{"POST", "/v1/hardenings/{it}/resume", "", 200, `"state":"running"`},
		{"POST", "/v1/hardenings/{it}/abort", "", 200, `"state":"aborted"`},
		{"GET", "/v1/hardenings/{it}", "", 200, `"undone":1`},

		{"GET", "/v1/alarms", "", 200, `{"items":[]}`},
		{"GET", "/v1/alarms?state=BAD", "", 400, `state: found`},
		{"GET", "/v1/alarms/ec2/123456789012/us-east-1/none", "", 404, `there is no alarm`},

		{"GET", "/v1/audit?action=admin:Apply&limit=1", "", 200, `"more":true`},
		{"GET", "/v1/audit?since=1h&until=2020-01-01T00:00:00Z", "", 200, `{"records":[],"more":false}`},
		{"GET", "/v1/audit?since=yesterday", "", 400, `since: found`},
		{"GET", "/v1/audit?decision=maybe", "", 400, `expected allow or deny`},
		{"GET", "/v1/audit?resource=i-0000000000000000f", "", 200, `"action":"admin:GetInstance"`},
		{"DELETE", "/v1/instances/i-0000000000000000f", "", 200, `{"deleted":"instances/i-0000000000000000f"}`},
	} {
		if all := b.db.Hardenings.All(nil); len(all) > 0 {
			step.path = strings.ReplaceAll(step.path, "{it}", all[0].ID)
		}
		status, answer := b.ask(step.method, step.path, step.body)
		if status != step.status || !strings.Contains(answer, step.want) {
			t.Errorf("step %d, %s %s %.80s:\n%d %.600s\nwant %d with %s", i, step.method, step.path, step.body, status, answer, step.status, step.want)
		}
		if strings.Contains(answer, "very-secret") || strings.Contains(answer, "session-secret") {
			t.Errorf("step %d shows a secret: %s", i, answer)
		}
	}
	// What these say is the data plane's, or nobody's secret: no policy is asked.
	free := []string{"describeAPI", "getUsage", "getUsageSeries", "getUsageCallers", "putFindings", "listInterfaces", "listNodes"}
	var never []string
	for _, r := range routes() {
		if action := title(r.id); !r.open && r.plain == nil && !slices.Contains(free, r.id) && !slices.Contains(b.actions, action) {
			never = append(never, action)
		}
	}
	if len(never) > 0 {
		t.Errorf("these were never let through and recorded: %q", never)
	}
}

// found is a line of a tracer in an instance.
func found(instance string) string {
	return `{"v":1,"ts":"2026-06-01T11:00:00Z","mode":"IMDSv1","count":1,"process":{"comm":"curl"},"dst":"","machine":{"instance":"` + instance + `"}}` + "\n"
}

// A batch of findings that comes again counts once.
func TestFindingsOnce(t *testing.T) {
	b := newBed(t, nil)
	for i, step := range []struct {
		key, body string
		status    int
		want      string
	}{
		{"a-1", found(ec2Optional), 200, `{"taken":1,"unknown":0}`},
		{"a-1", found(ec2Optional), 200, `{"taken":1,"unknown":0,"repeated":true}`},
		{"a-1", found(ec2Required), 400, `each batch needs its own`},
		{"a 1", found(ec2Optional), 400, `Idempotency-Key: found`},
		{strings.Repeat("x", 129), found(ec2Optional), 400, `Idempotency-Key: found`},
		{"a-2", "{", 400, `findings: line 1`},
		{"a-2", found(ec2Optional), 200, `{"taken":1,"unknown":0}`},
	} {
		status, answer := b.ask("POST", FindingsPath, step.body, "Idempotency-Key", step.key)
		if status != step.status || !strings.Contains(answer, step.want) {
			t.Errorf("step %d: %d %s, want %d with %s", i, status, answer, step.status, step.want)
		}
	}
	if _, answer := b.ask("GET", "/v1/readiness?instance="+ec2Optional, ""); !strings.Contains(answer, `"count":2}`) {
		t.Errorf("it was counted otherwise: %s", answer)
	}
}

// The token of tracers is good for their findings, and for nothing else.
func TestTraceToken(t *testing.T) {
	b := newBed(t, func(c *Config) { c.Token, c.TraceToken = "right", "trace" })
	for _, tc := range []struct {
		method, path, header string
		status               int
	}{
		{"POST", "/v1/trace/findings", "Bearer trace", 200}, {"POST", "/v1/trace/findings", "Bearer right", 200}, {"POST", "/v1/trace/findings", "Bearer wrong", 401},
		{"GET", "/v1/usage", "Bearer trace", 401}, {"GET", "/v1/readiness", "Bearer trace", 401}, {"GET", "/v1/instances", "Bearer trace", 401},
	} {
		if status, answer := b.ask(tc.method, tc.path, "", "Authorization", tc.header); status != tc.status {
			t.Errorf("%s %s with %q: %d %s", tc.method, tc.path, tc.header, status, answer)
		}
	}
	b = newBed(t, func(c *Config) { c.Token = "right" })
	if status, _ := b.ask("POST", "/v1/trace/findings", "", "Authorization", "Bearer "); status != 401 {
		t.Errorf("without a token for tracers: %d", status)
	}
}

// Findings that come from an instance that is a namespace are its own, unless
// they are about a process elsewhere.
func TestFindingsOfOrigin(t *testing.T) {
	b := newBed(t, nil)
	since := time.Date(2026, 6, 1, 10, 0, 0, 0, time.UTC)
	origin := Origin{Instance: ec2Required, Since: since, Own: func(netns uint32) bool { return netns == 7 }}
	line := func(at, netns string) string {
		return `{"v":1,"ts":"` + at + `","mode":"IMDSv1","count":1,"process":{"comm":"curl","netns":` + netns + `},"dst":"","machine":{"instance":"` + ec2Optional + `"}}` + "\n"
	}
	body := line("2026-06-01T11:00:00Z", "7") + line("2026-06-01T11:00:00Z", "0") + line("2026-06-01T11:00:00Z", "8") +
		line("2026-06-01T09:00:00Z", "8") // its namespace had another number then
	r := httptest.NewRequest(http.MethodPost, FindingsPath, strings.NewReader(body)).WithContext(WithOrigin(t.Context(), origin))
	r.Host = "127.0.0.1"
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `{"taken":3,"unknown":1}`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for id, want := range map[string]string{ec2Required: `"count":3`, ec2Optional: `"processes":[]`} {
		if _, answer := b.ask("GET", "/v1/readiness?instance="+id, ""); !strings.Contains(answer, want) {
			t.Errorf("%s: %s, want %s", id, answer, want)
		}
	}
}

// What is not HTTP as it should be.
func TestRefusedRequests(t *testing.T) {
	b := newBed(t, nil)
	body := `{"target":{"all":true},"options":{"httpTokens":"required"}}`
	for name, tc := range map[string]struct {
		headers []string
		body    string
		status  int
		want    string
	}{
		"a form":         {[]string{"Content-Type", "application/x-www-form-urlencoded"}, body, 400, "send JSON"},
		"from a page":    {[]string{"Origin", "http://evil.example"}, body, 403, "browser"},
		"another host":   {[]string{"Host", "evil.example"}, body, 403, "localhost"},
		"operator":       {[]string{OperatorHeader, "a\tb"}, body, 400, OperatorHeader},
		"YAML":           {nil, "target: {all: true}", 400, "is not JSON"},
		"two":            {nil, body + body, 400, "follows"},
		"nothing":        {[]string{"Content-Type", "application/json"}, "", 400, "is empty"},
		"unknown member": {nil, `{"target":{"al":true},"options":{}}`, 400, "target.al: unknown key; the keys here are"},
		"too large":      {nil, `{"x":"` + strings.Repeat("x", maxBody) + `"}`, 400, "more than"},
	} {
		if status, answer := b.ask("PATCH", "/v1/metadata-options", tc.body, tc.headers...); status != tc.status || !strings.Contains(answer, tc.want) {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	if in := b.instance(ec2Optional); in.Metadata.TokensRequired() {
		t.Error("a request that was refused changed something")
	}
}

func TestToken(t *testing.T) {
	b := newBed(t, func(c *Config) { c.Token = "right" })
	for _, tc := range []struct {
		path, header string
		status       int
	}{
		{"/v1/instances", "", 401}, {"/v1/instances", "Bearer wrong", 401}, {"/v1/instances", "Basic right", 401}, {"/v1/instances", "Bearer ", 401},
		{"/v1/instances", "Bearer right", 200}, {"/v1/instances", "bearer right", 200}, {"/v1/usage", "", 401}, {"/v1/openapi.json", "", 401},
		{"/v1/audit", "", 401}, {"/v1/store/backup", "", 401}, {"/v1/identity/certificates", "", 501}, {"/healthz", "", 200}, {"/readyz", "", 200}, {"/metrics", "", 200},
	} {
		if status, answer := b.ask("GET", tc.path, "", "Authorization", tc.header); status != tc.status || strings.Contains(answer, "right") {
			t.Errorf("%s with %q: %d %s", tc.path, tc.header, status, answer)
		}
	}
	for _, r := range routes() {
		if open := !strings.HasPrefix(r.path, "/v1/") || r.id == "listCertificates"; open != r.open {
			t.Errorf("%s: open is %v", r.path, r.open)
		}
	}
}

// Whoever reads an instance and puts it again changes nothing, though he has
// seen no secret; nor does he lose bytes that are no text.
func TestReadAndPutAgain(t *testing.T) {
	b := newBed(t, nil)
	binary := strings.Replace(newInstance, `"#!/bin/sh\necho \"hi\"\n"`, `"data:;base64,AAH/"`, 1)
	if status, answer := b.ask("PUT", "/v1/instances/i-0000000000000000f", binary); status != 201 || !strings.Contains(answer, `"data:;base64,AAH/"`) {
		t.Fatalf("%d %s", status, answer)
	}
	_, list := b.ask("GET", "/v1/instances", "")
	var page struct{ Items []json.RawMessage }
	if err := json.Unmarshal([]byte(list), &page); err != nil || len(page.Items) != 9 {
		t.Fatalf("%d items, %v", len(page.Items), err)
	}
	revision := b.db.Revision()
	all, err := json.Marshal(map[string]any{"documents": page.Items})
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := b.ask("POST", "/v1/apply", string(all)); status != 200 || strings.Count(answer, `"unchanged"`) != 9 {
		t.Errorf("%d %s", status, answer)
	}
	in := b.instance("i-0000000000000000f")
	if in.Role.Credentials.AccessKeySecret != "very-secret" || in.Role.Credentials.SessionToken != "session-secret" || string(in.UserData) != "\x00\x01\xff" {
		t.Errorf("it is %+v with %q", in.Role, in.UserData)
	}
	if b.db.Revision() > revision+1 {
		t.Errorf("nothing changed, in %d revisions", b.db.Revision()-revision)
	}
}

// A secret that was made is shown once, and works; one that was given never is.
func TestKeySecrets(t *testing.T) {
	b := newBed(t, nil)
	doc := `{"dialect":"ec2","account":"123456789012","user":"ann"SECRET}`
	put := func(secret string) string {
		t.Helper()
		status, answer := b.ask("PUT", "/v1/keys/AKIATEST", strings.Replace(doc, "SECRET", secret, 1))
		if status/100 != 2 {
			t.Fatalf("%d %s", status, answer)
		}
		var k Key
		if err := json.Unmarshal([]byte(answer), &k); err != nil {
			t.Fatal(err)
		}
		return k.Secret
	}
	stored := func() string {
		t.Helper()
		secret, _, err := b.control.Principal("ec2", "AKIATEST", "")
		if err != nil {
			t.Fatal(err)
		}
		return secret
	}
	made := put("")
	if made == "" || stored() != made {
		t.Errorf("made %q, stored %q", made, stored())
	}
	if again := put(""); again != "" || stored() != made {
		t.Errorf("a second time %q is shown, and %q stored", again, stored())
	}
	if given := put(`,"secret":"a-new-secret"`); given != "" || stored() != "a-new-secret" {
		t.Errorf("%q is shown, and %q stored", given, stored())
	}
	for _, path := range []string{"/v1/keys", "/v1/keys/AKIATEST"} {
		if _, answer := b.ask("GET", path, ""); strings.Contains(answer, "secret") || strings.Contains(answer, "sealed") {
			t.Errorf("%s: %s", path, answer)
		}
	}
}

// Every operation's answer is what it says it is: the committed description.
func TestDescriptionIsCommitted(t *testing.T) {
	b := newBed(t, nil)
	_, served := b.ask("GET", "/v1/openapi.json", "")
	file, err := os.ReadFile("../../docs/reference/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var x, y any
	if json.Unmarshal([]byte(served), &x) != nil || json.Unmarshal(file, &y) != nil {
		t.Fatal("no JSON")
	}
	one, _ := json.Marshal(x)
	two, _ := json.Marshal(y)
	if string(one) != string(two) {
		t.Error("docs/reference/openapi.json is not what is served; write it with go generate ./cmd/imds")
	}
}
