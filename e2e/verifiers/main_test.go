//go:build linux

package verifiers

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"openimds/internal/testnet"
)

// executable is the program under test, as seen from this directory.
const executable = "../.cache/imds"

func TestMain(m *testing.M) {
	// Inside the namespace no module could be fetched, so it is built before.
	if !testnet.Isolated() {
		out, err := filepath.Abs(executable)
		if err == nil {
			cmd := exec.Command("go", "build", "-o", out, "./cmd/imds")
			cmd.Dir = "../.."
			cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
			err = cmd.Run()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "build the program:", err)
			os.Exit(1)
		}
	}
	testnet.Isolate(m)
}

// start runs `imds dev` until the test ends, with EC2's dialect at its built-in
// address, to which this namespace comes as 127.0.0.1, and with EC2's pkcs7. It
// returns the control address.
func start(t *testing.T) (control string) {
	t.Helper()
	testnet.LocalRoute(t, netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("127.0.0.1"))
	settings := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(settings, []byte("identity: {ec2Pkcs7: true}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := testnet.Server(executable, "dev", "--ec2", "169.254.169.254:80", "--ecs", "127.0.0.1:0", "--control", "127.0.0.1:0", "--config", settings)
	var log strings.Builder
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		testnet.Scrape(t, control+"/metrics")
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		kill.Stop()
		if t.Failed() {
			t.Logf("the program's log:\n%s", log.String())
		}
	})
	for s := bufio.NewScanner(stdout); s.Scan(); {
		if words := strings.Fields(s.Text()); len(words) == 2 && words[0] == "control" {
			control = words[1]
		}
		if s.Text() == "ready" {
			go func() { _, _ = io.Copy(io.Discard, stdout) }()
			return control
		}
	}
	t.Fatalf("the program ended before it was ready")
	return ""
}

// get returns the body of a 200.
func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s: %v: %s", url, res.Status, err, body)
	}
	return string(body)
}

// item is an item below EC2's dynamic/instance-identity.
func item(t *testing.T, name string) string {
	t.Helper()
	return get(t, "http://169.254.169.254/latest/dynamic/instance-identity/"+name)
}

// certificates are those of a region that are published, PEM.
func certificates(t *testing.T, control, query string) string {
	t.Helper()
	return get(t, control+"/v1/identity/certificates?dialect=ec2&"+query)
}

// region and instance are those of the sample at 127.0.0.1.
const (
	region   = "us-east-1"
	instance = "i-0a1b2c3d4e5f60001"
)

// tampered is an envelope in which one letter of the document is another.
func tampered(t *testing.T, envelope string) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(envelope)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(string(raw), instance, instance[:len(instance)-1]+"2", 1)
	if other == string(raw) {
		t.Fatal("the document is not inside")
	}
	return base64.StdEncoding.EncodeToString([]byte(other))
}
