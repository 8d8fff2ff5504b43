package pki_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"openimds/internal/pki"
)

func authority(t *testing.T, name string) pki.Pair {
	t.Helper()
	ca, err := pki.NewAuthority(name, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func node(t *testing.T, ca pki.Pair, name string) pki.Pair {
	t.Helper()
	p, err := ca.Node(name, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A control plane and a node of one authority trust each other, and nobody
// else does.
func TestTrust(t *testing.T) {
	ca, other := authority(t, "fleet"), authority(t, "another fleet")
	control, err := ca.Control([]string{"127.0.0.1", "control.example"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.TLS.VerifiedChains[0][0].Subject.CommonName)
	}))
	if server.TLS, err = pki.Server(control, ca.Cert); err != nil {
		t.Fatal(err)
	}
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	get := func(own pki.Pair, trusted []byte, change func(*tls.Config)) (string, error) {
		c, err := pki.Client(own, trusted)
		if err != nil {
			t.Fatal(err)
		}
		change(c)
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: c}}
		defer client.CloseIdleConnections()
		resp, err := client.Get(server.URL)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	same := func(*tls.Config) {}
	if got, err := get(node(t, ca, "host-1"), ca.Cert, same); err != nil || got != "host-1" {
		t.Errorf("host-1: %q, %v", got, err)
	}
	for name, c := range map[string]struct {
		own     pki.Pair
		trusted []byte
		change  func(*tls.Config)
	}{
		"node of another fleet":          {node(t, other, "host-1"), ca.Cert, same},
		"control plane of another fleet": {node(t, ca, "host-1"), other.Cert, same},
		"no certificate":                 {node(t, ca, "host-1"), ca.Cert, func(c *tls.Config) { c.Certificates = nil }},
		"another name":                   {node(t, ca, "host-1"), ca.Cert, func(c *tls.Config) { c.ServerName = "elsewhere.example" }},
		"control plane as a node":        {control, ca.Cert, same},
	} {
		if got, err := get(c.own, c.trusted, c.change); err == nil {
			t.Errorf("%s: let in as %q", name, got)
		}
	}
}

func TestRefused(t *testing.T) {
	ca := authority(t, "fleet")
	if _, err := ca.Node("", time.Now()); err == nil {
		t.Error("a node without a name")
	}
	if _, err := ca.Control(nil, time.Now()); err == nil {
		t.Error("a control plane without a name")
	}
	if _, err := ca.Node("host-1", time.Now().Add(2*pki.AuthorityLife)); err == nil || !strings.Contains(err.Error(), "new authority") {
		t.Errorf("an authority that has ended: %v", err)
	}
	mixed := pki.Pair{Cert: ca.Cert, Key: authority(t, "other").Key}
	if _, err := mixed.Node("host-1", time.Now()); err == nil {
		t.Error("a key of another authority")
	}
	if s := fmt.Sprintf("%v %+v %#v", ca, ca, ca); strings.Contains(s, "PRIVATE") || strings.Contains(s, "BEGIN") {
		t.Errorf("a formatted pair shows its key: %s", s)
	}
}
