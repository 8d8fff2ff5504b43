//go:build linux

package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"openimds/internal/testnet"
)

// fetched is what testdata/botocore_imds.py prints.
type fetched struct {
	Role struct {
		Name       string `json:"role_name"`
		AccessKey  string `json:"access_key"`
		SecretKey  string `json:"secret_key"`
		Token      string
		ExpiryTime time.Time `json:"expiry_time"`
	}
	Region string
	Chain  []string
}

func TestBotocore(t *testing.T) {
	py := python(t, "boto3")
	for _, c := range []struct {
		name, source string
		builtIn      bool
	}{
		{"endpoint given", optional, false},
		{"built-in address", optional, true},
		{"built-in address, tokens required", required, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p *program
			args := []string{"testdata/botocore_imds.py"}
			env := []string{"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null"}
			if c.builtIn {
				p = builtIn(t, "ec2", c.source)
			} else {
				p = start(t, nil)
				args = append(args, p.ec2)
				env = append(env, "AWS_EC2_METADATA_SERVICE_ENDPOINT="+p.ec2)
			}
			in := sample(t, "ec2", c.source)
			stdout, stderr, err := command(t, env, py, args...)
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr)
			}
			var got fetched
			if err := json.Unmarshal([]byte(stdout), &got); err != nil {
				t.Fatalf("%v in %s", err, stdout)
			}
			want := in.Role.Credentials
			equal(t, "region", got.Region, in.Region)
			equal(t, "role", got.Role.Name, in.Role.Name)
			equal(t, "access key id", got.Role.AccessKey, want.AccessKeyID)
			equal(t, "secret", got.Role.SecretKey == want.AccessKeySecret, true)
			equal(t, "token", got.Role.Token == want.SessionToken, true)
			if time.Until(got.Role.ExpiryTime) <= 0 {
				t.Errorf("the credentials expired at %v", got.Role.ExpiryTime)
			}
			equal(t, "boto3's default chain", strings.Join(got.Chain, " ") ==
				strings.Join([]string{want.AccessKeyID, want.AccessKeySecret, want.SessionToken}, " "), true)
			if u := p.usage(t, in.ID); u.TokensMinted == 0 || u.TokenFreeServed+u.TokenFreeRejected+u.BadToken != 0 {
				t.Errorf("botocore uses tokens; counted: %+v", u)
			}
		})
	}
}

// TestAWSCLI pastes the lines that `imds dev` prints for the command line
// client.
func TestAWSCLI(t *testing.T) {
	const aws = "/usr/bin/aws" // Debian's, whichever comes first in PATH
	_, err := exec.LookPath(aws)
	testnet.Need(t, "Debian's awscli (scripts/install-test-deps)", err == nil)
	p := start(t, nil)
	in := sample(t, "ec2", optional)
	var script []string
	for _, line := range p.lines {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "export AWS_") {
			script = append(script, line)
		}
	}
	script = append(script, aws+" configure list")
	stdout, stderr, err := command(t, nil, "bash", "-eu", "-c", strings.Join(script, "\n"))
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	key := in.Role.Credentials.AccessKeyID
	for _, want := range []string{"iam-role", key[len(key)-4:], in.Region} {
		if !strings.Contains(stdout, want) {
			t.Errorf("want %q in\n%s", want, stdout)
		}
	}
}
