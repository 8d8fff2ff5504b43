package alists_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"openimds/internal/api/alisign"
	"openimds/internal/creds"
	"openimds/internal/creds/alists"
	"openimds/internal/fault"
	"openimds/internal/instance"
)

const keyID, keySecret = "LTAIbroker", "hidden-broker-secret"

// upstream is an STS that checks signatures, and misbehaves as told.
type upstream struct {
	t      *testing.T
	delay  time.Duration
	nonces *alisign.Nonces
	fail   atomic.Pointer[failure] // nil: it answers
}

type failure struct {
	status int
	body   string
}

// ServeHTTP answers AssumeRole.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		u.t.Error(err)
	}
	time.Sleep(u.delay)
	if f := u.fail.Load(); f != nil {
		w.WriteHeader(f.status)
		_, _ = io.WriteString(w, f.body)
		return
	}
	signed, err := alisign.Verify(r, body, alisign.Config{
		Now: time.Now(), Nonces: u.nonces,
		Lookup: func(id, _ string) (alisign.Credentials, error) {
			if id != keyID {
				return alisign.Credentials{}, alisign.ErrUnknownKey
			}
			return alisign.Credentials{AccessKeyID: id, AccessKeySecret: keySecret}, nil
		},
	})
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"Code": alisign.SignatureDoesNotMatch, "Message": "server string to sign is: hidden"})
		return
	}
	p := signed.Params
	if signed.Action != "AssumeRole" || signed.Version != "2015-04-01" || p["RoleArn"] != "acs:ram::42:role/up-web" || p["RoleSessionName"] != "i-1" || p["DurationSeconds"] != "3600" {
		u.t.Errorf("asked for %s of %s with %v", signed.Action, signed.Version, p)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"RequestId": "1", "Credentials": map[string]string{
		"AccessKeyId": "STS.UP", "AccessKeySecret": "hidden-made-secret", "SecurityToken": "hidden-token", "Expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
	}})
}

func start(t *testing.T) (*upstream, *httptest.Server) {
	u := &upstream{t: t, nonces: alisign.NewNonces(alisign.NonceWindow, 1000)}
	s := httptest.NewServer(u)
	t.Cleanup(s.Close)
	return u, s
}

func source(endpoint, secret string) *alists.Source {
	return alists.New(alists.Config{
		Endpoint: endpoint, RoleARN: "acs:ram::42:role/up-{role}",
		Keys: func() (instance.Credentials, error) {
			return instance.Credentials{AccessKeyID: keyID, AccessKeySecret: secret}, nil
		},
	})
}

func request() creds.Request {
	return creds.Request{Instance: &instance.Instance{ID: "i-1", Dialect: "ecs", Account: "1", Role: &instance.Role{Name: "web"}}, Delivery: "2.0"}
}

func TestFetch(t *testing.T) {
	_, s := start(t)
	for range 3 { // each with a nonce of its own
		k, err := source(s.URL, keySecret).Fetch(t.Context(), request())
		if err != nil || k.AccessKeyID != "STS.UP" || k.SessionToken != "hidden-token" || time.Until(k.Expires) < 59*time.Minute {
			t.Errorf("%v, %v", k, err)
		}
	}
}

func TestFailures(t *testing.T) {
	u, s := start(t)
	for name, c := range map[string]struct {
		fail   *failure
		secret string
		kind   fault.Kind
	}{
		"refused":        {&failure{403, `{"Code":"NoPermission","Message":"hidden"}`}, keySecret, fault.Denied},
		"no such role":   {&failure{404, `{"Code":"EntityNotExist.Role","Message":"hidden"}`}, keySecret, fault.NotFound},
		"wrong key":      {nil, "another", fault.Denied},
		"throttled":      {&failure{400, `{"Code":"Throttling.User"}`}, keySecret, fault.Throttled},
		"broken":         {&failure{500, `{"Code":"InternalError"}`}, keySecret, fault.Unavailable},
		"a gateway":      {&failure{502, `<html>hidden</html>`}, keySecret, fault.Unavailable},
		"a redirect":     {&failure{302, ``}, keySecret, fault.Unavailable},
		"no JSON":        {&failure{200, `<hidden/>`}, keySecret, fault.Unavailable},
		"half an answer": {&failure{200, `{"Credentials":{"AccessKeyId":"STS.UP"}}`}, keySecret, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			u.fail.Store(c.fail)
			k, err := source(s.URL, c.secret).Fetch(t.Context(), request())
			if k != nil || fault.KindOf(err) != c.kind || strings.Contains(err.Error(), "hidden") {
				t.Errorf("%v, want %v", err, c.kind)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	u, s := start(t)
	u.delay = 300 * time.Millisecond
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := source(s.URL, keySecret).Fetch(ctx, request()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("slow: %v", err)
	}
	s.Close()
	if _, err := source(s.URL, keySecret).Fetch(t.Context(), request()); fault.KindOf(err) != fault.Unavailable || strings.Contains(err.Error(), "RoleSessionName") {
		t.Errorf("closed: %v", err)
	}
}
