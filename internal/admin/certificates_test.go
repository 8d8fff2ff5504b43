package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"openimds/internal/docsign"
)

// Certificates are for everybody but a page that a browser shows; what is
// wrong with a request is said.
func TestCertificates(t *testing.T) {
	fail := error(nil)
	b := newBed(t, func(c *Config) {
		c.Token = "a-token-of-twenty-letters"
		c.Certificates = func(context.Context) ([]docsign.Certificate, error) {
			return []docsign.Certificate{
				{Dialect: "ec2", Region: "us-east-1", Algorithm: "rsa", State: "current", PEM: "PEM-1\n"},
				{Dialect: "ecs", Region: "cn-hangzhou", Algorithm: "rsa", State: "next", PEM: "PEM-2\n"},
			}, fail
		}
	})
	get := func(query string, change func(*http.Request)) (int, string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:8180/v1/identity/certificates"+query, nil)
		if change != nil {
			change(r)
		}
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for query, want := range map[string]string{"": "PEM-1\nPEM-2\n", "?dialect=ecs": "PEM-2\n", "?region=us-east-1&state=current&format=pem": "PEM-1\n", "?algorithm=dsa": ""} {
		status, body := get(query, nil)
		for _, pem := range []string{"PEM-1\n", "PEM-2\n"} {
			if status != http.StatusOK || strings.Contains(body, pem) != strings.Contains(want, pem) {
				t.Errorf("%s: %d %q, want %q", query, status, body, want)
			}
		}
	}
	status, body := get("?format=json&dialect=ecs", nil)
	var got published
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != http.StatusOK || len(got.Certificates) != 1 || got.Certificates[0].PEM != "PEM-2\n" {
		t.Errorf("%d %s, %v", status, body, err)
	}
	for query, want := range map[string]string{
		"?dialect=gcp": "expected ecs or ec2", "?reggion=x": "did you mean region?", "?format=json&format=pem": "expected once", "?%zz": "malformed",
	} {
		if status, body := get(query, nil); status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want %q", query, status, body, want)
		}
	}
	for what, change := range map[string]func(*http.Request){
		"another name as the host": func(r *http.Request) { r.Host = "attacker.example" },
		"a page's request":         func(r *http.Request) { r.Header.Set("Origin", "https://attacker.example") },
	} {
		if status, body := get("", change); status != http.StatusForbidden {
			t.Errorf("%s: %d %s", what, status, body)
		}
	}
	fail = errors.New("the disk is full")
	if status, body := get("", nil); status != http.StatusServiceUnavailable || strings.Contains(body, "disk") {
		t.Errorf("without keys: %d %s", status, body)
	}
}
