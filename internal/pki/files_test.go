package pki_test

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"openimds/internal/pki"
)

// put writes a pair and an authority's certificate, and returns their files.
func put(t *testing.T, dir, name string, p, authority pki.Pair) pki.Files {
	t.Helper()
	f := pki.Files{Certificate: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key"), Authority: filepath.Join(dir, "authority.crt")}
	for path, data := range map[string][]byte{f.Certificate: p.Cert, f.Key: p.Key, f.Authority: authority.Cert} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// Files that are replaced are in use from the next connection on, on both
// sides.
func TestFilesAreReadAnew(t *testing.T) {
	now, dir := time.Now(), t.TempDir()
	ca, err := pki.NewAuthority("fleet", now)
	if err != nil {
		t.Fatal(err)
	}
	control, err := ca.Control([]string{"127.0.0.1"}, now)
	if err != nil {
		t.Fatal(err)
	}
	node, err := ca.Node("a", now)
	if err != nil {
		t.Fatal(err)
	}
	server, client := put(t, dir, "control", control, ca), put(t, dir, "node", node, ca)
	cfg, err := server.ServerConfig()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	names := make(chan string)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			name := "refused"
			if err := c.(*tls.Conn).HandshakeContext(t.Context()); err == nil {
				name = c.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
			}
			_ = c.Close()
			names <- name
		}
	}()
	connect := func() string {
		t.Helper()
		c, err := client.Dial(t.Context(), "tcp", ln.Addr().String())
		if err != nil {
			if _, open := err.(net.Error); !open && !strings.Contains(err.Error(), "certificate") { //nolint:errorlint // only its text is of interest
				t.Fatal(err)
			}
			return <-names
		}
		defer c.Close()
		return <-names
	}
	if got := connect(); got != "a" {
		t.Errorf("the first connection is of %q", got)
	}
	other, err := ca.Node("b", now)
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "node", other, ca)
	if got := connect(); got != "b" {
		t.Errorf("after the node's files were replaced, it is %q", got)
	}
	if name, end, err := client.Own(); err != nil || name != "b" || end.Sub(now) < pki.LeafLife-time.Hour {
		t.Errorf("its own: %s, %v, %v", name, end, err)
	}
	stranger, err := pki.NewAuthority("other", now)
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "control", control, stranger) // trusts nobody of this fleet any more; nor does the node
	if got := connect(); got != "refused" {
		t.Errorf("after the authority was replaced, %q was let in", got)
	}
}

func TestFilesAreRefused(t *testing.T) {
	now, dir := time.Now(), t.TempDir()
	ca, _ := pki.NewAuthority("fleet", now)
	node, err := ca.Node("a", now)
	if err != nil {
		t.Fatal(err)
	}
	f := put(t, dir, "node", node, ca)
	if err := os.Chmod(f.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Own(); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key for everybody: %v", err)
	}
	f = put(t, dir, "node2", pki.Pair{Cert: node.Cert, Key: []byte("nonsense")}, ca)
	if _, _, err := f.Own(); err == nil || !strings.Contains(err.Error(), f.Certificate) || strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a key that is none: %v", err)
	}
	f.Key = filepath.Join(dir, "missing")
	if _, err := f.ServerConfig(); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("no key: %v", err)
	}
}
