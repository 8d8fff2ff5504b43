package awssts_test

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"openimds/internal/api/sigv4"
	"openimds/internal/creds"
	"openimds/internal/creds/awssts"
	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/testnet"
)

func TestMain(m *testing.M) { testnet.Isolate(m) }

const (
	keyID, keySecret = "AKIABROKER", "hidden-broker-secret"
	madeSecret       = "hidden-made-secret"
)

// upstream is an STS that checks signatures, and misbehaves as told.
type upstream struct {
	t     *testing.T
	delay time.Duration
	fail  atomic.Pointer[failure] // nil: it answers
	calls atomic.Int64
}

type failure struct {
	status        int
	code, message string
}

// ServeHTTP answers AssumeRole.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.calls.Add(1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		u.t.Error(err)
	}
	time.Sleep(u.delay)
	_, err = sigv4.Verify(r, body, sigv4.Config{
		Now: time.Now(), Regions: []string{"eu-central-1"}, Services: []string{"sts"},
		Lookup: func(id, _ string) (sigv4.Credentials, error) {
			if id != keyID {
				return sigv4.Credentials{}, sigv4.ErrUnknownKey
			}
			return sigv4.Credentials{AccessKeyID: id, SecretKey: keySecret}, nil
		},
	})
	f := u.fail.Load()
	if err != nil {
		f = &failure{403, "SignatureDoesNotMatch", "canonical request: " + strings.ReplaceAll(string(body), "&", "&amp;")}
	}
	if f != nil {
		w.WriteHeader(f.status)
		fmt.Fprintf(w, `<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>%d</RequestId></ErrorResponse>`, f.code, f.message, u.calls.Load())
		return
	}
	p, err := url.ParseQuery(string(body))
	if err != nil || p.Get("Action") != "AssumeRole" || p.Get("RoleArn") != "arn:aws:iam::111122223333:role/up-web" || p.Get("RoleSessionName") != "i-1" || p.Get("DurationSeconds") != "3600" {
		u.t.Errorf("asked for %v, %v", p, err)
	}
	_ = xml.NewEncoder(w).EncodeElement(struct {
		ID      string `xml:"AssumeRoleResult>Credentials>AccessKeyId"`
		Secret  string `xml:"AssumeRoleResult>Credentials>SecretAccessKey"`
		Token   string `xml:"AssumeRoleResult>Credentials>SessionToken"`
		Expires string `xml:"AssumeRoleResult>Credentials>Expiration"`
	}{"ASIAUP", madeSecret, "hidden-token", time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}, xml.StartElement{Name: xml.Name{Local: "AssumeRoleResponse"}})
}

func start(t *testing.T) (*upstream, *httptest.Server) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	u := &upstream{t: t}
	s := httptest.NewServer(u)
	t.Cleanup(s.Close)
	return u, s
}

func source(endpoint, secret string) *awssts.Source {
	return awssts.New(awssts.Config{
		Region: "eu-central-1", Endpoint: endpoint, RoleARN: "arn:aws:iam::111122223333:role/up-{role}",
		Keys: func() (instance.Credentials, error) {
			return instance.Credentials{AccessKeyID: keyID, AccessKeySecret: secret}, nil
		},
	})
}

func request() creds.Request {
	return creds.Request{Instance: &instance.Instance{ID: "i-1", Dialect: "ec2", Account: "1", Role: &instance.Role{Name: "web"}}, Delivery: "2.0"}
}

func TestFetch(t *testing.T) {
	_, s := start(t)
	k, err := source(s.URL, keySecret).Fetch(t.Context(), request())
	if err != nil || k.AccessKeyID != "ASIAUP" || k.AccessKeySecret != madeSecret || time.Until(k.Expires) < 59*time.Minute || k.Updated.IsZero() {
		t.Errorf("%v, %v", k, err)
	}
}

func TestFailures(t *testing.T) {
	u, s := start(t)
	for name, c := range map[string]struct {
		fail   *failure
		secret string
		kind   fault.Kind
		calls  int64
	}{
		"refused":     {&failure{403, "AccessDenied", "User is not authorized"}, keySecret, fault.Denied, 1},
		"wrong key":   {nil, "another", fault.Denied, 1},
		"throttled":   {&failure{400, "Throttling", "Rate exceeded"}, keySecret, fault.Throttled, 2},
		"broken":      {&failure{500, "InternalFailure", "oops"}, keySecret, fault.Unavailable, 2},
		"bad gateway": {&failure{502, "", ""}, keySecret, fault.Unavailable, 2},
	} {
		t.Run(name, func(t *testing.T) {
			u.fail.Store(c.fail)
			before := u.calls.Load()
			k, err := source(s.URL, c.secret).Fetch(t.Context(), request())
			if k != nil || fault.KindOf(err) != c.kind || u.calls.Load()-before != c.calls {
				t.Errorf("%v after %d calls, want %v after %d", err, u.calls.Load()-before, c.kind, c.calls)
			}
			if strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "canonical") {
				t.Errorf("the error says too much: %v", err)
			}
		})
	}
}

// TestCause: the operator is told why STS refuses, unless it quotes what only
// the role's owner and the broker know.
func TestCause(t *testing.T) {
	u, s := start(t)
	for _, c := range []struct{ code, message, want string }{
		{"AccessDenied", "User is not authorized", "User is not authorized"},
		{"ValidationError", "DurationSeconds exceeds the MaxSessionDuration", "DurationSeconds exceeds the MaxSessionDuration"},
		{"ValidationError", "Value 'hidden-id' at 'externalId' failed", "STS answered ValidationError"},
		{"AccessDenied", "hidden-id is not the external id", "STS answered AccessDenied"},
		{"ExpiredToken", "hidden", "STS answered ExpiredToken"},
	} {
		u.fail.Store(&failure{400, c.code, c.message})
		from := awssts.New(awssts.Config{
			Region: "eu-central-1", Endpoint: s.URL, ExternalID: "hidden-id",
			Keys: func() (instance.Credentials, error) {
				return instance.Credentials{AccessKeyID: keyID, AccessKeySecret: keySecret}, nil
			},
		})
		_, err := from.Fetch(t.Context(), request())
		if fault.KindOf(err) != fault.Denied || !strings.HasSuffix(err.Error(), c.want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s, %q: %v", c.code, c.message, err)
		}
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
	if _, err := source(s.URL, keySecret).Fetch(t.Context(), request()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("closed: %v", err)
	}
}
