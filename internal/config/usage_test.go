package config

import (
	"strings"
	"testing"
)

// Paths of the place are whole, and what is wrong is said without what may be
// secret.
func TestRemoteUsage(t *testing.T) {
	const good = "usage: {remote: {write: 'https://p.example/api/v1/write', tokenFile: t, ca: ./ca.pem, certificate: /c, key: k, headerFiles: {X-Key: h}, labels: {cluster: a}}}\n"
	s, err := ParseServe("etc/imds.yaml", []byte(leastServe+good))
	if err != nil {
		t.Fatal(err)
	}
	r := s.Usage.Remote
	if r.TokenFile != "etc/t" || r.CA != "etc/ca.pem" || r.Certificate != "/c" || r.Key != "etc/k" || r.HeaderFiles["X-Key"] != "etc/h" || r.PasswordFile != "" {
		t.Errorf("%+v", r)
	}
	for text, want := range map[string]string{
		"{}":                         "usage.remote.write: is required",
		"{write: p.example}":         "usage.remote.write: is not a URL",
		"{write: 'ftp://p.example'}": "usage.remote.write: is not a URL",
		"{write: 'https://p', query: '::s3cret'}":                              "usage.remote.query: is not a URL",
		"{write: 'https://me:s3cret@p.example/'}":                              "usage.remote.write: has a user in it",
		"{write: 'http://p.example/', tokenFile: t}":                           "usage.remote.write: is plain http",
		"{write: 'https://p', query: 'http://p.example', headerFiles: {A: b}}": "usage.remote.query: is plain http",
		"{write: 'https://p', user: u}":                                        "usage.remote.user: goes with passwordFile",
		"{write: 'https://p', user: u, passwordFile: p, tokenFile: t}":         "usage.remote.tokenFile: contradicts user",
		"{write: 'https://p', certificate: c}":                                 "usage.remote.certificate: goes with key",
		"{write: 'https://p', labels: {'a-b': c}}":                             `usage.remote.labels: has "a-b"`,
		"{write: 'https://p', labels: {__name__: c}}":                          `usage.remote.labels: has "__name__"`,
		"{write: 'https://p', labels: {kind: c}}":                              "usage.remote.labels: has kind, which every series has",
		"{write: 'https://p', labels: {a: ''}}":                                `usage.remote.labels: has "a" with a value`,
		"{write: 'https://p', headers: {'A B': c}}":                            `usage.remote.headers: has "A B"`,
		"{write: 'https://p', headers: {A: \"s3cret\\nB: c\"}}":                `usage.remote.headers: has "A"`,
		"{write: 'https://p', timeout: 6m}":                                    "usage.remote.timeout: is 6m0s",
		"{write: 'https://p', quer: 'https://p'}":                              "did you mean query?",
	} {
		_, err := ParseServe("imds.yaml", []byte(leastServe+"usage: {remote: "+text+"}\n"))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: found %v, want %q alone", text, err, want)
		}
	}
	for _, text := range []string{"{write: 'http://127.0.0.1:9090/api/v1/write', tokenFile: t}", "{write: 'http://p.example/w', headers: {X-Scope-OrgID: a}}", "{write: 'http://[::1]:9090/', user: u, passwordFile: p}"} {
		if _, err := ParseServe("imds.yaml", []byte(leastServe+"usage: {remote: "+text+"}\n")); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
