package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The sample is good, and its paths are what they say.
func TestServeSample(t *testing.T) {
	s, err := LoadServe("../../packaging/imds.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if s.State != "/var/lib/imds" || s.Key != "/etc/imds/key" || s.Admin.TokenFile != "/var/lib/imds/admin-token" {
		t.Errorf("state %s, key %s, admin token %s", s.State, s.Key, s.Admin.TokenFile)
	}
	if len(s.Listeners) != 2 || s.Places.Of("ec2").Region != "us-east-1" || s.Places.Of("ecs").Region != "cn-hangzhou" {
		t.Errorf("listeners %v, places %+v", s.Listeners, s.Places)
	}
	if s.Throttle.Burst != 200 || s.Service().Throttle != s.Throttle {
		t.Errorf("throttle %+v", s.Throttle)
	}
}

const leastServe = `state: /state
key: /key
listeners: [{dialect: ec2, address: "127.0.0.1:80"}]
`

func TestServeDefaults(t *testing.T) {
	s, err := ParseServe("etc/imds.yaml", []byte(leastServe+"throttle: {rate: 7}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Control.Address != DefaultControl || s.Throttle.Burst != 7 || s.Places.Of("ec2") != nil {
		t.Errorf("%+v", s)
	}
	for text, want := range map[string]Serve{
		"state: /s\nkey: /k\n":                        {State: "/s", Key: "/k", Admin: Admin{"/s/admin-token"}},
		"state: s\nkey: ./k\nolderKeys: [../o, old]":  {State: "etc/s", Key: "etc/k", OlderKeys: []string{"etc/../o", "old"}, Admin: Admin{"etc/s/admin-token"}},
		"state: s\nkey: imds-key\n":                   {State: "etc/s", Key: "imds-key", Admin: Admin{"etc/s/admin-token"}},
		"state: /s\nkey: /k\nadmin: {tokenFile: t}\n": {State: "/s", Key: "/k", Admin: Admin{"etc/t"}},
		"state: /s\nkey: /k\ninstances: i.yaml\n":     {State: "/s", Key: "/k", Instances: "etc/i.yaml", Admin: Admin{"/s/admin-token"}},
	} {
		s, err := ParseServe("etc/imds.yaml", []byte(text+"\nlisteners: [{dialect: ec2, address: \"[::1]:80\"}]\n"))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if s.State != want.State || s.Key != want.Key || s.Admin != want.Admin || s.Instances != want.Instances ||
			strings.Join(s.OlderKeys, " ") != strings.Join(want.OlderKeys, " ") {
			t.Errorf("%s: state %q, key %q, older %q, token %q, instances %q", text, s.State, s.Key, s.OlderKeys, s.Admin.TokenFile, s.Instances)
		}
	}
	// A path in the folder of the file is no credential.
	if s, err := ParseServe("imds.yaml", []byte(strings.Replace(leastServe, "/key", "./key", 1))); err != nil || IsCredential(s.Key) {
		t.Errorf("./key became %q, %v", s.Key, err)
	}
}

// Everything that is wrong is said at once, and each thing once.
func TestServeProblems(t *testing.T) {
	for _, tc := range []struct {
		text string
		want []string
	}{
		{"state: [a]\nkey: ''\n", []string{
			"serve.yaml:1:1: listeners: is required",
			"serve.yaml:1:8: state: found a list",
			"serve.yaml:2:6: key: is required",
		}},
		{leastServe + "olderKeys: ['']\ncontrol: {address: localhost}\naudit: {rotateSize: -1, rotateAfter: -1s, keep: -1}\n", []string{
			`olderKeys[0]: is empty`, `control.address: is "localhost": want an IP address and a port`,
			"audit.rotateSize: is -1", "audit.rotateAfter: is -1s", "audit.keep: is -1",
		}},
		{leastServe + "throttle: {rate: -1}\nplces: {}\n", []string{"throttle.rate: is -1", "plces: unknown key; did you mean places?"}},
		{leastServe + "places:\n  ec2:\n    zone: us-east-1a\n    vpc: {id: 'a b'}\n    subnet: {id: s}\n  ecs: {region: r, zone: z, vpc: {id: v}, subnet: {id: s, ipv4: 10.0.0.0/8}, sources: 127.0.0.1/8, public: '2001:db8::/32', services: {kmsServer: ' '}}\n", []string{
			"places.ec2.region: is required", "places.ec2.vpc.id: ", "places.ec2.subnet.ipv4: is required",
			"places.ecs.sources: found 127.0.0.1/8", "places.ecs.public: found 2001:db8::/32, expected an IPv4 block", "places.ecs.services.kmsServer: ",
		}},
		{"state: /s\nkey: /k\nlisteners: [{dialect: ec3, address: '1.2.3.4'}, {}]\n", []string{
			`listeners[0].dialect: is "ec3": want ecs or ec2`, `listeners[0].address: is "1.2.3.4"`, "listeners[1].dialect: ", "listeners[1].address: ",
		}},
		{`state: /s
key: /k
listeners:
  - {dialect: ec2, address: "169.254.169.254:80", interface: br0, network: red}
  - {dialect: ec2, address: "[fd00:ec2::254]:80", interface: br0}
  - {dialect: ecs, address: "100.100.100.200:80", interface: br0, network: blue}
  - {dialect: ecs, address: "100.100.100.200:80", interface: br0, network: blue, namespace: other}
  - {dialect: ecs, address: "100.100.100.200:80", interface: averyverylongname}
  - {dialect: ecs, address: "100.100.100.200:80", interface: "[ab][ab][ab][ab][ab]*"}
`, []string{
			`listeners[2].network: is "blue", and that of listeners[0] is "red": both claim br0, and an interface belongs to one network`,
			`listeners[4].interface: is "averyverylongname": the kernel's names of interfaces have 15 letters at most`,
		}},
	} {
		_, err := ParseServe("serve.yaml", []byte(tc.text))
		if err == nil {
			t.Errorf("%s: no error", tc.text)
			continue
		}
		got := strings.Split(err.Error(), "\n")
		for _, want := range tc.want {
			n := 0
			for _, line := range got {
				if strings.Contains(line, want) {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%s: %q stands in it %d times:\n%v", tc.text, want, n, err)
			}
		}
		if len(got) != len(tc.want) {
			t.Errorf("%s: %d problems, want %d:\n%v", tc.text, len(got), len(tc.want), err)
		}
	}
	path := filepath.Join(t.TempDir(), "none.yaml")
	if _, err := LoadServe(path); !os.IsNotExist(err) {
		t.Errorf("without a file: %v", err)
	}
}
