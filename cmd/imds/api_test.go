package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"openimds/internal/api/sigv4"
	"openimds/internal/audit"
	"openimds/internal/config"
)

// ec2api calls the EC2 API of a running program.
func ec2api(t *testing.T, p *program, client *http.Client, params ...string) (int, string) {
	t.Helper()
	form := url.Values{"Version": {"2016-11-15"}}
	for i := 0; i < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	body := []byte(form.Encode())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.addr["control"]+"/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	creds := sigv4.Credentials{AccessKeyID: devKeyEC2, SecretKey: devSecret}
	if err := sigv4.Sign(req, body, creds, firstSample()["ec2"].Region, "ec2", time.Now()); err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// as returns a client that calls from a loopback address and keeps its
// connection.
func as(from string) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext,
	}}
}

// What the API set is in force for the very next request (SEC-65).
func TestTheNextRequestSeesTheChange(t *testing.T) {
	p := startDev(t)
	api, guest := as("127.0.0.1"), as("127.0.0.1")
	id := firstSample()["ec2"].ID
	flips := 10_000
	if testing.Short() {
		flips = 500
	}
	for i := range flips {
		mode, want := "required", http.StatusUnauthorized
		if i%2 == 1 {
			mode, want = "optional", http.StatusOK
		}
		if status, text := ec2api(t, p, api, "Action", "ModifyInstanceMetadataOptions", "InstanceId", id, "HttpTokens", mode); status != 200 {
			t.Fatalf("flip %d: %d %s", i, status, text)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.addr["ec2"]+"/latest/meta-data/instance-id", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Connection", "keep-alive")
		res, err := guest.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Fatalf("flip %d to %s: the next request gets %d", i, mode, res.StatusCode)
		}
	}
}

// A launched instance answers at once, from the next loopback address.
func TestLaunchedInstanceAnswers(t *testing.T) {
	p := startDev(t)
	status, text := ec2api(t, p, http.DefaultClient, "Action", "RunInstances", "ImageId", "ami-0123456789abcdef0", "InstanceType", "t3.micro", "MinCount", "1", "MaxCount", "1")
	id := regexp.MustCompile(`<instanceId>(i-[0-9a-f]{17})</instanceId>`).FindStringSubmatch(text)
	if status != 200 || id == nil {
		t.Fatalf("%d %s", status, text)
	}
	if status, _ := get(t, "127.0.0.5", "GET", "http://"+p.addr["ec2"]+"/latest/meta-data/"); status != http.StatusUnauthorized {
		t.Errorf("its image requires tokens, and without one it gets %d", status)
	}
	_, tok := get(t, "127.0.0.5", "PUT", "http://"+p.addr["ec2"]+"/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
	if _, got := get(t, "127.0.0.5", "GET", "http://"+p.addr["ec2"]+"/latest/meta-data/instance-id", "X-aws-ec2-metadata-token", tok); got != id[1] {
		t.Errorf("it says it is %q, not %s", got, id[1])
	}
	if status, text := ec2api(t, p, http.DefaultClient, "Action", "TerminateInstances", "InstanceId.1", id[1]); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	if status, _ := get(t, "127.0.0.5", "GET", "http://"+p.addr["ec2"]+"/latest/meta-data/"); status != http.StatusNotFound {
		t.Errorf("after its end it gets %d", status)
	}
}

// Every decision of the APIs is recorded, the secret of no key.
func TestAudit(t *testing.T) {
	dir := t.TempDir()
	p := startDev(t, "--state", dir)
	id := firstSample()["ec2"].ID
	ec2api(t, p, http.DefaultClient, "Action", "ModifyInstanceMetadataOptions", "InstanceId", id, "HttpTokens", "required")
	if code := p.end(); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.err)
	}
	found, err := audit.Query(t.Context(), dir+"/audit.log", audit.Filter{Action: "ec2:ModifyInstanceMetadataOptions"})
	if err != nil || len(found.Records) != 1 {
		t.Fatalf("%d records, %v", len(found.Records), err)
	}
	r := found.Records[0]
	if r.AccessKeyID != devKeyEC2 || r.Decision != audit.Allow || r.Policy != "AdministratorAccess" || !strings.Contains(strings.Join(r.Resources, " "), id) || r.RequestID == "" {
		t.Errorf("record %+v", r)
	}
	if len(r.Changes) != 1 || r.Changes[0].Field != "httpTokens" || r.Changes[0].From != "optional" || r.Changes[0].To != "required" {
		t.Errorf("changes %+v", r.Changes)
	}
	text, err := os.ReadFile(dir + "/audit.log")
	if err != nil || strings.Contains(string(text), devSecret) {
		t.Errorf("the log holds a secret, or cannot be read: %v", err)
	}
}

// A file that changes leaves alone what the API set on other instances.
func TestFileAndAPI(t *testing.T) {
	path := t.TempDir() + "/instances.yaml"
	two := strings.NewReplacer("instances:\n", "", "i-0123456789abcdef0", "i-0fedcba9876543210", "127.0.0.1", "127.0.0.2", "02:00:00:00:00:01", "02:00:00:00:00:02", "10.0.0.1]", "10.0.0.2]").Replace(oneInstance)
	write := func(name string) { writeFile(t, path, strings.Replace(oneInstance, "NAME", name, 1)+two) }
	write("m7g.large")
	p := startDev(t, "--instances", path)
	if status, text := ec2api(t, p, http.DefaultClient, "Action", "ModifyInstanceMetadataOptions", "InstanceId", "i-0fedcba9876543210", "HttpTokens", "required"); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	write("m7g.xlarge")
	waitFor(t, "the file took effect", func() bool {
		_, body := get(t, "127.0.0.1", "GET", "http://"+p.addr["ec2"]+"/latest/meta-data/instance-type")
		return body == "m7g.xlarge"
	})
	if status, _ := get(t, "127.0.0.2", "GET", "http://"+p.addr["ec2"]+"/latest/meta-data/"); status != http.StatusUnauthorized {
		t.Errorf("what the API set is gone: %d", status)
	}
}

// Settings reach the control plane: an image that is not known to live with
// tokens, launched with tokens required, and public addresses for who asks.
func TestLaunchSettings(t *testing.T) {
	path := t.TempDir() + "/settings.yaml"
	writeFile(t, path, "security: {ecsAnyImage: true}\n")
	for _, tc := range []struct {
		args []string
		want int
	}{{nil, http.StatusBadRequest}, {[]string{"--config", path}, http.StatusOK}} {
		p := startDev(t, tc.args...)
		ecs := ecsClient{http.DefaultClient, p.addr["control"], new(nonces)}
		for _, image := range []string{"imdsdev_2_x64_20G.vhd", "imdsdev_win_x64_40G.vhd"} {
			status, err := ecs.call(t.Context(), nil, "RunInstances", "ImageId", image, "InstanceType", "ecs.g7.large", "HttpTokens", "required")
			if err != nil || status != tc.want {
				t.Errorf("%v, %s: %d, %v, want %d", tc.args, image, status, err, tc.want)
			}
		}
		block := devPlaces()["ec2"].Public
		_, text := ec2api(t, p, http.DefaultClient, "Action", "RunInstances", "ImageId", "ami-0fedcba9876543210", "InstanceType", "t3.micro", "MinCount", "1", "MaxCount", "1",
			"NetworkInterface.1.DeviceIndex", "0", "NetworkInterface.1.AssociatePublicIpAddress", "true")
		got := regexp.MustCompile(`<publicIp>([0-9.]+)</publicIp>`).FindStringSubmatch(text)
		if got == nil || !block.Contains(netip.MustParseAddr(got[1])) {
			t.Errorf("%q is not of %v: %s", got, block, text)
		}
		p.end()
	}
	at := &config.Place{Public: netip.MustParsePrefix("192.0.2.0/24"), Sources: loopback}
	if got := placesOf(config.Places{ECS: at})["ecs"]; got.Public != at.Public || got.Sources != at.Sources {
		t.Errorf("the settings of imds serve become %+v", got)
	}
}
