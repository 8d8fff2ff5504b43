package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"openimds/internal/feed"
	"openimds/internal/instance"
	"openimds/internal/node"
	"openimds/internal/pki"
	"openimds/internal/telemetry"
	"openimds/internal/testnet"
	"openimds/internal/token"
)

// A certificate is warned of a month before its end, and not before that.
func TestCertificateEnds(t *testing.T) {
	now, dir := time.Now(), t.TempDir()
	ca, err := pki.NewAuthority("fleet", now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Node("a", now)
	if err != nil {
		t.Fatal(err)
	}
	files := pki.Files{Certificate: filepath.Join(dir, "crt"), Key: filepath.Join(dir, "key"), Authority: filepath.Join(dir, "ca")}
	for path, data := range map[string][]byte{files.Certificate: pair.Cert, files.Key: pair.Key, files.Authority: ca.Cert} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var c certificate
	var out bytes.Buffer
	log := telemetry.NewLogger(&out, slog.LevelInfo)
	c.look(files, now.Add(pki.LeafLife-warnBefore-time.Hour), log)
	if out.Len() > 0 || c.ends().Sub(now) < pki.LeafLife-time.Hour {
		t.Errorf("ends %v, logged %s", c.ends(), out.String())
	}
	c.look(files, now.Add(pki.LeafLife-warnBefore+time.Hour), log)
	if !strings.Contains(out.String(), "ends soon") || !strings.Contains(out.String(), "days=29") {
		t.Errorf("logged %q", out.String())
	}
	out.Reset()
	files.Certificate += "-gone"
	c.look(files, now, log)
	if !strings.Contains(out.String(), "level=ERROR") || !c.ends().IsZero() {
		t.Errorf("a missing certificate: ends %v, logged %q", c.ends(), out.String())
	}
}

// guestOf is an instance as the feed has it.
func guestOf(n int, address string) feed.Guest {
	in := &instance.Instance{
		ID: guestID(n), Dialect: "ec2", Account: "123456789012", Region: "us-east-1", Zone: "us-east-1a", Type: "m7g.large", Node: "a",
		Image: instance.Image{ID: "ami-0123456789abcdef0"}, Interfaces: []instance.Interface{{
			ID: fmt.Sprintf("eni-%017x", n), MAC: fmt.Sprintf("02:00:00:00:00:%02x", n), IPv4: []netip.Addr{netip.MustParseAddr(address)},
			Subnet: instance.Subnet{ID: "subnet-0123456789abcdef0", IPv4: netip.MustParsePrefix("10.0.0.0/16")},
			VPC:    instance.VPC{ID: "vpc-0123456789abcdef0", IPv4: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}},
		}},
	}
	instance.Normalize(in)
	var keys token.Lease
	for i := range keys.Keys {
		keys.Keys[i] = make([]byte, 32)
	}
	return feed.Guest{Instance: in, Keys: keys}
}

// Of two instances that claim one address neither is served, the others are,
// and all are once the address is told apart again.
func TestClash(t *testing.T) {
	g := newGuests(testnet.Quiet())
	g.node = node.New(node.Config{Keys: g.keysOf})
	apply := func(b *feed.Batch, served, held int) {
		t.Helper()
		if err := g.apply(b); err != nil {
			t.Error(err)
		}
		if got := g.node.Stats().Instances; got != served || g.heldBack() != held {
			t.Errorf("%d served and %d held back, want %d and %d", got, g.heldBack(), served, held)
		}
	}
	apply(&feed.Batch{All: true, Put: []feed.Guest{guestOf(1, "10.0.0.1"), guestOf(2, "10.0.0.2"), guestOf(3, "10.0.0.3")}}, 3, 0)
	apply(&feed.Batch{Put: []feed.Guest{guestOf(2, "10.0.0.1")}}, 1, 2)
	apply(&feed.Batch{Put: []feed.Guest{guestOf(4, "10.0.0.4")}}, 2, 2)
	apply(&feed.Batch{Put: []feed.Guest{guestOf(2, "10.0.0.5")}}, 4, 0)
	apply(&feed.Batch{Put: []feed.Guest{guestOf(1, "10.0.0.5"), guestOf(2, "10.0.0.1")}}, 4, 0) // they change places
	apply(&feed.Batch{Removed: []string{guestID(1), guestID(2)}}, 2, 0)
	if len(g.keys) != 2 {
		t.Errorf("keys of %d instances are held", len(g.keys))
	}
}

// What the admin address shows, and to whom.
func TestAdmin(t *testing.T) {
	n := node.New(node.Config{Keys: token.NewLeasedKeys})
	status := feedReport{URL: "https://control.example"}
	serving := true
	v := &view{
		node: n, feed: func() feedReport { return status }, serving: func() bool { return serving },
		sources: []telemetry.Source{telemetry.DataPlane(n)}, problems: func(err error) { t.Error(err) },
	}
	h := v.handler()
	get := func(path string, change ...func(*http.Request)) (int, string) {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Host = "127.0.0.1:8181"
		for _, c := range change {
			c(r)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	expect := func(path string, code int, want string, change ...func(*http.Request)) {
		t.Helper()
		if got, body := get(path, change...); got != code || !strings.Contains(body, want) {
			t.Errorf("%s: %d %q, want %d with %q", path, got, body, code, want)
		}
	}
	expect("/healthz", 200, "ok")
	expect("/readyz", 503, "never reached")
	status.Revision = 7
	expect("/readyz", 200, "ready")
	serving = false
	expect("/readyz", 503, "ending")
	expect("/metrics", 200, "openimds_connections 0\n")
	expect("/v1/usage", 200, `{"usage":[]}`)
	expect("/v1/usage?instance=i-1", 404, "i-1")
	expect("/v1/interfaces", 200, `{"interfaces":[]}`)
	expect("/nothing", 404, "")
	expect("/v1/usage", 403, "refused", func(r *http.Request) { r.Host = "node.example" })
	expect("/v1/usage", 403, "refused", func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1") })
	_, body := get("/v1/feed")
	var shown map[string]any
	if err := json.Unmarshal([]byte(body), &shown); err != nil || shown["url"] != "https://control.example" || shown["revision"] != 7.0 {
		t.Errorf("/v1/feed: %s, %v", body, err)
	}
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "node.yaml")
	text := "state: s\ncontrol: {url: \"https://127.0.0.1:1\", certificate: n.crt, key: ./n.key, authority: a.crt}\nlisteners: [{dialect: ec2, address: \"127.0.0.1:0\"}]\nadmin: {address: \"127.0.0.1:0\"}\n"
	if err := os.WriteFile(good, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"":                       "settings are needed",
		"-x":                     "flag provided but not defined",
		"-c " + good + " more":   `the argument "more"`,
		"-c " + dir + "/missing": "no such file",
		"-c " + good + " -check": "n.crt",
		"-c " + good:             "n.crt", // there is no last good state either
	} {
		var out, problems bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), &out, testnet.Hear(&problems, "imds-node")); code != exitUsage || !strings.Contains(problems.String(), want) {
			t.Errorf("imds-node %s: exit code %d, %q, want %q", args, code, problems.String(), want)
		}
	}
	var out bytes.Buffer
	if code := run(t.Context(), []string{"-help"}, &out, testnet.Hear(&out, "imds-node")); code != 0 || !strings.Contains(out.String(), "SIGHUP") {
		t.Errorf("-help: exit code %d, %q", code, out.String())
	}
	if _, err := credentialPath("node-key", ""); err == nil || !strings.Contains(err.Error(), "LoadCredential=node-key") {
		t.Errorf("a credential without systemd: %v", err)
	}
	if path, err := credentialPath("node-key", "/run/credentials/x"); err != nil || path != "/run/credentials/x/node-key" {
		t.Errorf("a credential: %q, %v", path, errors.Join(err))
	}
}
