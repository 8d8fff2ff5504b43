package remote_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"openimds/internal/pki"
	"openimds/internal/testnet"
	"openimds/internal/usage/history"
	"openimds/internal/usage/remote"
	"openimds/internal/usage/series"
)

// The place sees who asks: by token, password, headers and certificate, as the
// files are at the time of the request; and it is held against its authority.
func TestAccess(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	now := time.Now()
	authority, err := pki.NewAuthority("test", now)
	if err != nil {
		t.Fatal(err)
	}
	node, err := authority.Node("imds", now)
	if err != nil {
		t.Fatal(err)
	}
	var seen []*http.Request
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		seen = append(seen, r)
		w.WriteHeader(http.StatusNoContent)
	}))
	known := x509.NewCertPool()
	known.AppendCertsFromPEM(authority.Cert)
	s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: known, MinVersion: tls.VersionTLS12}
	s.Config.ErrorLog = slog.NewLogLogger(testnet.Quiet().Handler(), slog.LevelError)
	s.StartTLS()
	defer s.Close()
	ca := file("ca", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	token := file("token", "first\n")
	access := remote.Access{
		URL: s.URL, TokenFile: token, Headers: map[string]string{"X-Scope-OrgID": "tenant"}, HeaderFiles: map[string]string{"X-Key": file("header", "of a file\n")},
		CA: ca, Certificate: file("cert", string(node.Cert)), Key: file("key", string(node.Key)),
	}
	write := func(a remote.Access) (*remote.Shipper, func()) {
		t.Helper()
		c := &clock{t: start}
		f, err := history.Open(history.Config{Path: filepath.Join(t.TempDir(), "usage"), Now: c.now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		sh, err := remote.NewShipper(remote.ShipperConfig{File: f, Write: a, Now: c.now})
		if err != nil {
			t.Fatal(err)
		}
		return sh, func() {
			c.add(80 * time.Second)
			if _, err := sh.Catch(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, minute := write(access)
	minute()
	file("token", "second\n")
	minute()
	if len(seen) != 2 {
		t.Fatalf("%d requests", len(seen))
	}
	for i, want := range []string{"Bearer first", "Bearer second"} {
		h := seen[i].Header
		if h.Get("Authorization") != want || h.Get("X-Scope-OrgID") != "tenant" || h.Get("X-Key") != "of a file" || seen[i].TLS.PeerCertificates[0].Subject.CommonName != "imds" {
			t.Errorf("%v", h)
		}
	}
	access.TokenFile, access.User, access.PasswordFile = "", "me", file("password", "s3cret")
	_, minute = write(access)
	minute()
	if user, password, ok := seen[2].BasicAuth(); !ok || user != "me" || password != "s3cret" {
		t.Errorf("%v", seen[2].Header)
	}
	access.CA = ""
	past, err := remote.NewPast(remote.PastConfig{File: mustHistory(t), Query: access, Delivered: func() int64 { return 1 << 40 }})
	if err != nil {
		t.Fatal(err)
	}
	_, err = past.Range(t.Context(), "i-1", time.Now().Add(-time.Hour), time.Now(), series.Resolutions()[0])
	wantUnavailable(t, err, "certificate")

	for name, a := range map[string]remote.Access{
		"want a URL":           {URL: "prometheus"},
		"name and a password":  {URL: "https://me:s3cret@example.com"},
		"no such file":         {URL: "https://p", TokenFile: filepath.Join(dir, "none")},
		"one line of text":     {URL: "https://p", TokenFile: file("two", "a\nb")},
		"one line":             {URL: "https://p", HeaderFiles: map[string]string{"A": file("empty", "\n")}},
		"certificates of its":  {URL: "https://p", CA: filepath.Join(dir, "none")},
		"found no certificate": {URL: "https://p", CA: token},
		"the certificate to":   {URL: "https://p", Certificate: token, Key: token},
	} {
		_, err := remote.NewShipper(remote.ShipperConfig{File: mustHistory(t), Write: a})
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("found %v, expected %q", err, name)
		}
	}
}

// mustHistory is one that has been handed on.
func mustHistory(t *testing.T) *history.File {
	t.Helper()
	f, err := history.Open(history.Config{Path: filepath.Join(t.TempDir(), "usage")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.ShipTo("x", "w", time.Now().Add(-time.Hour).Unix()/60); err != nil {
		t.Fatal(err)
	}
	return f
}
