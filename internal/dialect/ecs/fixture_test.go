package ecs

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"openimds/internal/instance"
	"openimds/internal/item"
)

// now is the time of every look-up in these tests, three hours into a window.
var now = time.Date(2025, 6, 1, 3, 0, 0, 0, time.UTC)

// guest returns an instance that has one of nearly everything, changed by
// edits.
func guest(edits ...func(*instance.Instance)) *instance.Instance {
	subnet := instance.Subnet{
		ID:          "vsw-bp1ygryo03m39xhsy0001",
		IPv4:        netip.MustParsePrefix("192.168.1.0/24"),
		IPv6:        []netip.Prefix{netip.MustParsePrefix("2408:4004:100:a204::/64")},
		IPv6Gateway: netip.MustParseAddr("2408:4004:100:a204:ffff:ffff:ffff:fff7"),
	}
	vpc := instance.VPC{
		ID:   "vpc-bp1e0g399hkd7c8q00001",
		IPv4: []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("10.0.0.0/8")},
		IPv6: []netip.Prefix{netip.MustParsePrefix("2408:4004:100:a200::/56")},
	}
	in := &instance.Instance{
		ID: "i-bp13znx0m0me8cquu001", Dialect: "ecs", Name: "web-1", Hostname: "iZbp13znx0m0me8cquu001Z",
		Account: "1609000000000001", Region: "cn-hangzhou", Zone: "cn-hangzhou-i", Type: "ecs.g7.large",
		Serial:   "4acd2b47-b328-4762-852f-998000000001",
		Landed:   time.Date(2024, 11, 17, 10, 2, 41, 0, time.UTC),
		Image:    instance.Image{ID: "aliyun_3_x64_20G_alibase_20240819.vhd", ProductCodes: []string{"cmjj010001"}, ChargeType: "PrePaid"},
		Machine:  instance.Machine{EgressKbps: 1228800, IngressKbps: 1228800, MaxPPS: 300000, MaxConnections: 250000},
		Metadata: instance.MetadataOptions{InstanceMetadataTags: instance.Enabled},
		Interfaces: []instance.Interface{
			{
				ID: "eni-bp1b2c0jvnj0g17b0001", MAC: "00:16:3e:0f:00:01", Subnet: subnet, VPC: vpc,
				IPv4:         addrs("192.168.1.10", "192.168.1.11"),
				IPv6:         addrs("2408:4004:100:a204::4e"),
				Public:       []instance.PublicIPv4{{Address: netip.MustParseAddr("120.55.0.1")}},
				IPv4Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.1.32/28")},
				IPv6Prefixes: []netip.Prefix{netip.MustParsePrefix("2408:4004:100:a204:1::/80"), netip.MustParsePrefix("2408:4004:100:a204:2::/80")},
			},
			{ID: "eni-bp1b2c0jvnj0g17b0002", MAC: "00:16:3e:0f:00:02", Subnet: subnet, VPC: vpc, IPv4: addrs("192.168.1.20")},
		},
		Disks: []instance.Disk{
			{ID: "d-bp131n0q38u3a4zi0001", Name: "system"},
			{ID: "d-bp131n0q38u3a4zi0002"},
		},
		KeyPairs: []instance.KeyPair{{ID: "skp-bp1test", Name: "admin", PublicKey: "ssh-ed25519 AAAAC3 admin"}},
		Role: &instance.Role{Name: "web-role", Credentials: &instance.Credentials{
			AccessKeyID: "STS.NUtest", AccessKeySecret: "secret\"/\\", SessionToken: "token",
		}},
		Tags:     map[string]string{"env": "dev", "a b": "no", "acs:x_y-z.1=2,@": "odd", "..": "no", "größe": "no"},
		UserData: []byte("#!/bin/sh\necho hello\n"),
		Services: instance.Services{
			Nameservers: addrs("100.100.2.136", "100.100.2.138"),
			NTPServers:  []string{"ntp1.aliyun.com", "ntp2.aliyun.com"},
			Mirrors:     []string{"http://mirrors.cloud.aliyuncs.com", "http://mirrors.example.com"},
			KMSServer:   "kms.cloud.aliyuncs.com", WSUSServer: "http://update.cloud.aliyuncs.com", WSUSStatusServer: "http://status.cloud.aliyuncs.com",
		},
	}
	for _, edit := range edits {
		edit(in)
	}
	instance.Normalize(in)
	return in
}

func addrs(texts ...string) (all []netip.Addr) {
	for _, s := range texts {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

func asWindows(in *instance.Instance)   { in.Platform = windows }
func withoutRole(in *instance.Instance) { in.Role = nil }
func withoutKeys(in *instance.Instance) { in.KeyPairs = nil }

// v6only is an instance without any IPv4 address of its own.
func v6only(in *instance.Instance) {
	for i := range in.Interfaces {
		f := &in.Interfaces[i]
		f.IPv4, f.Public, f.IPv4Prefixes = nil, nil, nil
		f.IPv6 = addrs("2408:4004:100:a204::4e", "2408:4004:100:a204::4f")
	}
}

// lookup resolves path, which starts with the version, with a query string if
// it has one. Absent is reported as false.
func lookup(t testing.TB, in *instance.Instance, path, query string) (string, bool) {
	t.Helper()
	q := item.Query{Instance: in, Now: now.Unix(), RawQuery: []byte(query)}
	body, found := New().Tree.Resolve(nil, &q, []byte(path))
	if found.Kind == item.Absent && len(body) > 0 {
		t.Errorf("%s is absent, and yet there is a body %q", path, body)
	}
	return string(body), found.Kind != item.Absent
}

// stamp signs in every form, by saying what it was given.
type stamp struct{}

// Signs implements item.Signer.
func (stamp) Signs(*instance.Instance, string) bool { return true }

// Sign implements item.Signer.
func (stamp) Sign(in *instance.Instance, form string, document []byte) ([]byte, item.Refusal) {
	return fmt.Appendf(nil, "%s of %s over %d bytes", form, in.ID, len(document)), item.NotRefused
}
