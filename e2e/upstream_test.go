//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"openimds/internal/testnet"
)

// upstream is an `imds dev` whose STS is the upstream of another service. What its
// answers say of how long sessions live is made short on the way, so that a test
// sees their end; to be down, the way is cut.
type upstream struct {
	*program
	sts  string // URL of the way to it
	cut  atomic.Bool
	life time.Duration
}

var expiration = regexp.MustCompile(`(Expiration(?:>|":\s*"))[0-9TZ:.-]+`)

func newUpstream(t *testing.T, life time.Duration) *upstream {
	t.Helper()
	c := &upstream{program: start(t, map[string]string{"sample-credentials": "false"}), life: life}
	proxy := &httputil.ReverseProxy{
		// The signature is for the host that the client knows.
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(check[*url.URL](t)(url.Parse(c.control)))
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(r *http.Response) error {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			body = expiration.ReplaceAll(body, []byte("${1}"+time.Now().Add(c.life).UTC().Format(time.RFC3339)))
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Length", strconv.Itoa(len(body)))
			return nil
		},
	}
	way := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.cut.Load() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(way.Close)
	c.sts = way.URL
	// A role for each dialect, which may be assumed in the account.
	for dialect, account := range map[string]string{"ec2": sample(t, "ec2", optional).Account, "ecs": sample(t, "ecs", optional).Account} {
		file := filepath.Join(t.TempDir(), "role.yaml")
		role := fmt.Sprintf("kind: roles\nname: backup\ndialect: %s\naccount: %q\npolicies: [AdministratorAccess]\ntrust: [%q]\n", dialect, account, account)
		must(t, os.WriteFile(file, []byte(role), 0o600))
		if _, stderr, err := command(t, nil, executable, "apply", "-f", file, "--server", c.control); err != nil {
			t.Fatalf("make the upstream's role: %v: %s", err, stderr)
		}
	}
	return c
}

// served is a running `imds serve`.
type served struct {
	ecs, ec2, control string // http://host:port
	log               *output
}

// serve runs `imds serve` with settings after those that every host has, until
// the test ends.
func serve(t *testing.T, dir, settings string) *served {
	t.Helper()
	testnet.RequireIsolated(t)
	key := filepath.Join(dir, "key")
	if _, stderr, err := command(t, nil, executable, "store", "key", key); err != nil {
		t.Fatalf("make a key: %v: %s", err, stderr)
	}
	file := filepath.Join(dir, "imds.yaml")
	must(t, os.WriteFile(file, []byte("state: state\nkey: ./key\ncontrol: {address: 127.0.0.1:0}\n"+settings), 0o600))
	s := &served{log: new(output)}
	cmd := testnet.Server(executable, "serve", "-c", file)
	cmd.Stderr = s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout := check[io.ReadCloser](t)(cmd.StdoutPipe())
	p := &program{stderr: s.log, cmd: cmd}
	must(t, cmd.Start())
	t.Cleanup(func() {
		p.stop(t)
		testnet.SaidFile(t, filepath.Join(dir, "state", "audit.log"))
		if t.Failed() {
			t.Logf("its log:\n%s", s.log)
		}
	})
	p.greeting(t, stdout)
	testnet.SecretFiles(t, key, filepath.Join(dir, "state", "admin-token"), filepath.Join(dir, "state", "alarm-key"))
	s.ecs, s.ec2, s.control = p.ecs, p.ec2, p.control
	return s
}

// metric is the value of a series without labels.
func (s *served) metric(t *testing.T, name string) string {
	t.Helper()
	for line := range strings.Lines(testnet.Scrape(t, s.control+"/metrics")) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("there is no metric %s", name)
	return ""
}

// document is what the metadata service says of the role's credentials; their
// secrets are noted.
type document struct {
	Code, AccessKeyID, Expiration string
}

func (s *served) document(t *testing.T, url string) document {
	t.Helper()
	var d struct{ Code, AccessKeyId, Expiration, SecretAccessKey, Token, AccessKeySecret, SecurityToken string } //nolint:staticcheck // the vendors' spelling
	text := get(t, http.DefaultClient, url)
	must(t, json.Unmarshal([]byte(text), &d))
	for _, secret := range []string{d.SecretAccessKey, d.Token, d.AccessKeySecret, d.SecurityToken} {
		if secret != "" {
			testnet.Secret(t, secret)
		}
	}
	return document{d.Code, d.AccessKeyId, d.Expiration}
}

// TestUpstream: `imds serve` has roles' credentials from another service, over
// AssumeRole of both dialects; SDKs pick them up from the metadata service, and
// the other service takes their calls. When it cannot be reached, what is held
// is served to its end and not after it, and log and metrics say so before.
func TestUpstream(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		t.Setenv(name, "")
	}
	const life = 15 * time.Second
	up := newUpstream(t, life)
	accounts := map[string]string{"ec2": sample(t, "ec2", optional).Account, "ecs": sample(t, "ecs", optional).Account}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"aws.json":    `{"accessKeyId": "AKIAIMDSDEV000000000", "accessKeySecret": "imds-dev-secret"}`,
		"aliyun.json": `{"accessKeyId": "LTAIimdsdev000000000", "accessKeySecret": "imds-dev-secret"}`,
		"instances.yaml": `instances:
  - {id: i-0123456789abcdef0, dialect: ec2, account: "210987654321", region: us-east-1, zone: us-east-1a, type: t3.micro, sources: [127.0.0.1], image: {id: ami-0123456789abcdef0}, role: {name: backup},
     interfaces: [{id: eni-0123456789abcdef0, mac: "02:00:00:00:00:01", ipv4: [10.0.0.1], subnet: {id: subnet-0123456789abcdef0}, vpc: {id: vpc-0123456789abcdef0}}]}
  - {id: i-bp1upstream000000001, dialect: ecs, account: "2109876543210987", region: cn-hangzhou, zone: cn-hangzhou-i, type: ecs.t6, sources: [127.0.0.1], image: {id: imdsdev_3_x64_20G.vhd}, role: {name: backup},
     interfaces: [{id: eni-bp1upstream00000001, mac: "02:00:00:00:00:02", ipv4: [172.16.0.1], subnet: {id: vsw-bp1}, vpc: {id: vpc-bp1}}]}
`,
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	testnet.LocalRoute(t, netip.MustParseAddr(ecsAddress), netip.MustParseAddr(optional))
	s := serve(t, dir, fmt.Sprintf(`instances: instances.yaml
listeners:
  - {dialect: ec2, address: 127.0.0.1:0}
  - {dialect: ecs, address: %s:80}
credentials:
  sources:
    - {kind: aws, dialect: ec2, region: us-east-1, endpoint: %q, roleArn: "arn:aws:iam::%s:role/{role}", keyFile: %q}
    - {kind: aliyun, dialect: ecs, endpoint: %q, roleArn: "acs:ram::%s:role/{role}", keyFile: %q}
`, ecsAddress, up.sts, accounts["ec2"], filepath.Join(dir, "aws.json"), up.sts, accounts["ecs"], filepath.Join(dir, "aliyun.json")))

	// An instance's SDK, and a call that the upstream takes.
	provider := ec2rolecreds.New(func(o *ec2rolecreds.Options) {
		o.Client = imds.New(imds.Options{Endpoint: s.ec2, EnableFallback: aws.FalseTernary})
	})
	who, err := sts.New(sts.Options{Region: "us-east-1", BaseEndpoint: &up.control, Credentials: provider, HTTPClient: http.DefaultClient}).GetCallerIdentity(t.Context(), nil)
	must(t, err)
	equal(t, "identity", *who.Arn, "arn:aws:sts::"+accounts["ec2"]+":assumed-role/backup/i-0123456789abcdef0")
	_, err = ec2.New(ec2.Options{Region: "us-east-1", BaseEndpoint: &up.control, Credentials: provider, HTTPClient: http.DefaultClient}).DescribeInstances(t.Context(), nil)
	must(t, err)
	_, err = exec.LookPath("/usr/bin/aws")
	testnet.Need(t, "Debian's awscli (scripts/install-test-deps)", err == nil)
	stdout, stderr, err := command(t, []string{"AWS_EC2_METADATA_SERVICE_ENDPOINT=" + s.ec2 + "/"}, "/usr/bin/aws", "--endpoint-url", up.control, "--region", "us-east-1", "--output", "text", "sts", "get-caller-identity", "--query", "Arn")
	if err != nil || strings.TrimSpace(stdout) != *who.Arn {
		t.Errorf("aws-cli: %v: %s%s", err, stdout, stderr)
	}
	ecsCall := func() (string, error) {
		c, err := sdk.NewClientWithEcsRamRole("cn-hangzhou", "backup") //nolint:staticcheck // deprecated, and what programs in the field call
		if err != nil {
			return "", err
		}
		r := requests.NewCommonRequest()
		r.Scheme, r.Domain, r.Version, r.ApiName, r.Method = "http", strings.TrimPrefix(up.control, "http://"), "2015-04-01", "GetCallerIdentity", "POST"
		answer, err := c.ProcessCommonRequest(r)
		if err != nil {
			return "", err
		}
		var reply struct{ Arn string }
		return reply.Arn, json.Unmarshal(answer.GetHttpContentBytes(), &reply)
	}
	arn, err := ecsCall()
	must(t, err)
	equal(t, "identity", arn, "acs:sts::"+accounts["ecs"]+":assumed-role/backup/i-bp1upstream000000001")

	// The upstream cannot be reached.
	urls := map[string]string{"ec2": s.ec2 + "/latest/meta-data/iam/security-credentials/backup", "ecs": s.ecs + "/latest/meta-data/ram/security-credentials/backup"}
	held := map[string]document{}
	for dialect, url := range urls {
		held[dialect] = s.document(t, url)
		equal(t, dialect, held[dialect].Code, "Success")
	}
	up.cut.Store(true)
	equal(t, "sets that end soon, at first", s.metric(t, "openimds_credentials_ending"), "0")
	ended := map[string]bool{}
	alarmed := false
	for began := time.Now(); len(ended) < 2; time.Sleep(200 * time.Millisecond) {
		if time.Since(began) > 3*life {
			t.Fatalf("only these have ended: %v", ended)
		}
		for dialect, url := range urls {
			d := s.document(t, url)
			if end := check[time.Time](t)(time.Parse(time.RFC3339, held[dialect].Expiration)); d.Code != "Success" && time.Now().Before(end.Add(-time.Second)) {
				t.Errorf("%s: %s before the end of what is held", dialect, d.Code)
			} else if d.Code == "Success" && (d != held[dialect] || !time.Now().Before(end.Add(time.Second))) {
				t.Errorf("%s: stale, or not what is held: %+v, held %+v", dialect, d, held[dialect])
			} else if d.Code != "Success" {
				equal(t, dialect+" after the end", d, document{Code: "ServiceUnavailable"})
				ended[dialect] = true
			}
		}
		alarmed = alarmed || s.metric(t, "openimds_credentials_ending") != "0"
	}
	equal(t, "the alarm was seen", alarmed, true)
	equal(t, "sets that end soon, after the end", s.metric(t, "openimds_credentials_ending"), "0")
	if s.metric(t, "openimds_credentials_ended_total") == "0" {
		t.Error("that sets ended in use is not counted")
	}
	log := s.log.String()
	for _, want := range []string{"role credentials end soon and cannot be refreshed", "ends=", "left=", "cannot be reached"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	if n := strings.Count(log, "cannot be reached"); n > 8 {
		t.Errorf("the log says %d times that the upstream cannot be reached", n)
	}
	if _, err := provider.Retrieve(t.Context()); err == nil {
		t.Error("the SDK was given credentials after the end")
	}
	if _, err := ecsCall(); err == nil {
		t.Error("the SDK of ECS was given credentials after the end")
	}

	// It is back.
	up.cut.Store(false)
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		_, err := provider.Retrieve(t.Context())
		if err == nil {
			arn, err = ecsCall()
		}
		if err == nil {
			break
		}
		if time.Since(began) > 75*time.Second {
			t.Fatalf("no credentials a minute after the upstream is back: %v", err)
		}
	}
	equal(t, "identity after it is back", arn, "acs:sts::"+accounts["ecs"]+":assumed-role/backup/i-bp1upstream000000001")
}
