package ec2

import (
	"strings"
	"testing"
	"time"

	"openimds/internal/instance"
	"openimds/internal/item"
)

const (
	nic0 = "latest/meta-data/network/interfaces/macs/0a:00:00:00:00:01/"
	nic1 = "latest/meta-data/network/interfaces/macs/0a:00:00:00:00:02/"
)

type edits = []func(*instance.Instance)

// TestItems tells what items are in cases that are easily got wrong.
func TestItems(t *testing.T) {
	edit := func(list ...func(*instance.Instance)) edits { return list }
	plain := edit()
	spot := func(action string) func(*instance.Instance) {
		return func(in *instance.Instance) {
			in.Events.Spot = &instance.SpotInterruption{Action: action, Time: now}
		}
	}
	for _, test := range []struct {
		fact  string
		edits edits
		path  string
		want  string
	}{
		{"EC2-ITEM-002", plain, "latest/meta-data/ami-launch-index", "2"},
		{"EC2-ITEM-003", plain, "latest/meta-data/ami-manifest-path", "(unknown)"},
		{"EC2-ITEM-003", edit(func(in *instance.Instance) { in.Image.ManifestPath = "b/m.xml" }), "latest/meta-data/ami-manifest-path", "b/m.xml"},
		{"EC2-ITEM-004", plain, "latest/meta-data/ancestor-ami-ids", absent},
		{"EC2-ITEM-004", edit(func(in *instance.Instance) { in.Image.Ancestors = []string{"ami-1", "ami-2"} }), "latest/meta-data/ancestor-ami-ids", "ami-1\nami-2"},
		{"EC2-ITEM-005", plain, "latest/meta-data/autoscaling", absent},

		{"EC2-ITEM-008", plain, "latest/meta-data/block-device-mapping", "ami\nebs1\nebs2\nephemeral0\nroot"},
		{"EC2-ITEM-006", plain, "latest/meta-data/block-device-mapping/ami", "/dev/sda1"},
		{"EC2-ITEM-007", edit(withoutDisks), "latest/meta-data/block-device-mapping/root", "/dev/xvda"},
		{"EC2-ITEM-008", plain, "latest/meta-data/block-device-mapping/ebs2", "sdg"},
		{"EC2-ITEM-008", plain, "latest/meta-data/block-device-mapping/ebs3", absent},
		{"EC2-ITEM-009", plain, "latest/meta-data/block-device-mapping/ephemeral0", "sdb"},
		{"EC2-ITEM-010", edit(func(in *instance.Instance) {
			in.Disks = append(in.Disks, instance.Disk{Device: "sda3", Kind: instance.DiskSwap})
		}), "latest/meta-data/block-device-mapping/swap", "sda3"},
		{"EC2-LIST-06", edit(withoutDisks), "latest/meta-data/block-device-mapping", "ami\nroot"},

		{"EC2-ITEM-012", plain, "latest/meta-data/events/maintenance/scheduled", "[]"},
		{"EC2-ITEM-011", plain, "latest/meta-data/events/maintenance/history", "[]"},
		{"EC2-ITEM-012", edit(withEvents), "latest/meta-data/events/maintenance/scheduled", `[
  {
    "NotBefore" : "21 Jan 2019 09:00:43 GMT",
    "Code" : "system-reboot",
    "Description" : "scheduled reboot",
    "EventId" : "instance-event-1",
    "NotAfter" : "21 Jan 2019 09:17:23 GMT",
    "State" : "active"
  },
  {
    "NotBefore" : "3 Feb 2019 01:02:03 GMT",
    "Code" : "instance-stop",
    "Description" : "says \"stop\"",
    "EventId" : "instance-event-2",
    "State" : "active"
  }
]`},
		{"EC2-ITEM-011", edit(withEvents), "latest/meta-data/events/maintenance/history", `[
  {
    "NotBefore" : "1 Jun 2025 03:00:00 GMT",
    "Code" : "system-reboot",
    "Description" : "[Completed] scheduled reboot",
    "EventId" : "instance-event-3",
    "State" : "completed"
  },
  {
    "NotBefore" : "1 Jun 2025 03:00:00 GMT",
    "Code" : "system-reboot",
    "Description" : "[Canceled] scheduled reboot",
    "EventId" : "instance-event-4",
    "State" : "canceled"
  }
]`},
		{"EC2-ITEM-013", plain, "latest/meta-data/events/recommendations", absent},
		{"EC2-ITEM-013", edit(withEvents), "latest/meta-data/events/recommendations/rebalance", `{"noticeTime":"2025-06-01T03:00:00Z"}`},
		{"EC2-ITEM-072", plain, "latest/meta-data/spot", absent},
		{"EC2-ITEM-072", edit(withEvents), "latest/meta-data/spot/instance-action", `{"action": "terminate", "time": "2025-06-01T03:02:00Z"}`},
		{"EC2-ITEM-073", edit(withEvents), "latest/meta-data/spot/termination-time", "2025-06-01T03:02:00Z"},
		{"EC2-ITEM-072", edit(spot("hibernate")), "latest/meta-data/spot/instance-action", `{"action": "hibernate", "time": "2025-06-01T03:00:00Z"}`},
		{"EC2-ITEM-073", edit(spot("stop")), "latest/meta-data/spot", "instance-action"},

		{"EC2-ITEM-014", plain, "latest/meta-data/hibernation/configured", "false"},
		{"EC2-ITEM-015", plain, "latest/meta-data/hostname", "ip-172-31-0-10.ec2.internal"},
		{"EC2-ITEM-015", edit(inIreland), "latest/meta-data/hostname", "ip-172-31-0-10.eu-west-1.compute.internal"},
		{"EC2-ITEM-015", edit(v6only), "latest/meta-data/hostname", "i-0abcdef0123456789.ec2.internal"},
		{"EC2-ITEM-015", edit(func(in *instance.Instance) { in.Hostname = "web.example.com" }), "latest/meta-data/hostname", "web.example.com"},
		{"EC2-ITEM-027", plain, "latest/meta-data/local-hostname", "ip-172-31-0-10.ec2.internal"},
		{"EC2-ITEM-041", plain, nic1 + "local-hostname", "ip-172-31-16-10.ec2.internal"},
		{"EC2-ITEM-041", edit(func(in *instance.Instance) { in.Hostname = "web.example.com" }), nic0 + "local-hostname", "web.example.com"},
		{"EC2-ITEM-041", edit(func(in *instance.Instance) { in.Hostname = "web.example.com" }), nic1 + "local-hostname", "ip-172-31-16-10.ec2.internal"},
		{"EC2-ITEM-041", edit(v6only, inIreland), nic1 + "local-hostname", "i-0abcdef0123456789.eu-west-1.compute.internal"},

		{"EC2-ITEM-020", plain, "latest/meta-data/instance-action", "none"},
		{"EC2-ITEM-022", plain, "latest/meta-data/instance-life-cycle", "on-demand"},
		{"EC2-ITEM-024", plain, "latest/meta-data/ipv6", "2600:1f16:aeb:b20b::1"},
		{"EC2-ITEM-024", edit(func(in *instance.Instance) { in.Interfaces[0].IPv6 = nil }), "latest/meta-data/ipv6", absent},
		{"EC2-ITEM-025", plain, "latest/meta-data/kernel-id", absent},
		{"EC2-ITEM-026", plain, "latest/meta-data/ramdisk-id", absent},
		{"EC2-ITEM-028", plain, "latest/meta-data/local-ipv4", "172.31.0.10"},
		{"EC2-ITEM-028", edit(v6only), "latest/meta-data/local-ipv4", absent},
		{"EC2-ITEM-033", plain, "latest/meta-data/metrics/vhostmd", `<?xml version="1.0" encoding="UTF-8"?>`},

		{"EC2-ITEM-030", plain, "latest/meta-data/managed-ssh-keys", absent},
		{"EC2-ITEM-030", edit(withManagedKeys), "latest/meta-data/managed-ssh-keys", "active-keys/\nsigner-cert\nsigner-ocsp/"},
		{"EC2-ITEM-030", edit(withManagedKeys), "latest/meta-data/managed-ssh-keys/active-keys", "admin"},
		{"EC2-ITEM-030", edit(withManagedKeys), "latest/meta-data/managed-ssh-keys/active-keys/root", absent},
		{"EC2-ITEM-030", edit(withManagedKeys), "latest/meta-data/managed-ssh-keys/active-keys/admin",
			"#Timestamp=2\nssh-rsa BBBB\nc2ln\n\n#Timestamp=3\nssh-rsa CCCC\nc2ln\n"},
		{"EC2-ITEM-031", edit(withManagedKeys), "latest/meta-data/managed-ssh-keys/signer-cert",
			"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"},
		{"EC2-ITEM-032", edit(withManagedKeys), "latest/meta-data/managed-ssh-keys/signer-ocsp", "AA01\nBB02"},
		{"EC2-ITEM-032", edit(withManagedKeys), "latest/meta-data/managed-ssh-keys/signer-ocsp/BB02", "b2NzcDI="},

		{"EC2-ITEM-034", plain, "latest/meta-data/network/interfaces/macs", "0a:00:00:00:00:01/\n0a:00:00:00:00:02/"},
		{"EC2-ITEM-034", plain, "latest/meta-data/network/interfaces/macs/0a:00:00:00:00:03", absent},
		{"EC2-ITEM-035", plain, nic0 + "device-number", "0"},
		{"EC2-ITEM-035", plain, nic1 + "device-number", "1"},
		{"EC2-ITEM-037", plain, nic0 + "ipv4-associations", "203.0.113.5"},
		{"EC2-ITEM-037", plain, nic0 + "ipv4-associations/203.0.113.5", "172.31.0.10"},
		{"EC2-ITEM-037", plain, nic0 + "ipv4-associations/203.0.113.6", absent},
		{"EC2-ITEM-037", plain, nic1 + "ipv4-associations", absent},
		{"EC2-ITEM-038", plain, nic1 + "ipv4-prefix", "172.31.16.32/28\n172.31.16.48/28"},
		{"EC2-ITEM-038", plain, nic0 + "ipv4-prefix", absent},
		{"EC2-ITEM-039", plain, nic1 + "ipv6-prefix", "2600:1f16:aeb:b20c:1::/80"},
		{"EC2-ITEM-039", plain, nic0 + "ipv6-prefix", absent},
		{"EC2-FMT-05", plain, nic0 + "ipv6s", "2600:1f16:aeb:b20b::1\n2600:1f16:aeb:b20b::2"},
		{"EC2-ITEM-040", plain, nic1 + "ipv6s", absent},
		{"EC2-ITEM-042", plain, nic0 + "local-ipv4s", "172.31.0.10\n172.31.0.11"},
		{"EC2-ITEM-042", edit(v6only), nic0 + "local-ipv4s", absent},
		{"EC2-ITEM-044", plain, nic0 + "network-card", absent},
		{"EC2-ITEM-044", plain, nic1 + "network-card", "0"},
		{"EC2-ITEM-045", plain, nic0 + "owner-id", "123456789012"},
		{"EC2-ITEM-045", plain, nic1 + "owner-id", "210987654321"},
		{"EC2-ITEM-046", plain, nic1 + "public-hostname", absent},
		{"EC2-ITEM-048", plain, nic0 + "security-groups", "web\nadmin"},
		{"EC2-ITEM-049", plain, nic0 + "security-group-ids", "sg-2\nsg-1"},
		{"EC2-ITEM-048", plain, nic1 + "security-groups", absent},
		{"EC2-ITEM-051", edit(v6only), nic0 + "subnet-ipv4-cidr-block", absent},
		{"EC2-ITEM-054", plain, nic0 + "vpc-ipv4-cidr-block", "172.31.0.0/16"},
		{"EC2-ITEM-055", plain, nic0 + "vpc-ipv4-cidr-blocks", "172.31.0.0/16\n10.9.0.0/16"},
		{"EC2-ITEM-056", plain, nic1 + "vpc-ipv6-cidr-blocks", absent},

		{"EC2-ITEM-058", edit(func(in *instance.Instance) { in.ZoneID = "" }), "latest/meta-data/placement/availability-zone-id", absent},
		{"EC2-ITEM-061", plain, "latest/meta-data/placement/partition-number", absent},
		{"EC2-ITEM-064", plain, "latest/meta-data/profile", "default-hvm"},
		{"EC2-ITEM-066", edit(func(in *instance.Instance) {
			in.Interfaces[0].Public = []instance.PublicIPv4{
				{Address: addr("203.0.113.9"), Private: addr("172.31.0.11")},
				{Address: addr("203.0.113.8"), Private: addr("172.31.0.10")},
			}
		}), "latest/meta-data/public-ipv4", "203.0.113.8"},
		{"EC2-ITEM-066", edit(v6only), "latest/meta-data/public-ipv4", absent},
		{"EC2-ITEM-067", plain, "latest/meta-data/public-keys/0/openssh-key", "ssh-ed25519 AAAAC3 admin\n"},
		{"EC2-LIST-05", plain, "latest/meta-data/public-keys", "0=admin"},
		{"EC2-LIST-05", plain, "latest/meta-data/public-keys/0", "openssh-key"},
		{"EC2-LIST-06", edit(withoutKeys), "latest/meta-data/public-keys", absent},
		{"EC2-ITEM-068", plain, "latest/meta-data/reservation-id", "r-0abcdef0123456789"},
		{"EC2-ITEM-068", edit(func(in *instance.Instance) { in.ReservationID = "r-1" }), "latest/meta-data/reservation-id", "r-1"},
		{"EC2-ITEM-069", plain, "latest/meta-data/security-groups", "web\nadmin"},
		{"EC2-ITEM-070", plain, "latest/meta-data/services/domain", "amazonaws.com"},
		{"EC2-ITEM-070", edit(inBeijing), "latest/meta-data/services/domain", "amazonaws.com.cn"},
		{"EC2-ITEM-071", plain, "latest/meta-data/services/partition", "aws"},
		{"EC2-ITEM-071", edit(inBeijing), "latest/meta-data/services/partition", "aws-cn"},
		{"EC2-ITEM-071", edit(func(in *instance.Instance) { in.Region = "us-gov-west-1" }), "latest/meta-data/services/partition", "aws-us-gov"},
		{"EC2-ITEM-071", edit(func(in *instance.Instance) { in.Services.Partition = "mine" }), "latest/meta-data/services/partition", "mine"},
		{"EC2-ITEM-074", plain, "latest/meta-data/system", "nitro"},

		{"EC2-TAG-01", plain, "latest/meta-data/tags", "instance/"},
		{"EC2-TAG-02", plain, "latest/meta-data/tags/instance", "Name\nenv"},
		{"EC2-TAG-03", plain, "latest/meta-data/tags/instance/env", ""},
		{"EC2-TAG-04", plain, "latest/meta-data/tags/instance/name", absent},
		{"EC2-TAG-01", edit(hidingTags), "latest/meta-data/tags", absent},
		{"EC2-TAG-01", edit(hidingTags), "latest/meta-data/tags/instance/Name", absent},
		{"EC2-TAG-05", edit(withoutTags), "latest/meta-data/tags", absent},
		{"EC2-ITEM-076", edit(func(in *instance.Instance) { in.ElasticGPUs = map[string]string{"egpu-1": "{}"} }),
			"latest/meta-data/elastic-gpus/associations/egpu-1", "{}"},
		{"EC2-ITEM-077", plain, "latest/meta-data/elastic-inference", absent},

		{"EC2-ITEM-078", plain, "latest/dynamic/fws/instance-monitoring", "disabled"},
		{"EC2-ITEM-081", plain, "latest/dynamic/instance-identity", "document"},
		{"EC2-ITEM-082", plain, "latest/dynamic/instance-identity/dsa2048", absent},
		{"EC2-USER-01", plain, "latest/user-data", "#!/bin/sh\necho hello\n"},
		{"EC2-USER-01", edit(func(in *instance.Instance) { in.UserData = []byte("\x1f\x8b\x00\xff") }), "1.0/user-data", "\x1f\x8b\x00\xff"},
		{"EC2-USER-01", edit(func(in *instance.Instance) { in.UserData = nil }), "latest/user-data", absent},
		{"EC2-LIST-02", edit(func(in *instance.Instance) { in.UserData = nil }), "latest", "dynamic\nmeta-data"},
		{"EC2-LIST-02", plain, "2008-09-01", "meta-data\nuser-data"},
		{"EC2-LIST-02", plain, "2009-04-04", "dynamic\nmeta-data\nuser-data"},
		{"EC2-PATH-05", plain, "latest/meta-data/Instance-Id", absent},
		{"EC2-PATH-07", plain, "latest/meta-data/instance-id/x", absent},
		{"EC2-VER-04", plain, "2021-03-24/meta-data/instance-id", absent},
		{"EC2-VER-04", plain, "2024-05-01", absent},
	} {
		t.Run(test.fact+" "+test.path, func(t *testing.T) {
			got, ok := lookup(t, guest(test.edits...), test.path)
			if !ok {
				got = absent
			}
			if got != test.want {
				t.Errorf("want %q, got %q", test.want, got)
			}
		})
	}
}

// TestListings compares with what was seen on real instances (EC2-LIST-04).
func TestListings(t *testing.T) {
	for path, want := range map[string]string{
		"latest/meta-data": "ami-id ami-launch-index ami-manifest-path block-device-mapping/ events/ hibernation/ hostname iam/ " +
			"identity-credentials/ instance-action instance-id instance-life-cycle instance-type local-hostname local-ipv4 mac metrics/ " +
			"network/ placement/ profile public-hostname public-ipv4 public-keys/ reservation-id security-groups services/ system",
		strings.TrimSuffix(nic0, "/"): "device-number interface-id ipv4-associations/ local-hostname local-ipv4s mac owner-id " +
			"public-hostname public-ipv4s security-group-ids security-groups subnet-id subnet-ipv4-cidr-block vpc-id vpc-ipv4-cidr-block " +
			"vpc-ipv4-cidr-blocks",
	} {
		v4only := func(in *instance.Instance) {
			f := &in.Interfaces[0]
			f.IPv6, f.Subnet.IPv6, f.VPC.IPv6 = nil, nil, nil
		}
		got, _ := lookup(t, guest(withoutTags, v4only), path)
		if got := strings.ReplaceAll(got, "\n", " "); got != want {
			t.Errorf("%s: want\n%s\ngot\n%s", path, want, got)
		}
	}
}

// TestVersions: items appear in the first listed version that is as new as
// their date, and in every newer one (EC2-VER-01, EC2-VER-02, EC2-VER-03,
// EC2-VER-05, EC2-VER-06).
func TestVersions(t *testing.T) {
	in := guest(withEvents, withManagedKeys)
	list, _ := lookup(t, in, "")
	names := strings.Split(list, "\n")
	if len(names) != 30 || names[0] != "1.0" || names[29] != item.Latest {
		t.Fatalf("the versions are %q", names)
	}
	for path, since := range map[string]string{
		"meta-data/instance-id":                                "1.0",
		"meta-data/profile":                                    "1.0",
		"meta-data/managed-ssh-keys":                           "1.0",
		"meta-data/block-device-mapping/ebs1":                  "2007-12-15",
		"meta-data/network":                                    "2011-01-01",
		"meta-data/network/interfaces/macs":                    "2011-01-01",
		"meta-data/spot":                                       "2014-11-05",
		"meta-data/spot/instance-action":                       "2018-03-28",
		"meta-data/identity-credentials":                       "2018-08-17",
		"meta-data/placement":                                  "2008-02-01",
		"meta-data/placement/region":                           "2020-10-27",
		"meta-data/ipv6":                                       "2021-01-03",
		"meta-data/tags/instance/Name":                         "2021-03-23",
		"meta-data/system":                                     "2022-09-24",
		strings.TrimPrefix(nic0, "latest/") + "ipv6s":          "2016-06-30",
		strings.TrimPrefix(nic1, "latest/") + "network-card":   "2021-01-03",
		strings.TrimPrefix(nic0, "latest/") + "local-hostname": "2011-01-01",
	} {
		first := ""
		for _, name := range names {
			_, ok := lookup(t, in, name+"/"+path)
			if ok && first == "" {
				first = name
			}
			if !ok && first != "" {
				t.Errorf("%s is in %s and not in %s", path, first, name)
			}
		}
		if first != since {
			t.Errorf("%s appears in %q, want %q", path, first, since)
		}
	}
}

// TestTagKeys: EC2-TAG-02.
func TestTagKeys(t *testing.T) {
	for key, want := range map[string]bool{
		"Name": true, "a.b": true, "+-=.,_:@": true, "9": true, strings.Repeat("k", 255): true, "...": true, "_Index": true,
		"": false, ".": false, "..": false, "_index": false, "a b": false, "a/b": false, "ä": false, "a%2fb": false,
		"{tag}": false, "a\n": false, strings.Repeat("k", 256): false,
	} {
		if got := tagShown(key); got != want {
			t.Errorf("%q: want %v, got %v", key, want, got)
		}
	}
}

// TestRowsAreDocumented keeps the reference page and the facts complete.
func TestRowsAreDocumented(t *testing.T) {
	facts := map[string]string{}
	for _, r := range rows() {
		if r.Doc == "" || !strings.HasPrefix(r.Fact, "EC2-ITEM-") {
			t.Errorf("%s: Doc %q, Fact %q", r.Path, r.Doc, r.Fact)
		}
		if other, taken := facts[r.Fact]; taken {
			t.Errorf("%s and %s both cite %s", r.Path, other, r.Fact)
		}
		facts[r.Fact] = r.Path
	}
}

// TestCrawlResolves: whatever a crawl finds, a look-up finds with the same
// value (EC2-LIST-06), and what is listed can be read: a client that walks the
// tree meets no 404.
func TestCrawlResolves(t *testing.T) {
	for name, in := range map[string]*instance.Instance{
		"full": guest(withEvents, withManagedKeys), "IPv6 only": guest(v6only), "bare": {ID: "i-1"},
	} {
		for _, version := range append(versions(), item.Latest) {
			t.Run(name+" "+version, func(t *testing.T) {
				q := item.Query{Instance: in, Now: now.Unix()}
				tree.Crawl(&q, version, func(path string, row *item.Row, value []byte) {
					if got, ok := lookup(t, in, strings.Trim(path, "/")); !ok || got != string(value) {
						t.Errorf("%s: crawl %q, look-up %q (%v)", path, value, got, ok)
					}
					if row != nil {
						return
					}
					for _, entry := range strings.Split(string(value), "\n") {
						entry, _, _ = strings.Cut(entry, "=")
						if _, ok := lookup(t, in, strings.Trim(path+entry, "/")); !ok {
							t.Errorf("%s lists %s, which is absent", path, entry)
						}
					}
				})
			})
		}
	}
}

// TestNoAllocations: a look-up costs no garbage.
func TestNoAllocations(t *testing.T) {
	in := guest(withEvents, withManagedKeys)
	in.Identity = &instance.Credentials{AccessKeyID: "ASIA2", Expires: now.Add(time.Hour)}
	q := item.Query{Instance: in, Now: now.Unix()}
	body := make([]byte, 0, 64<<10)
	for _, text := range []string{
		"latest/meta-data/instance-id",
		"latest/meta-data/local-ipv4",
		"latest/meta-data/hostname",
		"latest/meta-data",
		"2009-04-04/meta-data",
		"latest/meta-data/block-device-mapping",
		"latest/meta-data/block-device-mapping/ebs2",
		"latest/meta-data/events/maintenance/scheduled",
		"latest/meta-data/iam/security-credentials",
		"latest/meta-data/iam/security-credentials/web-role",
		"latest/meta-data/iam/info",
		"latest/meta-data/managed-ssh-keys/active-keys/admin",
		"latest/meta-data/public-keys/0/openssh-key",
		"latest/meta-data/tags/instance/Name",
		nic0 + "local-ipv4s",
		nic0 + "ipv6s",
		"latest/dynamic/instance-identity/document",
		"latest/user-data",
	} {
		path := []byte(text)
		allocs := testing.AllocsPerRun(100, func() {
			var found item.Result
			if body, found = tree.Resolve(body[:0], &q, path); found.Kind == item.Absent {
				t.Fatalf("%s is absent", path)
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations", path, allocs)
		}
	}
}
