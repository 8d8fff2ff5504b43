package ec2

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
	in := &instance.Instance{
		ID:          "i-0abcdef0123456789",
		Dialect:     "ec2",
		Account:     "123456789012",
		Region:      "us-east-1",
		Zone:        "us-east-1a",
		ZoneID:      "use1-az4",
		Type:        "t2.micro",
		LaunchIndex: 2,
		Started:     time.Date(2022, 2, 2, 2, 2, 2, 0, time.UTC),
		Image:       instance.Image{ID: "ami-0abcdef0123456789"},
		Metadata:    instance.MetadataOptions{InstanceMetadataTags: instance.Enabled},
		Interfaces: []instance.Interface{
			{
				ID: "eni-0001", MAC: "0a:00:00:00:00:01",
				IPv4:           addrs("172.31.0.10", "172.31.0.11"),
				IPv6:           addrs("2600:1f16:aeb:b20b::1", "2600:1f16:aeb:b20b:0:0:0:2"),
				Public:         []instance.PublicIPv4{{Address: addr("203.0.113.5")}},
				PublicHostname: "ec2-203-0-113-5.compute-1.amazonaws.com",
				SecurityGroups: []instance.SecurityGroup{{ID: "sg-2", Name: "web"}, {ID: "sg-1", Name: "admin"}},
				Subnet: instance.Subnet{
					ID: "subnet-1", IPv4: netip.MustParsePrefix("172.31.0.0/20"), IPv6: prefixes("2600:1f16:aeb:b20b::/64"),
				},
				VPC: instance.VPC{
					ID: "vpc-1", IPv4: prefixes("172.31.0.0/16", "10.9.0.0/16"), IPv6: prefixes("2600:1f16:aeb:b200::/56"),
				},
			},
			{
				ID: "eni-0002", MAC: "0a:00:00:00:00:02", Device: 1, Owner: "210987654321", Card: new(int),
				IPv4:         addrs("172.31.16.10"),
				IPv4Prefixes: prefixes("172.31.16.32/28", "172.31.16.48/28"),
				IPv6Prefixes: prefixes("2600:1f16:aeb:b20c:1::/80"),
				Subnet:       instance.Subnet{ID: "subnet-2"},
				VPC:          instance.VPC{ID: "vpc-1", IPv4: prefixes("172.31.0.0/16")},
			},
		},
		Disks: []instance.Disk{
			{ID: "vol-1", Device: "/dev/sda1", Kind: instance.DiskRoot},
			{ID: "vol-2", Device: "/dev/sdf"},
			{ID: "store-1", Device: "/dev/sdb", Kind: instance.DiskEphemeral},
			{ID: "vol-3", Device: "/dev/sdg", Kind: instance.DiskData},
		},
		KeyPairs: []instance.KeyPair{{Name: "admin", PublicKey: "ssh-ed25519 AAAAC3 admin"}},
		Role: &instance.Role{
			Name: "web-role", ProfileID: "AIPA0000000000000001",
			Credentials: &instance.Credentials{AccessKeyID: "ASIA1", AccessKeySecret: "secret/1", SessionToken: "token+1=="},
		},
		Tags:     map[string]string{"Name": "web", "env": "", "a/b": "hidden"},
		UserData: []byte("#!/bin/sh\necho hello\n"),
	}
	for _, edit := range edits {
		edit(in)
	}
	return in
}

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

func addrs(texts ...string) (list []netip.Addr) {
	for _, text := range texts {
		list = append(list, addr(text))
	}
	return list
}

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// v6only takes everything away that an IPv6-only instance lacks.
func v6only(in *instance.Instance) {
	for i := range in.Interfaces {
		f := &in.Interfaces[i]
		f.IPv4, f.Public, f.PublicHostname, f.IPv4Prefixes, f.Subnet.IPv4 = nil, nil, "", nil, netip.Prefix{}
	}
}

func withoutRole(in *instance.Instance)        { in.Role = nil }
func withoutCredentials(in *instance.Instance) { in.Role.Credentials = nil }
func withoutKeys(in *instance.Instance)        { in.KeyPairs = nil }
func withoutDisks(in *instance.Instance)       { in.Disks = nil }
func withoutTags(in *instance.Instance)        { in.Tags = nil }
func hidingTags(in *instance.Instance)         { in.Metadata.InstanceMetadataTags = "" }
func inIreland(in *instance.Instance)          { in.Region, in.Zone = "eu-west-1", "eu-west-1b" }
func inBeijing(in *instance.Instance)          { in.Region, in.Zone = "cn-north-1", "cn-north-1a" }

// withEvents announces what can be announced.
func withEvents(in *instance.Instance) {
	in.Events = instance.Events{
		Spot:      &instance.SpotInterruption{Time: now.Add(2 * time.Minute)},
		Rebalance: now,
		Maintenance: []instance.Maintenance{
			{
				ID: "instance-event-1", Code: "system-reboot", Description: "scheduled reboot",
				NotBefore: time.Date(2019, 1, 21, 9, 0, 43, 0, time.UTC), NotAfter: time.Date(2019, 1, 21, 9, 17, 23, 0, time.UTC),
			},
			{
				ID: "instance-event-2", Code: "instance-stop", Description: `says "stop"`,
				NotBefore: time.Date(2019, 2, 3, 1, 2, 3, 0, time.UTC), State: instance.EventActive,
			},
			{ID: "instance-event-3", Code: "system-reboot", NotBefore: now, State: instance.EventCompleted, Description: "scheduled reboot"},
			{ID: "instance-event-4", Code: "system-reboot", NotBefore: now, State: instance.EventCanceled, Description: "scheduled reboot"},
		},
	}
}

// withManagedKeys pushes keys, one of which has expired.
func withManagedKeys(in *instance.Instance) {
	in.ManagedSSH = instance.ManagedSSH{
		Keys: []instance.ManagedKey{
			{User: "root", Expires: now, Text: "#Timestamp=1\nssh-rsa AAAA\nc2ln\n"},
			{User: "admin", Expires: now.Add(time.Second), Text: "#Timestamp=2\nssh-rsa BBBB\nc2ln"},
			{User: "admin", Text: "#Timestamp=3\nssh-rsa CCCC\nc2ln\n\n"},
		},
		SignerCertificate: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
		SignerOCSP:        map[string]string{"BB02": "b2NzcDI=", "AA01": "b2NzcDE="},
	}
}

// absent is what lookup's callers expect of a path that is 404.
const absent = "\x00absent"

var tree = New().Tree

// lookup resolves a path without slashes at its ends.
func lookup(t *testing.T, in *instance.Instance, path string) (string, bool) {
	t.Helper()
	q := item.Query{Instance: in, Now: now.Unix()}
	body, found := tree.Resolve(nil, &q, []byte(path))
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
