//go:build linux

package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"openimds/internal/testnet"
)

// TestRoleOfNpm is @aws-sdk/credential-providers from the metadata service of
// `imds dev`, in hardening mode, to calls that are accepted, and refused once
// the role was changed.
func TestRoleOfNpm(t *testing.T) {
	p := start(t, map[string]string{"sample-credentials": "false"})
	in := sample(t, "ec2", optional) // it is here that the client calls from
	operate := func(args ...string) {
		t.Helper()
		if _, stderr, err := command(t, nil, executable, append(args, "--server", p.control)...); err != nil {
			t.Fatalf("imds %v: %v\n%s", args, err, stderr)
		}
	}
	operate("set-options", in.ID, "--http-tokens", "required")
	c := startScript(t, connection{Endpoint: p.control, Region: in.Region},
		"env", "AWS_EC2_METADATA_SERVICE_ENDPOINT="+p.ec2, node(t), "testdata/npm/role_ec2.js")

	var k struct {
		AccessKeyID, SecretAccessKey, SessionToken string
		Expiration                                 time.Time
	}
	must(t, c.ask("call", "credentials", values{}, &k))
	testnet.Secret(t, k.SecretAccessKey)
	testnet.Secret(t, k.SessionToken)
	if k.AccessKeyID == "" || time.Until(k.Expiration) < time.Hour {
		t.Errorf("key %q until %v", k.AccessKeyID, k.Expiration)
	}
	var found struct{ Reservations []any }
	must(t, c.ask("call", "DescribeInstances", values{}, &found))
	if len(found.Reservations) == 0 {
		t.Error("no instances are described")
	}
	told(t, "what the role may not do", c.ask("call", "DeleteKeyPair", values{"KeyName": "k"}, nil), "UnauthorizedOperation", http.StatusForbidden)

	role := check[[]byte](t)(json.Marshal(values{"kind": "roles", "dialect": "ec2", "account": in.Account, "name": in.Role.Name, "policies": []string{}}))
	path := filepath.Join(t.TempDir(), "role.json")
	must(t, os.WriteFile(path, role, 0o600))
	operate("apply", "-f", path)
	told(t, "after the policy was taken away", c.ask("call", "DescribeInstances", values{}, nil), "UnauthorizedOperation", http.StatusForbidden)
	if u := p.usage(t, in.ID); u.TokenFreeServed != 0 || u.TokensMinted == 0 {
		t.Errorf("usage %+v", u)
	}
}
