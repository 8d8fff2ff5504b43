package config_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"openimds/internal/config"
)

func TestParseService(t *testing.T) {
	s, err := config.ParseService("x.yaml", []byte(`
throttle: {rate: 100}
limits: {connectionsPerInstance: 8, headerTimeout: 2s}
hosts: [metadata.internal]
security: {ec2ForwardedReads: allow, ecsForwardedReads: refuse}
identity: {ec2Pkcs7: true, ecsDigest: sha256}
monitoring:
  cloudMonitor:
    namespace: acs_ecs_dashboard
    metrics: {normalSuccess: metadata.v1, throttled: normal_success}
`))
	if err != nil {
		t.Fatal(err)
	}
	if s.Throttle.Burst != 100 || s.Limits.HeaderTimeout != 2*time.Second || s.Limits.ConnectionsPerInstance != 8 {
		t.Errorf("%+v", s)
	}
	if !s.Identity.EC2PKCS7 || s.Identity.ECSDigest != config.SHA256 {
		t.Errorf("identity: %+v", s.Identity)
	}
	if m := s.Monitoring.CloudMonitor; m.Namespace != "acs_ecs_dashboard" || !maps.Equal(m.Metrics.Of(), map[string]string{"normal_success": "metadata.v1", "throttled": "normal_success"}) {
		t.Errorf("monitoring: %+v", m)
	}
	if reads := s.Security.ForwardedReads(); !reads["ec2"] || reads["ecs"] || len(reads) != 2 {
		t.Errorf("forwarded reads: %v", reads)
	}
	if reads := (config.Security{}).ForwardedReads(); len(reads) != 0 {
		t.Errorf("without a choice: %v", reads)
	}
}

func TestParseServiceProblems(t *testing.T) {
	_, err := config.ParseService("x.yaml", []byte(`throttle:
  rate: -1
limits:
  headerTimeout: 6s
security:
  ec2ForwardedReads: maybe
hosts: [""]
identity: {ecsDigest: md5}
monitoring:
  cloudMonitor:
    namespace: a b
    metrics:
      normalSuccess: throttled
      tokenSuccess: x
      hardenedSuccess: x
      normalRejected: ümlaut
`))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"x.yaml:2:", "throttle.rate", "x.yaml:4:", "at most 5s", "x.yaml:6:", `"maybe"`, "x.yaml:7:", "hosts[0]", "x.yaml:8:", `"md5"`,
		"x.yaml:11:", `"a b"`, "x.yaml:13:", "which throttled is called, too", "x.yaml:14:", "which hardenedSuccess is called, too", "x.yaml:16:", "letters, digits"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	if _, err := config.ParseService("x.yaml", []byte("throtle: {rate: 1}")); err == nil || !strings.Contains(err.Error(), "throttle") {
		t.Errorf("a misspelt key: %v", err)
	}
	if _, err := config.ParseService("x.yaml", []byte("monitoring: {cloudMonitor: {metrics: {normalSucess: x}}}")); err == nil || !strings.Contains(err.Error(), "did you mean normalSuccess?") {
		t.Errorf("a misspelt name: %v", err)
	}
	if _, err := config.LoadService(t.TempDir() + "/none"); err == nil {
		t.Error("a file that does not exist is accepted")
	}
}
