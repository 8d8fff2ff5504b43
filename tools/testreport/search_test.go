package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// found is what is found in a text.
func found(t *testing.T, s *secrets, text string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "said-imds")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := s.search(path)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestSpellings: whatever a logger makes of a secret, it is found.
func TestSpellings(t *testing.T) {
	const secret = "#!/bin/sh\necho \"a <b> & c+d/e\" ü\n"
	for name, write := range map[string]func(*slog.Logger){
		"a string":     func(l *slog.Logger) { l.Info("x", "k", secret) },
		"bytes":        func(l *slog.Logger) { l.Info("x", "k", []byte(secret)) },
		"in a struct":  func(l *slog.Logger) { l.Info("x", "k", struct{ B []byte }{[]byte(secret)}) },
		"in a message": func(l *slog.Logger) { l.Info("got " + secret) },
		"hexadecimal":  func(l *slog.Logger) { l.Info("x", "k", hex.EncodeToString([]byte(secret))) },
		"an error":     func(l *slog.Logger) { l.Info("x", "err", fmt.Errorf("run %q: no", secret)) },
	} {
		var s secrets
		s.add("TestX", secret)
		for _, form := range []string{"text", "json"} {
			var log strings.Builder
			var h slog.Handler = slog.NewTextHandler(&log, nil)
			if form == "json" {
				h = slog.NewJSONHandler(&log, nil)
			}
			write(slog.New(h))
			if got := found(t, &s, log.String()); len(got) != 1 || !strings.HasPrefix(got[0], "imds has a secret of TestX, after: ") {
				t.Errorf("%s in %s: %q in %s", name, form, got, log.String())
			}
		}
	}
}

// TestForms: what no test knows is found by what it looks like, wherever a file
// is cut into pieces; and nothing else is.
func TestForms(t *testing.T) {
	random := func(n int) string {
		b := make([]byte, n)
		for {
			_, _ = rand.Read(b) // never fails
			if text := base64.RawURLEncoding.EncodeToString(b); mixed([]byte(text)) {
				return text
			}
		}
	}
	for name, secret := range map[string]string{
		"a session token of the metadata service": base64.URLEncoding.EncodeToString(append([]byte{1, 0, 4, 0}, make([]byte, 36)...)),
		"an access key's secret":                  random(30),
		"an admin token":                          random(32),
		"a session token":                         random(300),
		"a key of messages":                       rand.Text() + rand.Text(),
		"a private key":                           "-----BEGIN EC PRIVATE KEY-----",
	} {
		for _, before := range []string{"", "token=", "/", "/v1/keys/", `"x\n`, "x\n  ", strings.Repeat("x y\n", (window-16)/4) + "key: ", strings.Repeat("x y\n", window)} {
			if got := found(t, &secrets{}, before+secret+" \"and more\"\n"); len(got) != 1 {
				t.Errorf("%s after %.10q…: found %q", name, before, got)
			} else if strings.Contains(got[0], secret) {
				t.Errorf("%s is said", name)
			}
		}
	}
	half, line := random(30), ""
	for line == "" || !mixed([]byte(line[:40])) {
		line = random(30)[:20] + random(30)[:20] + "/" + random(30)[:23] // a line of PEM
		line = strings.Map(func(r rune) rune {
			if r == '-' || r == '_' {
				return 'x'
			}
			return r
		}, line)
	}
	last := line[:40]
	for _, harmless := range []string{
		line, "  " + line, `"` + line + `\n` + last + `\n`, line + "\n" + last + "\n", "    " + line + "\r\n    " + last, "AAAAC3NzaC1lZDI1NTE5AAAAI/" + half, strings.Repeat(half[:30]+"/", 6) + half,
		"2fd4e1c67a2d28fced849ee1bb76e7391b93eb12", "  1F8B0A9C3D5E7F1A2B3C4D5E6F7A8B9C0D1E2F3A: c2Ft", "TestFacts/facts_of_ecs/tokens/ECS-TOK-14_a_token_of_56_letters",
		"/tmp/TestServeKilledWhileItWrites1234567890/001/state", "arn:aws:sts::123456789012:assumed-role/imds-sample-role/i-0a1b2c3d4e5f60001",
		"openimds_requests_total{access=\"token_free\",dialect=\"ecs\"} 1", "AQAEA", "MIIC+zCCAeOgAwIBAgIJAKvbmMXcL3rpMA0GCSqGSIb3DQEB",
	} {
		if got := found(t, &secrets{}, harmless); len(got) != 0 {
			t.Errorf("%s: found %q", harmless, got)
		}
	}
}

// TestWritten: the secrets that stand in tests' sources are known.
func TestWritten(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module x\n", "e2e/go.mod": "module x/e2e\n",
		"e2e/a_test.go": "package a\n\nconst hiddenToken, someSecret = \"no-name-of-one\", \"found-by-name-1\"\n\nvar c = creds{AccessKeySecret: \"found-in-field-2\", UserData: []byte(\"found-in-bytes-3\"), Key: \"not-a-secret-at-all\"}\n\nfunc f() { c.SessionToken = \"found-assigned-4\"; wrongSecret := \"SignatureDoesNotMatch\" }\n",
		"b.yaml":        "role:\n  credentials: {accessKeySecret: found-in-yaml-5, sessionToken: \"found-in-yaml-6\"}\n",
		"c.go":          "package c\n\nconst secret = \"of-the-program-itself\"\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range []string{dir, filepath.Join(dir, "e2e")} {
		var s secrets
		if err := s.written(from); err != nil {
			t.Fatal(err)
		}
		if len(s.known) != 6 {
			t.Errorf("from %s: %v", from, s.known)
		}
		for secret := range s.known {
			if !strings.HasPrefix(secret, "found-") {
				t.Errorf("from %s: %s", from, secret)
			}
		}
	}
}

// BenchmarkSearch is about as many secrets, and a tenth as much text, as all
// suites have together.
func BenchmarkSearch(b *testing.B) {
	var s secrets
	for i := range 5000 {
		s.add("TestX", fmt.Sprintf("secret-%d-%s", i, rand.Text()))
	}
	line := `time=2026-03-01T10:00:00.000Z level=INFO msg="role credentials can be had again" role=ec2/123456789012/backup source=aws request=0123456789abcdef01234567` + "\n"
	path := filepath.Join(b.TempDir(), "said-imds")
	if err := os.WriteFile(path, []byte(strings.Repeat(line, 10<<20/len(line))), 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(10 << 20)
	for b.Loop() {
		if got, err := s.search(path); err != nil || len(got) != 0 {
			b.Fatal(got, err)
		}
	}
}
