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
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "export AWS_EC2_") {
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

// TestAWSCLIControl pastes the lines for the control API: the mode that the
// CLI sets is in force when it returns.
func TestAWSCLIControl(t *testing.T) {
	const aws = "/usr/bin/aws"
	_, err := exec.LookPath(aws)
	testnet.Need(t, "Debian's awscli (scripts/install-test-deps)", err == nil)
	p := start(t, nil)
	in := sample(t, "ec2", optional)
	var script []string
	for _, line := range p.lines {
		line = strings.TrimSpace(line)
		if command, ok := strings.CutPrefix(line, "aws --endpoint-url"); ok {
			script = append(script, aws+" --endpoint-url"+command)
		} else if strings.HasPrefix(line, "export AWS_ACCESS_KEY_ID") {
			script = append(script, line)
		}
	}
	if len(script) != 3 {
		t.Fatalf("%d lines for the control API are printed, want 3", len(script))
	}
	stdout, stderr, err := command(t, nil, "bash", "-eu", "-c", strings.Join(script, "\n"))
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	for _, want := range []string{`"InstanceId": "` + in.ID + `"`, `"HttpTokens": "optional"`, `"HttpTokens": "required"`} {
		if !strings.Contains(stdout, want) {
			t.Errorf("want %q in\n%s", want, stdout)
		}
	}
	out, _, err := command(t, nil, "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", p.ec2+"/latest/meta-data/")
	if err != nil || out != "401" {
		t.Errorf("after the switch a request without a token gets %s, %v", out, err)
	}
}
