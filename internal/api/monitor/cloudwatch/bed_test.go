package cloudwatch_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"openimds/internal/api/monitor/cloudwatch"
	"openimds/internal/api/sigv4"
	"openimds/internal/control"
	"openimds/internal/instance"
	"openimds/internal/state"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
	"openimds/internal/usage/history"
	"openimds/internal/usage/series"
)

const (
	account = "123456789012"
	region  = "us-east-1"
	secret  = "hidden-key-secret"
	mine    = "i-0123456789abcdef0"
	second  = "i-0123456789abcdef1"
	foreign = "i-0fffffffffffffff0" // of another account
)

// now is within a minute, five minutes and an hour.
var now = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

// bed is the API over a control plane with three instances.
type bed struct {
	t    *testing.T
	api  http.Handler
	db   *state.DB
	file *history.File
	n    uint64
}

type zeros struct{}

// Read reads zeros: request ids are the same in every run.
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func newBed(t *testing.T) *bed {
	t.Helper()
	store := memstore.New(memstore.Config{})
	t.Cleanup(func() { _ = store.Close() })
	db, err := state.Open(t.Context(), store, testnet.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	clock := func() time.Time { return now }
	var file *history.File
	c := control.New(control.Config{DB: db, Now: clock, Departed: func(id string) (control.Owner, bool) {
		o, known, err := file.Owner(id)
		return control.Owner(o), known && err == nil
	}})
	file, err = history.Open(history.Config{Path: filepath.Join(t.TempDir(), "usage"), Now: clock, Together: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	file.SetOwner(func(id string) (history.Owner, bool) {
		in, ok := db.Instances.Get(id)
		if !ok {
			return history.Owner{}, false
		}
		return history.Owner{Dialect: in.Spec.Dialect, Account: in.Spec.Account, Region: in.Spec.Region}, true
	})
	operator := control.Caller{Admin: true, Action: "Test"}
	allow := func(action string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"*"}]}`
	}
	for _, err := range []error{
		c.PutPolicy(t.Context(), operator, state.Policy{Name: "all", Dialect: "ec2", Document: allow("*")}),
		c.PutPolicy(t.Context(), operator, state.Policy{Name: "read", Dialect: "ec2", Document: allow("cloudwatch:Get*")}),
		c.PutKey(t.Context(), operator, state.AccessKey{ID: "AKIATEST", Dialect: "ec2", Account: account, User: "ops", Policies: []string{"all"}}, secret),
		c.PutKey(t.Context(), operator, state.AccessKey{ID: "AKIAREAD", Dialect: "ec2", Account: account, User: "reader", Policies: []string{"read"}}, secret),
		db.Update(t.Context(), func(tx *state.Tx) error {
			for id, owner := range map[string]string{mine: account, second: account, foreign: "999999999999"} {
				in := instance.Instance{ID: id, Dialect: "ec2", Account: owner, Region: region, State: "running"}
				if err := state.Save(tx, db.Instances, id, &state.Instance{Spec: in}); err != nil {
					return err
				}
			}
			return nil
		}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return &bed{t: t, db: db, file: file, api: cloudwatch.New(cloudwatch.Config{Control: c, History: file, Now: clock, Random: zeros{}})}
}

// did records what an instance did, some time ago.
func (b *bed) did(id string, ago time.Duration, counts series.Counts) {
	b.t.Helper()
	b.n++
	s := series.Sample{Instance: id, Minute: now.Add(-ago).Unix() / 60, Counts: counts}
	if err := b.file.Record(b.t.Context(), series.Report{Node: "n", Boot: "b", Sequence: b.n, Samples: []series.Sample{s}}); err != nil {
		b.t.Fatal(err)
	}
}

func free(n uint64) series.Counts     { return series.Counts{series.TokenFree: n} }
func tokened(n uint64) series.Counts  { return series.Counts{series.Tokened: n} }
func rejected(n uint64) series.Counts { return series.Counts{series.Rejected: n} }

// do signs and sends a request.
func (b *bed) do(key, path string, body []byte, header ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "http://monitoring.test"+path, bytes.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if err := sigv4.Sign(r, body, sigv4.Credentials{AccessKeyID: key, SecretKey: secret}, region, "monitoring", now); err != nil {
		b.t.Fatal(err)
	}
	w := httptest.NewRecorder()
	b.api.ServeHTTP(w, r)
	return w
}

// form calls an action in the Query protocol; params are name and value.
func (b *bed) form(action string, params ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	v := url.Values{"Action": {action}, "Version": {"2010-08-01"}}
	for i := 0; i < len(params); i += 2 {
		v.Set(params[i], params[i+1])
	}
	return b.do("AKIATEST", "/", []byte(v.Encode()), "Content-Type", "application/x-www-form-urlencoded")
}

// json calls an action in the JSON protocol.
func (b *bed) json(action, input string) (int, map[string]any) {
	b.t.Helper()
	w := b.do("AKIATEST", "/", []byte(input), "X-Amz-Target", cloudwatch.Target+action, "Content-Type", "application/x-amz-json-1.0")
	var out map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		b.t.Fatalf("%s: %v in %s", action, err, w.Body)
	}
	if code, _ := out["__type"].(string); code != "" {
		out["code"] = strings.TrimPrefix(code, "com.amazonaws.cloudwatch#")
	}
	return w.Code, out
}

// end takes an instance out of the state.
func (b *bed) end(ids ...string) {
	b.t.Helper()
	err := b.db.Update(b.t.Context(), func(tx *state.Tx) error {
		for _, id := range ids {
			state.Remove(tx, b.db.Instances, id)
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
}
