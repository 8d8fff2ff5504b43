package ecs

import (
	"encoding/json"
	"strings"
	"testing"

	"openimds/internal/instance"
	"openimds/internal/item"
)

const nic0 = "latest/meta-data/network/interfaces/macs/00:16:3e:0f:00:01/"

// absent is what a test expects where there is no such item.
const absent = "<absent>"

// TestItems looks at the items whose form is not plain.
func TestItems(t *testing.T) {
	edit := func(edits ...func(*instance.Instance)) []func(*instance.Instance) { return edits }
	plain := edit()
	for _, test := range []struct {
		fact  string
		edits []func(*instance.Instance)
		path  string
		want  string
	}{
		{"ECS-VER-01", plain, "", "2016-01-01\nlatest"},
		{"ECS-VER-02", plain, "2016-01-01/meta-data/instance-id", "i-bp13znx0m0me8cquu001"},
		{"ECS-VER-03", plain, "2014-08-26/meta-data/instance-id", absent},
		{"ECS-LIST-06", plain, "latest", "dynamic\nmaintenance\nmeta-data\nuser-data"},
		{"ECS-LIST-06", plain, "latest/dynamic", "instance-identity"},
		{"ECS-LIST-06", plain, "latest/dynamic/instance-identity", "document"},
		{"ECS-LIST-05", plain, "latest/global-config", absent},

		{"ECS-ITEM-002", edit(func(in *instance.Instance) { in.Name = "" }), "latest/meta-data/instance/instance-name", "iZbp13znx0m0me8cquu001Z"},
		{"ECS-ITEM-003", edit(func(in *instance.Instance) { in.Hostname = "" }), "latest/meta-data/hostname", "iZbp13znx0m0me8cquu001Z"},
		{"ECS-ITEM-009", plain, "latest/meta-data/tags", "instance/"},
		{"ECS-ITEM-009", plain, "latest/meta-data/tags/instance", "acs:x_y-z.1=2,@\nenv"},
		{"ECS-ITEM-009", plain, "latest/meta-data/tags/instance/acs:x_y-z.1=2,@", "odd"},
		{"ECS-ITEM-009", plain, "latest/meta-data/tags/instance/a b", absent},
		{"ECS-ITEM-009", edit(func(in *instance.Instance) { in.Metadata.InstanceMetadataTags = "" }), "latest/meta-data/tags", absent},
		{"ECS-ITEM-011", plain, "latest/meta-data/image/market-place", "charge-type\nproduct-code"},
		{"ECS-ITEM-012", edit(func(in *instance.Instance) { in.Image.ProductCodes = nil }), "latest/meta-data/image", absent},
		{"ECS-ITEM-023", plain, "latest/meta-data/instance/last-host-landing-time", "2024-11-17 10:02:41"},
		{"ECS-ITEM-024", plain, "latest/meta-data/instance/spot", absent},
		{"ECS-ITEM-024", edit(func(in *instance.Instance) { in.Events.Spot = &instance.SpotInterruption{Time: now} }), "latest/meta-data/instance/spot/termination-time", "2025-06-01T03:00:00Z"},
		{"ECS-ITEM-025", plain, "latest/meta-data/instance/instance-type-spec/max-netpps", "300000"},
		{"ECS-ITEM-025", edit(func(in *instance.Instance) { in.Machine.MaxPPS = 0 }), "latest/meta-data/instance/instance-type-spec/", "max-connections"},

		{"ECS-FMT-06", plain, "latest/meta-data/dns-conf/nameservers", "100.100.2.136\r\n100.100.2.138"},
		{"ECS-FMT-06", plain, "latest/meta-data/ntp-conf/ntp-servers", "ntp1.aliyun.com\r\nntp2.aliyun.com"},
		{"ECS-FMT-11", plain, "latest/meta-data/source-address", "http://mirrors.cloud.aliyuncs.com\nhttp://mirrors.example.com"},
		{"ECS-ITEM-013", edit(asWindows), "latest/meta-data/source-address", absent},
		{"ECS-ITEM-055", edit(asWindows), "latest/meta-data/kms-server", "kms.cloud.aliyuncs.com"},
		{"ECS-ITEM-055", plain, "latest/meta-data/kms-server", absent},
		{"ECS-ITEM-057", edit(asWindows), "latest/meta-data/wsus-server", "wu-server\nwu-status-server"},
		{"ECS-ITEM-057", plain, "latest/meta-data/wsus-server", absent},
		{"ECS-ITEM-065", edit(func(in *instance.Instance) { in.Services.AssistServer = "https://assist.example.com" }), "latest/global-config/aliyun-assist-server-url", "https://assist.example.com"},

		{"ECS-ITEM-016", plain, "latest/meta-data/vpc-cidr-block", "192.168.0.0/16"},
		{"ECS-ITEM-030", edit(v6only), "latest/meta-data/private-ipv4", absent},
		{"ECS-ITEM-031", plain, "latest/meta-data/public-ipv4", "120.55.0.1"},
		{"ECS-ITEM-031", edit(v6only), "latest/meta-data/public-ipv4", absent},
		{"ECS-ITEM-031", edit(func(in *instance.Instance) {
			in.Interfaces[0].Public = []instance.PublicIPv4{
				{Address: addrs("120.55.0.9")[0], Private: addrs("192.168.1.11")[0]},
				{Address: addrs("120.55.0.8")[0], Private: addrs("192.168.1.10")[0]},
			}
		}), "latest/meta-data/public-ipv4", "120.55.0.8"},
		{"ECS-ITEM-032", plain, "latest/meta-data/eipv4", "120.55.0.1"},
		{"ECS-LIST-07", edit(v6only), "latest/meta-data/eipv4", ""},
		{"ECS-ITEM-033", plain, "latest/meta-data/sub-private-ipv4-list", "192.168.1.11"},
		{"ECS-LIST-07", edit(v6only), "latest/meta-data/sub-private-ipv4-list", ""},
		{"ECS-FMT-10", edit(func(in *instance.Instance) {
			in.Interfaces[0].IPv4 = addrs("192.168.1.10", "192.168.1.11", "192.168.1.12")
		}), "latest/meta-data/sub-private-ipv4-list", "[192.168.1.11,192.168.1.12]"},

		{"ECS-LIST-02", plain, "latest/meta-data/network/interfaces/macs", "00:16:3e:0f:00:01/\n00:16:3e:0f:00:02/"},
		{"ECS-FMT-07", plain, nic0 + "private-ipv4s", `["192.168.1.10","192.168.1.11"]`},
		{"ECS-ITEM-040", edit(v6only), nic0 + "private-ipv4s", absent},
		{"ECS-ITEM-039", edit(v6only), nic0 + "primary-ip-address", absent},
		{"ECS-ITEM-042", plain, nic0 + "netmask", "255.255.255.0"},
		{"ECS-ITEM-042", edit(v6only), nic0 + "netmask", absent},
		{"ECS-ITEM-043", plain, nic0 + "gateway", "192.168.1.253"},
		{"ECS-ITEM-043", edit(func(in *instance.Instance) { in.Interfaces[0].Subnet.Gateway = addrs("192.168.1.1")[0] }), nic0 + "gateway", "192.168.1.1"},
		{"ECS-ITEM-043", edit(v6only), nic0 + "gateway", absent},
		{"ECS-FMT-08", plain, nic0 + "ipv6s", "[2408:4004:100:a204::4e]"},
		{"ECS-FMT-08", edit(v6only), nic0 + "ipv6s", "[2408:4004:100:a204::4e,2408:4004:100:a204::4f]"},
		{"ECS-ITEM-046", plain, strings.Replace(nic0, "00:01", "00:02", 1) + "ipv6s", absent},
		{"ECS-FMT-08", plain, nic0 + "vpc-ipv6-cidr-blocks", "[2408:4004:100:a200::/56]"},
		{"ECS-FMT-09", plain, nic0 + "ipv4-prefixes", "192.168.1.32/28"},
		{"ECS-FMT-10", plain, nic0 + "ipv6-prefixes", "[2408:4004:100:a204:1::/80,2408:4004:100:a204:2::/80]"},
		{"ECS-ITEM-041", edit(v6only), nic0 + "ipv4-prefixes", absent},
		{"ECS-ITEM-036", plain, "latest/meta-data/network/interfaces/macs/00:16:3e:0f:00:03/network-interface-id", absent},

		{"ECS-ITEM-051", plain, "latest/meta-data/disks", "bp131n0q38u3a4zi0001/\nbp131n0q38u3a4zi0002/"},
		{"ECS-ITEM-051", plain, "latest/meta-data/disks/bp131n0q38u3a4zi0002/id", "d-bp131n0q38u3a4zi0002"},
		{"ECS-ITEM-052", plain, "latest/meta-data/disks/bp131n0q38u3a4zi0002/name", ""},
		{"ECS-ITEM-053", plain, "latest/meta-data/public-keys", "0/\nskp-bp1test/"},
		{"ECS-ITEM-053", plain, "latest/meta-data/public-keys/0/openssh-key", "ssh-ed25519 AAAAC3 admin"},
		{"ECS-ITEM-053", plain, "latest/meta-data/public-keys/skp-bp1test/openssh-key", "ssh-ed25519 AAAAC3 admin"},
		{"ECS-LIST-05", edit(withoutKeys), "latest/meta-data/public-keys", absent},
		{"ECS-LIST-05", edit(withoutRole), "latest/meta-data/ram", absent},
		{"ECS-CRED-01", plain, "latest/meta-data/ram/security-credentials", "web-role"},
		{"ECS-CRED-03", plain, "latest/meta-data/ram/security-credentials/other", absent},
		{"ECS-CRED-08", plain, "latest/meta-data/Ram/security-credentials", "web-role"},
		{"ECS-LIST-08", plain, "latest/meta-data/instance-identity", absent},
		{"ECS-ITEM-063", plain, "latest/dynamic/instance-identity/pkcs7", absent},

		{"ECS-ITEM-060", plain, "latest/user-data", "#!/bin/sh\necho hello\n"},
		{"ECS-ITEM-060", edit(func(in *instance.Instance) { in.UserData = nil }), "latest/user-data", absent},
		{"ECS-ITEM-061", plain, "latest/vendor-data", absent},
		{"ECS-ITEM-064", plain, "latest/maintenance/active-system-events", "None"},
		{"ECS-ITEM-064", edit(func(in *instance.Instance) {
			in.Events.System = []instance.SystemEvent{
				{ID: "e-bp1", Type: "SystemMaintenance.Reboot", NotBefore: now},
				{ID: "e-bp2", Type: "InstanceFailure.Reboot", Status: "Executing", NotBefore: now},
			}
		}), "latest/maintenance/active-system-events", `[{"EventId":"e-bp1","EventType":"SystemMaintenance.Reboot","EventCycleStatus":"Scheduled","NotBefore":"2025-06-01T03:00:00Z"},` +
			`{"EventId":"e-bp2","EventType":"InstanceFailure.Reboot","EventCycleStatus":"Executing","NotBefore":"2025-06-01T03:00:00Z"}]`},
	} {
		t.Run(test.fact+" "+test.path, func(t *testing.T) {
			got, ok := lookup(t, guest(test.edits...), strings.Trim(test.path, "/"), "")
			if !ok {
				got = absent
			}
			if got != test.want {
				t.Errorf("want %q, got %q", test.want, got)
			}
		})
	}
}

// TestListings compares with what was seen on real instances, plus what these
// have besides (ECS-LIST-03, ECS-LIST-05).
func TestListings(t *testing.T) {
	plainImage := func(in *instance.Instance) { in.Image.ProductCodes, in.Tags = nil, nil }
	for name, test := range map[string]struct {
		in   *instance.Instance
		want string
	}{
		"Linux": {guest(plainImage), "disks/ dns-conf/ eipv4 hibernation/ hostname image-id instance-id instance/ launch-index mac " +
			"network-type network/ ntp-conf/ owner-account-id private-ipv4 public-keys/ ram/ region-id serial-number source-address " +
			"sub-private-ipv4-list vpc-cidr-block vpc-id vswitch-cidr-block vswitch-id zone-id"},
		"Windows": {guest(plainImage, asWindows, withoutRole, withoutKeys), "disks/ dns-conf/ eipv4 hibernation/ hostname image-id instance-id instance/ " +
			"kms-server launch-index mac network-type network/ ntp-conf/ owner-account-id private-ipv4 region-id serial-number " +
			"sub-private-ipv4-list vpc-cidr-block vpc-id vswitch-cidr-block vswitch-id wsus-server/ zone-id"},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := lookup(t, test.in, "latest/meta-data", "")
			if got := strings.ReplaceAll(got, "\n", " "); got != test.want {
				t.Errorf("want\n%s\ngot\n%s", test.want, got)
			}
		})
	}
}

// TestRowsAreDocumented keeps the reference page and the facts complete.
func TestRowsAreDocumented(t *testing.T) {
	facts := map[string]string{}
	for _, r := range rows() {
		if r.Doc == "" || !strings.HasPrefix(r.Fact, "ECS-ITEM-") {
			t.Errorf("%s: Doc %q, Fact %q", r.Path, r.Doc, r.Fact)
		}
		if other, taken := facts[r.Fact]; taken {
			t.Errorf("%s and %s both cite %s", r.Path, other, r.Fact)
		}
		facts[r.Fact] = r.Path
	}
}

// TestWhole: meta-data/all is the tree that a crawl finds, without secrets
// (ECS-ALL-01, ECS-ALL-02, ECS-ALL-04).
func TestWhole(t *testing.T) {
	for name, in := range map[string]*instance.Instance{
		"Linux": guest(), "Windows": guest(asWindows), "IPv6 only": guest(v6only), "bare": guest(withoutRole, withoutKeys),
	} {
		t.Run(name, func(t *testing.T) {
			body, _ := lookup(t, in, "latest/meta-data/all", "")
			var tree map[string]any
			if err := json.Unmarshal([]byte(body), &tree); err != nil {
				t.Fatalf("%v in %s", err, body)
			}
			got := map[string]string{}
			flatten(got, "/latest/meta-data/", tree)
			want := map[string]string{}
			d := New()
			q := item.Query{Instance: in, Now: now.Unix()}
			d.Tree.Crawl(&q, item.Latest, func(path string, row *item.Row, value []byte) {
				if row != nil && !row.Unlisted && row.Class == item.Value && strings.HasPrefix(path, "/latest/meta-data/") {
					want[path] = string(value)
				}
			})
			for path, value := range want {
				if g, ok := got[path]; !ok || g != value {
					t.Errorf("%s: want %q, got %q (%v)", path, value, g, ok)
				}
				delete(got, path)
			}
			for path := range got {
				t.Errorf("%s is in all and nowhere else", path)
			}
			for _, secret := range []string{"STS.", "secret", "user-data", "echo hello"} {
				if strings.Contains(body, secret) {
					t.Errorf("%q is in all", secret)
				}
			}
		})
	}
}

func flatten(into map[string]string, path string, tree map[string]any) {
	for key, value := range tree {
		switch v := value.(type) {
		case map[string]any:
			flatten(into, path+key+"/", v)
		case string:
			into[path+key] = v
		}
	}
}

// TestCrawlResolves: whatever a crawl finds, a look-up finds with the same
// value, and both version folders agree (ECS-VER-02).
func TestCrawlResolves(t *testing.T) {
	d := New()
	for name, in := range map[string]*instance.Instance{"Linux": guest(), "Windows": guest(asWindows), "IPv6 only": guest(v6only)} {
		t.Run(name, func(t *testing.T) {
			seen := 0
			q := item.Query{Instance: in, Now: now.Unix()}
			d.Tree.Crawl(&q, item.Latest, func(path string, _ *item.Row, value []byte) {
				seen++
				path = strings.Trim(path, "/")
				for _, path := range []string{path, Version + strings.TrimPrefix(path, item.Latest)} {
					if got, ok := lookup(t, in, path, ""); !ok || got != string(value) {
						t.Errorf("%s: crawl %q, look-up %q (%v)", path, value, got, ok)
					}
				}
			})
			if seen < 50 {
				t.Errorf("the crawl found %d places only", seen)
			}
		})
	}
}

// TestNoAllocations: a look-up costs no garbage.
func TestNoAllocations(t *testing.T) {
	d := New()
	q := item.Query{Instance: guest(), Now: now.Unix(), RawQuery: []byte("audience=a%20b")}
	body := make([]byte, 0, 64<<10)
	for _, text := range []string{
		"latest/meta-data/instance-id",
		nic0 + "private-ipv4s",
		nic0 + "ipv6s",
		nic0 + "gateway",
		"latest/meta-data/instance/last-host-landing-time",
		"latest/meta-data/tags/instance/env",
		"latest/meta-data/ram/security-credentials/web-role",
		"latest/dynamic/instance-identity/document",
		"latest/meta-data",
		"latest/meta-data/all",
	} {
		path := []byte(text)
		allocs := testing.AllocsPerRun(100, func() {
			var found item.Result
			if body, found = d.Tree.Resolve(body[:0], &q, path); found.Kind == item.Absent {
				t.Fatalf("%s is absent", path)
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations", path, allocs)
		}
	}
}
