//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"openimds/internal/config"
	"openimds/internal/instance"
	"openimds/internal/testnet"
)

// guestClients are run inside instances that are network namespaces.
var guestClients = map[string]func() (keys, error){
	"aws-sdk-go-v2":      imdsRole,
	"aws-sdk-go-v2 IPv6": imdsIdentity,
}

// builtInClient is aws-sdk-go-v2 with the address of a family that it has built
// in. It falls back to nothing that needs no token.
func builtInClient(mode imds.EndpointModeState) *imds.Client {
	return imds.New(imds.Options{EndpointMode: mode, ClientEnableState: imds.ClientEnabled, EnableFallback: aws.FalseTernary})
}

// imdsRole finds the role's name by itself.
func imdsRole() (k keys, err error) {
	got, err := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = builtInClient(imds.EndpointModeStateIPv4) }).Retrieve(context.Background())
	return keys{got.AccessKeyID, got.SecretAccessKey, got.SessionToken}, err
}

// imdsIdentity returns the instance's identifier as the key's.
func imdsIdentity() (k keys, err error) {
	got, err := builtInClient(imds.EndpointModeStateIPv6).GetInstanceIdentityDocument(context.Background(), nil)
	if err == nil {
		k.ID = got.InstanceID
	}
	return k, err
}

// network is a running `imds dev --netns`.
type network struct {
	*program
	state string
}

func startNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{state: t.TempDir()}
	n.program = start(t, map[string]string{"netns": "true", "state": n.state})
	return n
}

// in runs a command inside an instance.
func (n *network) in(t *testing.T, env []string, id string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	return command(t, env, executable, append([]string{"exec", "--state", n.state, id, "--"}, args...)...)
}

// fetch runs a client inside an instance.
func (n *network) fetch(t *testing.T, name string, in *instance.Instance) (k keys, err error) {
	t.Helper()
	self := check[string](t)(os.Executable())
	env := append([]string{clientVariable + "=" + name}, testnet.Environ()...)
	if in.Role != nil {
		env = append(env, "ROLE="+in.Role.Name)
	}
	stdout, stderr, err := n.in(t, env, in.ID, self)
	if err != nil {
		return k, fmt.Errorf("%s: %w: %s", name, err, stderr)
	}
	return k, json.Unmarshal([]byte(stdout), &k)
}

// curl asks from inside an instance.
func (n *network) curl(t *testing.T, id string, args ...string) (string, error) {
	t.Helper()
	stdout, _, err := n.in(t, nil, id, append([]string{"curl", "-sS", "-g", "-m", "2", "-f"}, args...)...)
	return stdout, err
}

// Every program with the clouds' own addresses in it finds them in instances
// that are network namespaces, and nothing outside notices.
func TestNetwork(t *testing.T) {
	n := startNetwork(t)
	samples := config.Samples()
	t.Run("curl", func(t *testing.T) {
		for _, in := range samples {
			url := map[string]string{"ec2": "http://169.254.169.254", "ecs": "http://100.100.100.200"}[in.Dialect]
			if len(in.Primary().IPv4) == 0 {
				url = "http://[fd00:ec2::254]"
			}
			got, err := n.curl(t, in.ID, url+"/latest/meta-data/instance-id")
			switch {
			case in.Metadata.EndpointDisabled() || in.Metadata.TokensRequired():
				if err == nil {
					t.Errorf("%s: %q without a token", in.ID, got)
				}
			case err != nil || got != in.ID:
				t.Errorf("%s is %q, %v", in.ID, got, err)
			}
		}
	})
	t.Run("overlapping networks", func(t *testing.T) {
		for _, tt := range []struct{ dialect, url string }{{"ec2", "http://169.254.169.254"}, {"ecs", "http://100.100.100.200"}} {
			one := sample(t, tt.dialect, optional)
			twin := one.ID[:len(one.ID)-4] + "0009"
			for range 3 {
				for _, id := range []string{one.ID, twin} {
					if got, err := n.curl(t, id, tt.url+"/latest/meta-data/instance-id"); err != nil || got != id {
						t.Errorf("%s is %q, %v", id, got, err)
					}
				}
			}
		}
	})
	t.Run("container", func(t *testing.T) {
		in := sample(t, "ec2", optional)
		if got, err := n.curl(t, in.ID+"/container", "http://169.254.169.254/latest/meta-data/instance-id"); err != nil || got != in.ID {
			t.Errorf("%q, %v", got, err)
		}
		put := []string{"-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60", "http://169.254.169.254/latest/api/token"}
		if _, err := n.curl(t, in.ID, put...); err != nil {
			t.Errorf("no token for the instance: %v", err)
		}
		if got, err := n.curl(t, in.ID+"/container", put...); err == nil {
			t.Errorf("a token one hop too far: %d bytes", len(got))
		}
		for end := time.Now().Add(15 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			var u struct{ HopLimitSuspects int }
			if err := json.Unmarshal([]byte(get(t, http.DefaultClient, n.control+"/v1/usage?instance="+in.ID)), &u); err != nil {
				t.Fatal(err)
			}
			if u.HopLimitSuspects == 1 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%d answers counted that did not arrive, want 1", u.HopLimitSuspects)
			}
		}
	})
	t.Run("SDKs", func(t *testing.T) {
		for _, tt := range []struct{ client, dialect, source string }{
			{"aws-sdk-go-v2", "ec2", optional}, {"aws-sdk-go-v2", "ec2", required},
			{"credentials-go", "ecs", optional}, {"credentials-go", "ecs", required}, {"alibaba-cloud-sdk-go", "ecs", required},
		} {
			in := sample(t, tt.dialect, tt.source)
			if in.Role == nil {
				t.Errorf("%s has no role", in.ID)
				continue
			}
			got, err := n.fetch(t, tt.client, in)
			roleKeys(t, got, err, in)
		}
		six := sample(t, "ec2", "127.0.0.4")
		if got, err := n.fetch(t, "aws-sdk-go-v2 IPv6", six); err != nil || got.ID != six.ID {
			t.Errorf("over IPv6 it is %q, %v", got.ID, err)
		}
	})
	t.Run("cloud-init", func(t *testing.T) {
		for _, tt := range []struct{ source, dialect, from, url string }{
			{"Ec2", "ec2", optional, "http://169.254.169.254"}, {"Ec2", "ec2", required, "http://169.254.169.254"},
			{"AliYun", "ecs", optional, "http://100.100.100.200"},
		} {
			in := sample(t, tt.dialect, tt.from)
			b := n.boot(t, tt.source, tt.url, in)
			b.common(t, in)
			equal(t, "host name", b.Hostname, in.Hostname)
		}
	})
	t.Run("launch", func(t *testing.T) { n.launch(t) })
	t.Run("the tests' own namespace", func(t *testing.T) {
		out := check[[]byte](t)(exec.Command("ip", "route", "show", "table", "all").CombinedOutput())
		out = append(out, check[[]byte](t)(exec.Command("ip", "-6", "route", "show", "table", "all").CombinedOutput())...)
		out = append(out, check[[]byte](t)(exec.Command("ip", "-br", "link").CombinedOutput())...)
		for _, bad := range []string{"169.254", "100.100", "fd00", "lab-"} {
			if strings.Contains(string(out), bad) {
				t.Errorf("%s is in the namespace of the program:\n%s", bad, out)
			}
		}
	})
	n.stop(t)
	if _, stderr, err := n.in(t, nil, samples[0].ID, "true"); err == nil || !strings.Contains(stderr, "no imds dev --netns is running") {
		t.Errorf("after the end: %v, %s", err, stderr)
	}
	if _, err := os.Stat(filepath.Join(n.state, "netns.json")); err == nil {
		t.Error("its file is left")
	}
}

// boot lets cloud-init crawl inside an instance.
func (n *network) boot(t *testing.T, source, url string, in *instance.Instance) (b booted) {
	t.Helper()
	dir, _ := debian(t, "cloud-init")
	py := python(t, "configobj")
	work := t.TempDir()
	conf := filepath.Join(work, "datasource.cfg")
	text := fmt.Sprintf("datasource:\n  %s:\n    metadata_urls: [%q]\n    max_wait: 3\n    timeout: 2\n    strict_id: true\n", source, url)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, err := n.in(t, nil, in.ID, "unshare", "--mount", "--", "sh", "-c", `mount -t sysfs sysfs /sys && exec "$@"`, "sh",
		py, "testdata/cloudinit.py", filepath.Join(dir, "usr/lib/python3/dist-packages"), source, conf, work)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &b); err != nil {
		t.Fatalf("%v in %s\n%s", err, stdout, stderr)
	}
	b.log = stderr
	return b
}

// launch lets the AWS CLI launch an instance, which is a namespace then, and
// end it, after which it is none.
func (n *network) launch(t *testing.T) {
	testnet.Need(t, "the AWS CLI (scripts/install-test-deps)", exec.Command("/usr/bin/aws", "--version").Run() == nil)
	env := []string{
		"AWS_EC2_METADATA_DISABLED=true", "AWS_ACCESS_KEY_ID=AKIAIMDSDEV000000000", "AWS_SECRET_ACCESS_KEY=imds-dev-secret",
		"AWS_DEFAULT_REGION=us-east-1", "AWS_PAGER=",
	}
	aws := func(args ...string) string {
		t.Helper()
		stdout, stderr, err := command(t, env, "/usr/bin/aws", append([]string{"--endpoint-url", n.control, "ec2"}, args...)...)
		if err != nil {
			t.Fatalf("aws %v: %v\n%s", args, err, stderr)
		}
		return strings.TrimSpace(stdout)
	}
	id := aws("run-instances", "--image-id", "ami-0123456789abcdef0", "--instance-type", "m7g.large", "--metadata-options", "HttpTokens=optional", "--query", "Instances[0].InstanceId", "--output", "text")
	var got string
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		// The listener on its interface opens a moment after the answer.
		if got, err = n.curl(t, id, "http://169.254.169.254/latest/meta-data/instance-id"); err == nil {
			break
		}
	}
	if err != nil || got != id {
		t.Errorf("%s is %q, %v", id, got, err)
	}
	aws("terminate-instances", "--instance-ids", id)
	if _, stderr, err := n.in(t, nil, id, "true"); err == nil || !strings.Contains(stderr, "there is no") {
		t.Errorf("it is still a namespace: %v %s", err, stderr)
	}
}

// A lab that was killed leaves nothing, and the next one says nothing about
// it.
func TestNetworkKilled(t *testing.T) {
	n := startNetwork(t)
	if err := n.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = n.cmd.Wait()
	n.stopped = true
	stdout, stderr, err := command(t, nil, executable, "dev", "--netns", "--cleanup", "--state", n.state)
	if err != nil || !strings.Contains(stdout, "cleaned up") {
		t.Errorf("%v %s%s", err, stdout, stderr)
	}
	files := check[[]os.DirEntry](t)(os.ReadDir(n.state))
	if slices.ContainsFunc(files, func(f os.DirEntry) bool { return strings.Contains(f.Name(), "netns") }) {
		t.Errorf("left: %v", files)
	}
	start(t, map[string]string{"netns": "true", "state": n.state}).stop(t)
}
