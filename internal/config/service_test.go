package config_test

import (
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
`))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"x.yaml:2:", "throttle.rate", "x.yaml:4:", "at most 5s", "x.yaml:6:", `"maybe"`, "x.yaml:7:", "hosts[0]", "x.yaml:8:", `"md5"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	if _, err := config.ParseService("x.yaml", []byte("throtle: {rate: 1}")); err == nil || !strings.Contains(err.Error(), "throttle") {
		t.Errorf("a misspelt key: %v", err)
	}
	if _, err := config.LoadService(t.TempDir() + "/none"); err == nil {
		t.Error("a file that does not exist is accepted")
	}
}
