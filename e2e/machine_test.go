//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"openimds/internal/testnet"
)

// dialect is what the data plane of a cloud looks like from an instance.
type dialect struct {
	name         string
	ttl, token   string // header names
	roles        string // path that lists the role
	unauthorized int    // status of a request without a token that needs one
}

var (
	ec2Dialect = dialect{
		name: "ec2", ttl: "X-aws-ec2-metadata-token-ttl-seconds", token: "X-aws-ec2-metadata-token",
		roles: "meta-data/iam/security-credentials/", unauthorized: http.StatusUnauthorized,
	}
	ecsDialect = dialect{
		name: "ecs", ttl: "X-aliyun-ecs-metadata-token-ttl-seconds", token: "X-aliyun-ecs-metadata-token",
		roles: "meta-data/ram/security-credentials/", unauthorized: http.StatusForbidden,
	}
)

// machine is an instance as it is from inside: requests from its own source
// address, each on a connection of its own.
type machine struct {
	dialect
	base   string // of the data plane
	client *http.Client
}

// newMachine is the instance that calls from a source address.
func newMachine(p *program, d dialect, source string) *machine {
	t := transport(source)
	t.DisableKeepAlives = true
	return &machine{d, map[string]string{"ec2": p.ec2, "ecs": p.ecs}[d.name], &http.Client{Transport: t, Timeout: 10 * time.Second}}
}

// launched finds the address that a launched instance calls from: `imds dev`
// gives the next one of loopback. Its endpoint must be enabled.
func launched(t *testing.T, p *program, d dialect, id string) *machine {
	t.Helper()
	for n := 5; n < 100; n++ {
		m := newMachine(p, d, fmt.Sprintf("127.0.0.%d", n))
		if status, token := m.mint(t); status != http.StatusOK {
			continue
		} else if status, body := m.get(t, "meta-data/instance-id", token); status == http.StatusOK && body == id {
			return m
		}
	}
	t.Fatalf("no source address is that of instance %s", id)
	return nil
}

// mint asks for a session token.
func (m *machine) mint(t *testing.T) (status int, token string) {
	t.Helper()
	if status, token = m.do(t, http.MethodPut, "api/token", m.ttl, "300"); status == http.StatusOK {
		testnet.Secret(t, token)
	}
	return status, token
}

// get reads an item, with a token unless that is empty.
func (m *machine) get(t *testing.T, path, token string) (status int, body string) {
	t.Helper()
	if token == "" {
		return m.do(t, http.MethodGet, path, "", "")
	}
	return m.do(t, http.MethodGet, path, m.token, token)
}

func (m *machine) do(t *testing.T, method, path, header, value string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, m.base+"/latest/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != "" {
		req.Header.Set(header, value)
	}
	res, err := m.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(all)
}

// read is an item that the instance gets with a session token.
func (m *machine) read(t *testing.T, path string) string {
	t.Helper()
	status, token := m.mint(t)
	if status != http.StatusOK {
		t.Fatalf("no token: %d %s", status, token)
	}
	status, body := m.get(t, path, token)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", path, status, body)
	}
	return body
}

// requires reports where the instance is not in hardening mode: it must be
// itself with a token, and refused without one.
func (m *machine) requires(t *testing.T, id string) {
	t.Helper()
	equal(t, "instance id, with a token", m.read(t, "meta-data/instance-id"), id)
	status, body := m.get(t, "meta-data/instance-id", "")
	equal(t, "status without a token", status, m.unauthorized)
	if strings.Contains(body, id) {
		t.Errorf("the refusal tells the id: %s", body)
	}
}

// serves reports where the instance is not in normal mode: it must be itself
// with a token and without.
func (m *machine) serves(t *testing.T, id string) {
	t.Helper()
	equal(t, "instance id, with a token", m.read(t, "meta-data/instance-id"), id)
	status, body := m.get(t, "meta-data/instance-id", "")
	equal(t, "status without a token", status, http.StatusOK)
	equal(t, "instance id, without a token", body, id)
}

// refuses reports where an instance with this token, which was good, gets
// another status than the one given, for anything.
func (m *machine) refuses(t *testing.T, token string, want int) {
	t.Helper()
	for _, with := range []string{"", token} {
		status, _ := m.get(t, "meta-data/instance-id", with)
		equal(t, "status of a read", status, want)
	}
	status, _ := m.mint(t)
	equal(t, "status of a request for a token", status, want)
}
