package main

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"

	"openimds/identity"
	"openimds/internal/testnet"
)

// TestServeIdentity: `imds serve` has certificates for the regions that it
// launches in, before there is any instance; they outlive a crash, and the keys
// are in the store, sealed.
func TestServeIdentity(t *testing.T) {
	h := newHost(t)
	ask := func(p *process, more ...string) string {
		t.Helper()
		return h.run(t, 0, append([]string{"identity", "certificates", "--server", "http://" + p.addr["control"]}, more...)...)
	}
	p := h.start(t)
	before := ask(p)
	if certs, err := identity.ParseCertificates([]byte(before)); err != nil || len(certs) != 2 {
		t.Fatalf("%d certificates, %v, want one of each dialect:\n%s", len(certs), err, before)
	}
	for _, line := range []string{"\n# ecs cn-", "# ec2 us-"} {
		if !strings.Contains("\n"+before, line) {
			t.Errorf("want %q in\n%s", line, before)
		}
	}
	p.signal(t, syscall.SIGKILL)
	p = h.start(t)
	if after := ask(p); after != before {
		t.Errorf("after a crash:\n%s\nbefore:\n%s", after, before)
	}
	if text := ask(p, "--json", "--dialect", "ec2"); !strings.Contains(text, `"state":"current"`) || strings.Contains(text, `"ecs"`) {
		t.Errorf("%s", text)
	}
	p.signal(t, syscall.SIGTERM)
	kept, err := os.ReadFile(storeFile(h.state()))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(kept, []byte(identityPrefix+"ec2/")) || bytes.Contains(kept, []byte(`"certificate":`)) {
		t.Error("the keys are not in the store, or not sealed")
	}
}

// TestIdentityUsage: what is wrong with a command is said, and is the user's
// mistake.
func TestIdentityUsage(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/none.pem", "hello")
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"certificates", "--server", "://here"}, exitUsage, "expected an address such as"},
		{[]string{"certificates", "--server", "http://127.0.0.1:1"}, exitFailed, "no server answers at http://127.0.0.1:1"},
		{[]string{"certificates", "x"}, exitUsage, "takes no argument"},
		{[]string{"verify"}, exitUsage, "--certificates FILE"},
		{[]string{"verify", "--certificates", dir + "/gone.pem"}, exitUsage, "gone.pem"},
		{[]string{"verify", "--certificates", dir + "/none.pem"}, exitUsage, "there is none"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), append([]string{"identity"}, test.args...), &stdout, testnet.Hear(&stderr, "imds")); code != test.code || !strings.Contains(stderr.String(), test.says) {
			t.Errorf("%q: exit code %d, %q; want %d, %q", test.args, code, stderr.String(), test.code, test.says)
		}
	}
}
