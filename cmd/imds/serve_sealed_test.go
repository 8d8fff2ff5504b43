package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"openimds/internal/testnet"
)

// Credentials that stand in an instances file, and such as an operator puts,
// are served, over a restart too, and nobody finds them in the state folder or
// in what the program says.
func TestServeSealsCredentials(t *testing.T) {
	h := newHost(t)
	const secret, later, token = "given-secret-of-the-file-0001", "given-secret-of-apply-0002", "given-session-token-0003"
	for _, s := range []string{secret, later, token} {
		testnet.Secret(t, s)
	}
	role := "    role:\n      name: web\n      credentials: {accessKeyId: ASIAGIVEN, accessKeySecret: " + secret + ", sessionToken: " + token + "}\n"
	writeFile(t, filepath.Join(h.dir, "instances.yaml"), oneInstance+role)
	writeFile(t, h.config, h.sampleSettings(t)+"\ninstances: instances.yaml\n")
	served := func(p *process, want string) {
		t.Helper()
		url := "http://" + p.addr["ec2"] + "/latest/meta-data/iam/security-credentials/web"
		if status, body := get(t, "127.0.0.1", "GET", url); status != http.StatusOK || !strings.Contains(body, want) || !strings.Contains(body, token) {
			t.Errorf("%d %s, want %s", status, body, want)
		}
	}
	p := h.start(t)
	served(p, secret)
	admin := filepath.Join(h.state(), "admin-token")
	document := h.run(t, 0, "get", "instances", "i-0123456789abcdef0", "-o", "yaml", "--server", p.addr["control"], "--token-file", admin)
	if strings.Contains(document, secret) || strings.Contains(document, token) || !strings.Contains(document, "ASIAGIVEN") {
		t.Errorf("shown to the operator:\n%s", document)
	}
	put := filepath.Join(h.dir, "put.yaml")
	writeFile(t, put, strings.Replace(document, `accessKeySecret: ""`, "accessKeySecret: "+later, 1))
	h.run(t, 0, "apply", "-f", put, "--server", p.addr["control"], "--token-file", admin)
	served(p, later)
	p.signal(t, syscall.SIGTERM)
	said := p.out.String() + p.err.String()
	p = h.start(t)
	served(p, later)
	p.signal(t, syscall.SIGTERM)
	for what, text := range map[string]string{"the first log": said, "the second log": p.out.String() + p.err.String()} {
		for _, s := range []string{secret, later, token} {
			if strings.Contains(text, s) {
				t.Errorf("%s has the secret %s", what, s)
			}
		}
	}
	files, err := os.ReadDir(h.state())
	if err != nil || len(files) < 3 {
		t.Fatalf("the state folder has %d files, %v", len(files), err)
	}
	for _, f := range files {
		if f.IsDir() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(h.state(), f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{secret, later, token} {
			if bytes.Contains(data, []byte(s)) {
				t.Errorf("%s has the secret %s", f.Name(), s)
			}
		}
	}
}
