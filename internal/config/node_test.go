package config

import (
	"strings"
	"testing"
)

// The sample is good, and its paths are what they say.
func TestNodeSample(t *testing.T) {
	n, err := LoadNode("../../packaging/imds-node.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if n.State != "/var/lib/imds-node" || n.Control.Key != "node-key" || n.Admin.Address != DefaultNodeAdmin || n.Throttle.Burst != 200 {
		t.Errorf("%+v", n)
	}
	if n.Service().Throttle != n.Throttle {
		t.Errorf("throttle %+v", n.Service().Throttle)
	}
}

const leastNode = `state: s
control: {url: "https://control.example:8182", certificate: n.crt, key: ./n.key, authority: /a.crt}
listeners: [{dialect: ec2, address: "127.0.0.1:80"}]
`

func TestNodeDefaults(t *testing.T) {
	n, err := ParseNode("etc/node.yaml", []byte(leastNode))
	if err != nil {
		t.Fatal(err)
	}
	if n.State != "etc/s" || n.Control.Certificate != "etc/n.crt" || n.Control.Key != "etc/n.key" || n.Control.Authority != "/a.crt" || n.Admin.Address != DefaultNodeAdmin {
		t.Errorf("%+v", n)
	}
	n, err = ParseNode("etc/node.yaml", []byte(strings.Replace(leastNode, "./n.key", "node-key", 1)))
	if err != nil || n.Control.Key != "node-key" || !IsCredential(n.Control.Key) {
		t.Errorf("the name of a credential: %q, %v", n.Control.Key, err)
	}
}

func TestNodeRefused(t *testing.T) {
	for from, c := range map[string]struct{ to, want string }{
		"state: s":                            {"", "state: is required"},
		`url: "https://control.example:8182"`: {`url: "http://control.example"`, "control.url: is"},
		"certificate: n.crt, ":                {"", "control.certificate: is required"},
		"key: ./n.key, ":                      {"", "control.key: is required"},
		", authority: /a.crt":                 {"", "control.authority: is required"},
		`listeners: [{dialect: ec2, address: "127.0.0.1:80"}]`: {"listeners: []", "listeners: is required"},
		"dialect: ec2": {"dialect: gce", "listeners[0].dialect"},
	} {
		text := strings.Replace(leastNode, from, c.to, 1)
		if text == leastNode {
			t.Fatalf("%q does not stand in the example", from)
		}
		if _, err := ParseNode("node.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.to, err, c.want)
		}
	}
	if _, err := ParseNode("node.yaml", []byte(leastNode+"admin: {address: localhost}\n")); err == nil || !strings.Contains(err.Error(), "admin.address") {
		t.Errorf("a name as the admin address: %v", err)
	}
}

// A control plane's feed needs all of its files.
func TestFeed(t *testing.T) {
	const good = `feed: {address: "0.0.0.0:8182", certificate: c.crt, key: feed-key, authority: a.crt}` + "\n"
	s, err := ParseServe("etc/imds.yaml", []byte(leastServe+good))
	if err != nil || *s.Feed != (Feed{"0.0.0.0:8182", "etc/c.crt", "feed-key", "etc/a.crt"}) {
		t.Errorf("%+v, %v", s.Feed, err)
	}
	for _, without := range []string{"certificate: c.crt, ", "key: feed-key, ", ", authority: a.crt"} {
		if _, err := ParseServe("imds.yaml", []byte(leastServe+strings.Replace(good, without, "", 1))); err == nil || !strings.Contains(err.Error(), "is required") {
			t.Errorf("without %q: %v", without, err)
		}
	}
}
