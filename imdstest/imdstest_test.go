package imdstest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"openimds/imdstest"
	"openimds/internal/testnet"
)

// The examples run clients that have real addresses built in.
func TestMain(m *testing.M) { testnet.Isolate(m) }

var spotTime = time.Date(2030, 1, 1, 8, 0, 0, 0, time.UTC)

func get(t *testing.T, in *imdstest.Instance, path string) (int, string, error) {
	t.Helper()
	res, err := http.Get(in.URL() + path)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

func want(t *testing.T, in *imdstest.Instance, path string, status int, text string) {
	t.Helper()
	if got, body, err := get(t, in, path); err != nil || got != status || !strings.Contains(body, text) {
		t.Errorf("%s: %d %.200q %v, want %d with %q", path, got, body, err, status, text)
	}
}

func update(t *testing.T, in *imdstest.Instance, c imdstest.Change) {
	t.Helper()
	if err := in.Update(c); err != nil {
		t.Fatal(err)
	}
}

func TestDefault(t *testing.T) {
	srv := imdstest.New(t)
	want(t, srv.EC2(), "/latest/meta-data/instance-id", 200, srv.EC2().ID())
	want(t, srv.ECS(), "/latest/meta-data/instance-id", 200, srv.ECS().ID())
	env := srv.Env()
	for _, v := range []string{"AWS_EC2_METADATA_SERVICE_ENDPOINT=" + srv.EC2().URL() + "/", "ALIBABA_CLOUD_IMDS_ENDPOINT=" + srv.ECS().URL()} {
		if !slices.Contains(env, v) {
			t.Errorf("%s is not in %v", v, env)
		}
	}
}

func TestChanges(t *testing.T) {
	srv := imdstest.New(t, imdstest.EC2(), imdstest.EC2(imdstest.Required), imdstest.ECS())
	one, two, ecs := srv.Instances()[0], srv.Instances()[1], srv.Instances()[2]
	if one.ID() == two.ID() {
		t.Fatal("two instances have one id")
	}
	want(t, one, "/latest/meta-data/", 200, "")
	want(t, two, "/latest/meta-data/", 401, "")
	update(t, one, imdstest.Required)
	update(t, two, imdstest.Optional)
	want(t, one, "/latest/meta-data/", 401, "")
	want(t, two, "/latest/meta-data/instance-id", 200, two.ID())
	update(t, two, imdstest.Disabled)
	want(t, two, "/latest/meta-data/", 403, "")
	update(t, two, imdstest.Enabled)
	update(t, two, imdstest.Role("other"))
	want(t, two, "/latest/meta-data/iam/security-credentials/", 200, "other")
	update(t, two, imdstest.NoRole)
	want(t, two, "/latest/meta-data/iam/", 404, "")
	update(t, two, imdstest.Credentials("ASIAX", "s", "t", spotTime))
	want(t, two, "/latest/meta-data/iam/security-credentials/imdstest", 200, `"ASIAX"`)
	update(t, ecs, imdstest.Tags(map[string]string{"team": "blue"}))
	want(t, ecs, "/latest/meta-data/tags/instance/", 200, "team")
	update(t, ecs, imdstest.UserData([]byte("hello")))
	want(t, ecs, "/latest/user-data", 200, "hello")
	update(t, ecs, imdstest.SpotInterruption("terminate", spotTime))
	want(t, ecs, "/latest/meta-data/instance/spot/termination-time", 200, "2030-01-01T08:00:00Z")
	update(t, two, imdstest.RebalanceRecommendation(spotTime))
	want(t, two, "/latest/meta-data/events/recommendations/rebalance", 200, "2030-01-01T08:00:00Z")

	err := two.Update(func(s *imdstest.Spec) { s.Metadata.HTTPTokens = "sometimes" })
	if err == nil || !strings.Contains(err.Error(), "sometimes") {
		t.Errorf("a wrong change: %v", err)
	}
	want(t, two, "/latest/meta-data/instance-id", 200, two.ID())
	if _, _, err := imdstest.Start(imdstest.EC2(func(s *imdstest.Spec) { s.Interfaces = nil })); err == nil {
		t.Error("an instance without interfaces was started")
	}
}

// SDKs retry what the service throws at them, and succeed.
func TestFaults(t *testing.T) {
	in := imdstest.New(t, imdstest.EC2()).EC2()
	client := imds.New(imds.Options{Endpoint: in.URL()})
	for name, f := range map[string]imdstest.Fault{
		"5xx":      {Status: 500, Times: 1},
		"throttle": {Throttle: true, Times: 1},
		"reset":    {Reset: true, Times: 1},
		"delay":    {Delay: 50 * time.Millisecond, Times: 1},
		"token":    {Path: "/latest/api/token", Status: 503, Times: 1},
	} {
		in.Inject(f)
		if out, err := client.GetRegion(t.Context(), nil); err != nil || out.Region == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	in.Inject(imdstest.Fault{Reset: true})
	if _, _, err := get(t, in, "/"); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("reset: %v", err)
	}
	in.Inject(imdstest.Fault{Throttle: true})
	want(t, in, "/", 503, "")
	in.Heal()
	want(t, in, "/", 200, "latest")
	if in.Usage().Throttled < 2 {
		t.Errorf("usage %+v", in.Usage())
	}
}

func TestExpiredCredentials(t *testing.T) {
	var mu sync.Mutex
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	in := imdstest.New(t, imdstest.Clock(clock), imdstest.EC2(imdstest.Role("r"))).EC2()
	retrieve := func() time.Time {
		t.Helper()
		client := imds.New(imds.Options{Endpoint: in.URL()})
		creds, err := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = client }).Retrieve(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return creds.Expires
	}
	want(t, in, "/latest/meta-data/iam/security-credentials/r", 200, "2026-05-01T")
	if err := in.ExpireCredentials(); err != nil {
		t.Fatal(err)
	}
	want(t, in, "/latest/meta-data/iam/security-credentials/r", 200, `"2026-04-30T23:59:00Z"`)
	_ = retrieve() // an SDK takes the expired set without an error; it is its caller that must look
}

func TestTokensExpireWithTheClock(t *testing.T) {
	var mu sync.Mutex
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	in := imdstest.New(t, imdstest.Clock(clock), imdstest.EC2(imdstest.Required)).EC2()
	do := func(method, path, header, value string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, in.URL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(header, value)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	_, tok := do("PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
	if status, _ := do("GET", "/latest/meta-data/", "X-aws-ec2-metadata-token", tok); status != 200 {
		t.Errorf("fresh: %d", status)
	}
	mu.Lock()
	now = now.Add(time.Minute)
	mu.Unlock()
	if status, _ := do("GET", "/latest/meta-data/", "X-aws-ec2-metadata-token", tok); status != 401 {
		t.Errorf("expired: %d", status)
	}
	_, tok = do("PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
	update(t, in, imdstest.RevokeTokens)
	if status, _ := do("GET", "/latest/meta-data/", "X-aws-ec2-metadata-token", tok); status != 401 {
		t.Errorf("revoked: %d", status)
	}
}
