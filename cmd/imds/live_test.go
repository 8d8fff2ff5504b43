package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"openimds/internal/config"
	"openimds/internal/testnet"
)

// get asks a running program, as the instance with the given loopback address.
func get(t *testing.T, from, method, url string, headers ...string) (int, string) {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext,
	}}
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode == http.StatusOK {
		noteSecrets(t, url, body)
	}
	return res.StatusCode, string(body)
}

// noteSecrets notes what no log and no metric may show of an answer of the data
// plane: a session token, the secrets of a role's credentials.
func noteSecrets(t *testing.T, url string, body []byte) {
	t.Helper()
	if strings.HasSuffix(url, "/latest/api/token") {
		testnet.Secret(t, string(body))
	}
	if !strings.Contains(url, "security-credentials/") {
		return
	}
	var k struct{ SecretAccessKey, Token, AccessKeySecret, SecurityToken string }
	if json.Unmarshal(body, &k) != nil {
		return // a listing
	}
	for _, s := range []string{k.SecretAccessKey, k.Token, k.AccessKeySecret, k.SecurityToken} {
		if s != "" {
			testnet.Secret(t, s)
		}
	}
}

const oneInstance = `instances:
  - id: i-0123456789abcdef0
    dialect: ec2
    account: 123456789012
    region: us-east-1
    zone: us-east-1a
    type: NAME
    sources: [127.0.0.1]
    image: {id: ami-0123456789abcdef0}
    interfaces:
      - id: eni-0123456789abcdef0
        mac: 02:00:00:00:00:01
        ipv4: [10.0.0.1]
        subnet: {id: subnet-0123456789abcdef0, ipv4: 10.0.0.0/24}
        vpc: {id: vpc-0123456789abcdef0, ipv4: [10.0.0.0/16]}
`

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestInstancesFileIsFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "instances.yaml")
	writeFile(t, path, strings.Replace(oneInstance, "NAME", "m7g.large", 1))
	p := startDev(t, "--instances", path)
	typ := func() string {
		_, body := get(t, "127.0.0.1", "GET", "http://"+p.addr["ec2"]+"/latest/meta-data/instance-type")
		return body
	}
	if got := typ(); got != "m7g.large" {
		t.Fatalf("instance-type is %q", got)
	}
	writeFile(t, path, strings.Replace(oneInstance, "NAME", "m7g.xlarge", 1))
	waitFor(t, "the new type was served", func() bool { return typ() == "m7g.xlarge" })

	writeFile(t, path, strings.Replace(oneInstance, "    type: NAME", "    tipe: t2.nano", 1))
	waitFor(t, "the broken edit was reported", func() bool {
		return strings.Contains(p.err.String(), path+":7:5: ") && strings.Contains(p.err.String(), "tipe")
	})
	if got := typ(); got != "m7g.xlarge" {
		t.Errorf("after a broken edit the type is %q", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the missing file was reported", func() bool { return strings.Contains(p.err.String(), "no such file") })
	writeFile(t, path, strings.Replace(oneInstance, "NAME", "c7g.large", 1))
	waitFor(t, "the mended file was served", func() bool { return typ() == "c7g.large" })
}

func TestTokensSurviveRestart(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	var tok string
	for i, args := range [][]string{{"--state", state}, {"--state", state}, {}} {
		p := startDev(t, args...)
		if i == 0 {
			_, tok = get(t, "127.0.0.2", "PUT", "http://"+p.addr["ec2"]+"/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "600")
		}
		want := 200
		if len(args) == 0 {
			want = 401 // other keys
		}
		if status, _ := get(t, "127.0.0.2", "GET", "http://"+p.addr["ec2"]+"/latest/meta-data/", "X-aws-ec2-metadata-token", tok); status != want {
			t.Errorf("run %d with %v: %d, want %d", i, args, status, want)
		}
		if code := p.end(); code != 0 {
			t.Errorf("run %d ended with exit code %d: %s", i, code, p.err)
		}
	}
	if err := os.Chmod(keysFile(state), 0o644); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"dev", "--state", state, "--ecs", "127.0.0.1:0"}, io.Discard, testnet.Hear(&stderr, "imds")); code != exitFailed || !strings.Contains(stderr.String(), "chmod 600") {
		t.Errorf("with keys that others may read: exit code %d, %s", code, &stderr)
	}
}

func TestAdmin(t *testing.T) {
	p := startDev(t)
	control := "http://" + p.addr["control"]
	get(t, "127.0.0.2", "GET", "http://"+p.addr["ecs"]+"/latest/meta-data/")
	for _, tc := range []struct {
		path   string
		status int
		want   string
	}{
		{"/healthz", 200, "ok"},
		{"/readyz", 200, "ready"},
		{"/metrics", 200, `openimds_requests_total{access="token_free",dialect="ecs",item="(none)",outcome="no_token"} 1`},
		{"/metrics", 200, "go_goroutines"},
		{"/v1/usage", 200, `"tokenFreeRejected":1`},
		{"/v1/usage?instance=" + config.Samples()[0].ID, 200, `{"instance":"` + config.Samples()[0].ID + `"`},
		{"/v1/usage?instance=i-none", 404, `"no instance has the id`},
		{"/v2", 404, ""},
	} {
		if status, body := get(t, "127.0.0.1", "GET", control+tc.path); status != tc.status || !strings.Contains(body, tc.want) {
			t.Errorf("%s: %d %.200s, want %d with %s", tc.path, status, body, tc.status, tc.want)
		}
	}
	for _, header := range []string{"Host", "Origin"} {
		if status, _ := get(t, "127.0.0.1", "GET", control+"/v1/usage", header, "http://evil.example"); status != 403 && status != 400 {
			t.Errorf("with %s of another site: %d", header, status)
		}
	}
	if status, _ := get(t, "127.0.0.1", "GET", control+"/healthz", "Host", "evil.example"); status != 403 {
		t.Errorf("with the Host of another site: %d", status)
	}
	if status, _ := get(t, "127.0.0.1", "GET", control+"/healthz", "Host", "localhost:8180"); status != 200 {
		t.Errorf("as localhost: %d", status)
	}
}

func TestSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "settings.yaml")
	writeFile(t, path, "throttle: {rate: 1, burst: 2}\nhosts: [Metadata.internal]\n")
	p := startDev(t, "--config", path)
	url := "http://" + p.addr["ec2"] + "/latest/meta-data/"
	if status, _ := get(t, "127.0.0.1", "GET", url, "Host", "metadata.internal"); status != 200 {
		t.Errorf("as a configured name: %d", status)
	}
	throttled := false
	for range 20 {
		status, _ := get(t, "127.0.0.1", "GET", url)
		throttled = throttled || status == 503
	}
	if !throttled {
		t.Error("20 requests at 1 a second were all answered")
	}
}

// SEC-14: secrets are served to their instance, and are nowhere else.
func TestSecretsAreNowhere(t *testing.T) {
	p := startDev(t)
	var secrets []string
	for _, in := range config.Samples() {
		if in.Role != nil && in.Role.Credentials != nil {
			c := in.Role.Credentials
			secrets = append(secrets, c.AccessKeySecret, c.SessionToken)
		}
		if len(in.UserData) > 0 {
			secrets = append(secrets, string(in.UserData))
		}
	}
	for _, from := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"} {
		for dialect, header := range map[string]string{"ec2": "X-aws-ec2-metadata-token", "ecs": "X-aliyun-ecs-metadata-token"} {
			url := "http://" + p.addr[dialect]
			status, tok := get(t, from, "PUT", url+"/latest/api/token", header+"-ttl-seconds", "60")
			if status != 200 {
				tok = "none"
			} else {
				secrets = append(secrets, tok)
			}
			for _, path := range []string{"/latest/user-data", "/latest/meta-data/iam/security-credentials/" + "app-role", "/latest/meta-data/none", "/%0a" + tok} {
				get(t, from, "GET", url+path, header, tok)
				get(t, from, "GET", url+path+"?"+tok, header, "bad"+tok)
			}
		}
	}
	_, metrics := get(t, "127.0.0.1", "GET", "http://"+p.addr["control"]+"/metrics")
	_, report := get(t, "127.0.0.1", "GET", "http://"+p.addr["control"]+"/v1/usage")
	if len(secrets) < 10 {
		t.Fatalf("only %d secrets to look for", len(secrets))
	}
	for where, text := range map[string]string{"output": p.out.String(), "log": p.err.String(), "metrics": metrics, "usage": report} {
		for i, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("secret %d is in the %s", i, where)
			}
		}
	}
}

func TestRefusedToStart(t *testing.T) {
	dir := t.TempDir()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	broken := filepath.Join(dir, "broken.yaml")
	writeFile(t, broken, "instances:\n  - id: i-1\n    dialect: ec3\n    id: i-2\n    bogus: 1\n")
	double := filepath.Join(dir, "double.yaml")
	writeFile(t, double, "instances: []\n---\nx: 1\n")
	twice := filepath.Join(dir, "twice.yaml")
	second := strings.NewReplacer("instances:\n", "", "i-0123456789abcdef0", "i-0fedcba9876543210", "02:00:00:00:00:01", "02:00:00:00:00:02").Replace(oneInstance)
	writeFile(t, twice, oneInstance+second)
	settings := filepath.Join(dir, "settings.yaml")
	writeFile(t, settings, "throttle: {rate: fast}\n")
	free := []string{"--ecs", "127.0.0.1:0", "--ec2", "127.0.0.1:0", "--control", "127.0.0.1:0"}
	for name, tc := range map[string]struct {
		args []string
		code int
		want []string
	}{
		"instances":       {[]string{"--instances", broken}, exitUsage, []string{broken + ":4:", broken + ":5:", "bogus"}},
		"two documents":   {[]string{"--instances", double}, exitUsage, []string{double + ":2:", "second YAML document"}},
		"no file":         {[]string{"--instances", dir + "/none.yaml"}, exitUsage, []string{"none.yaml", "no such file"}},
		"overlap":         {[]string{"--instances", twice}, exitUsage, []string{"i-0123456789abcdef0", "i-0fedcba9876543210", "127.0.0.1"}},
		"settings":        {[]string{"--config", settings}, exitUsage, []string{settings + ":1:", "throttle.rate"}},
		"both":            {[]string{"--config", settings, "--instances", broken}, exitUsage, []string{settings, broken}},
		"port in use":     {[]string{"--ec2", taken.Addr().String()}, exitFailed, []string{"ec2: port", "in use", "--ec2"}},
		"control in use":  {[]string{"--control", taken.Addr().String()}, exitFailed, []string{"control: port", "--control"}},
		"foreign address": {[]string{"--ecs", "192.0.2.1:80"}, exitFailed, []string{"ecs: no interface has the address", "--ecs"}},
		"no address":      {[]string{"--ecs", "nonsense"}, exitUsage, []string{"--ecs", "nonsense"}},
		"flag":            {[]string{"--no-such"}, exitUsage, []string{"no-such", "imds dev --help"}},
		"argument":        {[]string{"what"}, exitUsage, []string{`"what"`}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			var stdout, stderr bytes.Buffer
			code := run(ctx, append(append([]string{"dev"}, free...), tc.args...), &stdout, testnet.Hear(&stderr, "imds"))
			if code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			for _, want := range tc.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("%q is not in:\n%s", want, &stderr)
				}
			}
			if strings.Contains(stdout.String(), "ready") {
				t.Error("it was ready all the same")
			}
		})
	}
}

func TestConfigCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "instances.yaml")
	writeFile(t, path, oneInstance)
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"dev", "--config-check", "--instances", path}, &stdout, testnet.Hear(&stderr, "imds")); code != 0 || stdout.String() != "ok: 1 instances\n" {
		t.Errorf("exit code %d, %s%s", code, &stdout, testnet.Hear(&stderr, "imds"))
	}
}

func TestItems(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"items", "ec2"}, &stdout, testnet.Hear(&stderr, "imds")); code != 0 || !strings.Contains(stdout.String(), "meta-data/tags/instance/{tag}") || strings.Contains(stdout.String(), "ecs ") {
		t.Errorf("exit code %d, %s%.300s", code, &stderr, &stdout)
	}
	if code := run(t.Context(), []string{"items", "gce"}, &stdout, testnet.Hear(&stderr, "imds")); code != exitUsage || !strings.Contains(stderr.String(), "ecs, ec2") {
		t.Errorf("unknown dialect: exit code %d, %s", code, &stderr)
	}
	if code := run(t.Context(), []string{"no-such-command"}, &stdout, testnet.Hear(&stderr, "imds")); code == 0 {
		t.Error("an unknown command succeeded")
	}
}
