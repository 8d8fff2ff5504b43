//go:build linux

package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"openimds/internal/testnet"
)

// guarded puts sample policies of docs/policies, and an access key which may do
// all but what they forbid: to launch without hardening, and to opt out of it.
// An operator would do it like this, too. It returns the connection of that key.
func (s *teller) guarded(t *testing.T) connection {
	t.Helper()
	version, id, samples := "2012-10-17", "AKIAPOLICIES00000000", []string{"ec2-require-imdsv2", "ec2-forbid-opt-out"}
	if s.dialect.name == "ecs" {
		version, id, samples = "1", "LTAIpolicies00000000", []string{"ecs-require-hardening", "ecs-forbid-opt-out"}
	}
	documents := map[string]json.RawMessage{
		"full": json.RawMessage(`{"Version":"` + version + `","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`),
	}
	for _, name := range samples {
		documents[name] = check[[]byte](t)(os.ReadFile(filepath.Join("..", "docs", "policies", name+".json")))
	}
	args := []string{"apply", "--server", s.p.control}
	apply := func(name string, document values) {
		text := check[[]byte](t)(json.Marshal(document))
		path := filepath.Join(t.TempDir(), name+".json")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-f", path)
	}
	var attached []string
	for name, document := range documents {
		attached = append(attached, name)
		apply(name, values{"kind": "policies", "dialect": s.dialect.name, "name": name, "document": document})
	}
	c := s.connection
	c.Key, c.Secret = id, testnet.Secret(t, "policies-secret-0123456789")
	apply("key", values{
		"kind": "keys", "dialect": s.dialect.name, "id": c.Key, "secret": c.Secret, "user": "guarded",
		"account": sample(t, s.dialect.name, optional).Account, "policies": attached,
	})
	if _, stderr, err := command(t, nil, executable, args...); err != nil {
		t.Fatalf("imds %v: %v\n%s", args, err, stderr)
	}
	return c
}

// storyPolicies: what policies forbid is refused in the vendor's word for it,
// and changes nothing for the instance; what they do not is done.
func storyPolicies(t *testing.T, s *teller) {
	c := s.as(t, s.guarded(t))
	_, err := c.launch(launch{image: s.image, tokens: "optional"})
	told(t, "launch with optional tokens", err, s.codes.denied, http.StatusForbidden)
	_, err = c.launch(launch{image: s.image})
	told(t, "launch that says nothing of tokens", err, s.codes.denied, http.StatusForbidden)
	_, err = c.launch(launch{image: s.image, dryRun: true})
	told(t, "dry run of it", err, s.codes.denied, http.StatusForbidden)

	ids := check[[]string](t)(c.launch(launch{image: s.image, tokens: "required", name: "hardened"}))
	id := ids[0]
	t.Cleanup(func() { s.end(t, id) })
	m := launched(t, s.p, s.dialect, id)
	m.requires(t, id)
	told(t, "change to optional", c.set(id, "optional", "", ""), s.codes.denied, http.StatusForbidden)
	m.requires(t, id)
	_, token := m.mint(t)
	if status, name := m.get(t, "meta-data/tags/instance/Name", token); status == http.StatusOK {
		t.Errorf("before tags are shown, the item has %q", name)
	}
	if err := c.set(id, "required", "enabled", "enabled"); err != nil {
		t.Error(err)
	}
	if status, name := m.get(t, "meta-data/tags/instance/Name", token); status != http.StatusOK || name != "hardened" {
		t.Errorf("the tag that is shown now: %d, %q", status, name)
	}
	found := check[[]shown](t)(c.find("required", "", "hardened"))
	if len(found) != 1 || found[0].id != id {
		t.Errorf("found %v, want %s", found, id)
	}
	// Who is not bound by these policies opts the same instance out.
	s.set(t, id, "optional", "", "")
	m.serves(t, id)
}
