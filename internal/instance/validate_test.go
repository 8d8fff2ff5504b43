package instance

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// valid returns a small valid instance of a dialect.
func valid(dialect string) *Instance {
	in := &Instance{
		ID:      "i-0123456789abcdef0",
		Dialect: dialect,
		Account: "123456789012",
		Region:  "us-east-1",
		Zone:    "us-east-1a",
		Type:    "m7g.large",
		Image:   Image{ID: "ami-0123456789abcdef0"},
		Interfaces: []Interface{{
			ID:   "eni-0123456789abcdef0",
			MAC:  "02:00:5E:10:00:01",
			IPv4: []netip.Addr{addr("10.0.0.5")},
			IPv6: []netip.Addr{addr("2001:db8::5")},
			Subnet: Subnet{
				ID:   "subnet-0123456789abcdef0",
				IPv4: netip.MustParsePrefix("10.0.0.0/24"),
				IPv6: []netip.Prefix{netip.MustParsePrefix("2001:db8::/64")},
			},
			VPC: VPC{ID: "vpc-0123456789abcdef0"},
		}},
		Disks: []Disk{{ID: "vol-0123456789abcdef0", Device: "/dev/xvda", Kind: DiskRoot}},
	}
	Normalize(in)
	return in
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func second(in *Instance) *Interface {
	f := in.Interfaces[0]
	f.ID, f.MAC, f.Device = "eni-2", "02:00:5e:10:00:02", 1
	f.IPv4, f.IPv6 = []netip.Addr{addr("10.0.0.6")}, nil
	in.Interfaces = append(in.Interfaces, f)
	return &in.Interfaces[1]
}

func TestValidInstances(t *testing.T) {
	for _, dialect := range []string{DialectECS, DialectEC2} {
		if got := Validate(valid(dialect)); got != nil {
			t.Errorf("%s: %v", dialect, got)
		}
	}
	in := valid(DialectEC2)
	second(in)
	in.ID = "i-1a2b3c4d" // ids of the first years
	in.Hostname = "ip-10-0-0-5.ec2.internal"
	in.Tags = map[string]string{"aws:autoscaling:groupName": "web", "Empty": ""}
	in.Metadata.InstanceMetadataTags = Enabled
	in.Disks = append(in.Disks, Disk{Device: "sdb", Kind: DiskEphemeral}, Disk{Device: "sda3", Kind: DiskSwap})
	if got := Validate(in); got != nil {
		t.Errorf("got %v", got)
	}
	in = valid(DialectECS)
	in.Tags = map[string]string{"k8s.io/role": "x"} // allowed, and not served
	in.Metadata.InstanceMetadataTags = Enabled
	if got := Validate(in); got != nil {
		t.Errorf("got %v", got)
	}
}

func TestValidate(t *testing.T) {
	both := []string{DialectECS, DialectEC2}
	ecs, ec2 := both[:1], both[1:]
	tests := []struct {
		name     string
		dialects []string
		spoil    func(*Instance)
		want     string // path: part of the message
	}{
		{"no id", both, func(in *Instance) { in.ID = "" }, "id: is required"},
		{"id without prefix", both, func(in *Instance) { in.ID = "web" }, `id: found "web", expected i-`},
		{"id with a slash", both, func(in *Instance) { in.ID = "i-a/b" }, `id: found "i-a/b"`},
		{"id with a line end", both, func(in *Instance) { in.ID = "i-a\nb" }, `id: found "i-a\nb"`},
		{"no dialect", both, func(in *Instance) { in.Dialect = "" }, "dialect: is required"},
		{"other dialect", both, func(in *Instance) { in.Dialect = "gce" }, `dialect: found "gce", expected ecs or ec2`},
		{"network", both, func(in *Instance) { in.Network = "a b" }, "network: found"},
		{"source twice", both, func(in *Instance) { in.Sources = []netip.Addr{addr("127.0.0.1"), addr("127.0.0.1")} },
			"sources[1]: 127.0.0.1 stands in the list twice"},
		{"source with a zone", both, func(in *Instance) { in.Sources = []netip.Addr{addr("fe80::1%eth0")} }, "sources[0]: found \"fe80::1%eth0\", expected an address without a zone"},
		{"mapped source", both, func(in *Instance) { in.Sources = []netip.Addr{addr("::ffff:10.0.0.5")} }, "sources[0]: found the IPv4-mapped ::ffff:10.0.0.5, expected 10.0.0.5"},
		{"name of two lines", both, func(in *Instance) { in.Name = "a\nb" }, "name: found \"a\\nb\", expected one line"},
		{"name with a line separator", both, func(in *Instance) { in.Name = "a\u2028b" }, "name: found"},
		{"name not UTF-8", both, func(in *Instance) { in.Name = "a\xff" }, "name: found"},
		{"long name", both, func(in *Instance) { in.Name = strings.Repeat("é", 129) }, "name: found 129 characters, expected at most 128"},
		{"host name", both, func(in *Instance) { in.Hostname = "a_b" }, "hostname: found"},
		{"host name label", both, func(in *Instance) { in.Hostname = "-a.b" }, "hostname: found"},
		{"no account", both, func(in *Instance) { in.Account = "" }, "account: is required"},
		{"account", both, func(in *Instance) { in.Account = "12345678901x" }, `account: found "12345678901x"`},
		{"short account", ec2, func(in *Instance) { in.Account = "1234" }, "account: found \"1234\", expected an account id of 12 digits"},
		{"region", both, func(in *Instance) { in.Region = "us east" }, "region: found"},
		{"no zone", both, func(in *Instance) { in.Zone = "" }, "zone: is required"},
		{"type", both, func(in *Instance) { in.Type = "m7g/large" }, "type: found"},
		{"platform", both, func(in *Instance) { in.Platform = "Windows" }, `platform: found "Windows", expected linux or windows`},
		{"architecture", both, func(in *Instance) { in.Architecture = "amd64" }, "architecture: found \"amd64\", expected x86_64, arm64 or i386"},
		{"state", both, func(in *Instance) { in.State = "Running" }, "state: found"},
		{"launch index", both, func(in *Instance) { in.LaunchIndex = -1 }, "launchIndex: found -1, expected 0 or more"},
		{"year", both, func(in *Instance) { in.Started = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, "started: found the year 10000"},
		{"image", both, func(in *Instance) { in.Image.ID = "" }, "image.id: is required"},
		{"two product codes", ecs, func(in *Instance) { in.Image.ProductCodes = []string{"a", "b"} }, "image.productCodes: found 2 product codes"},
		{"product code", ec2, func(in *Instance) { in.Image.ProductCodes = []string{"a", "b\nc"} }, "image.productCodes[1]: found"},
		{"manifest path", both, func(in *Instance) { in.Image.ManifestPath = "a\r\n" }, "image.manifestPath: found"},
		{"system", both, func(in *Instance) { in.Machine.System = "kvm" }, "machine.system: found"},
		{"partition", both, func(in *Instance) { in.Placement.Partition = -1 }, "placement.partition: found"},

		{"tokens", both, func(in *Instance) { in.Metadata.HTTPTokens = "require" }, `metadata.httpTokens: found "require", expected optional or required`},
		{"endpoint", both, func(in *Instance) { in.Metadata.HTTPEndpoint = "on" }, "metadata.httpEndpoint: found \"on\", expected enabled or disabled"},
		{"hop limit", both, func(in *Instance) { in.Metadata.HTTPPutResponseHopLimit = 65 }, "metadata.httpPutResponseHopLimit: found 65, expected a hop limit from 1 to 64"},
		{"negative hop limit", both, func(in *Instance) { in.Metadata.HTTPPutResponseHopLimit = -1 }, "metadata.httpPutResponseHopLimit: found -1"},

		{"no interface", both, func(in *Instance) { in.Interfaces = nil }, "interfaces: is required"},
		{"no address", both, func(in *Instance) { in.Interfaces[0].IPv4, in.Interfaces[0].IPv6 = nil, nil }, "interfaces: no address to know the instance by"},
		{"no MAC", both, func(in *Instance) { in.Interfaces[0].MAC = "" }, "interfaces[0].mac: is required"},
		{"MAC with dashes", both, func(in *Instance) { in.Interfaces[0].MAC = "02-00-5e-10-00-01" }, "interfaces[0].mac: found"},
		{"MAC twice", both, func(in *Instance) { second(in).MAC = in.Interfaces[0].MAC }, "interfaces[1].mac: 02:00:5e:10:00:01 is that of interfaces[0] too"},
		{"interface id twice", both, func(in *Instance) { second(in).ID = in.Interfaces[0].ID }, "interfaces[1].id: "},
		{"device twice", ec2, func(in *Instance) { second(in).Device = 0 }, "interfaces[1].device: \"0 on card 0\" is that of interfaces[0] too"},
		{"wrong family", both, func(in *Instance) { in.Interfaces[0].IPv4 = append(in.Interfaces[0].IPv4, addr("2001:db8::6")) },
			"interfaces[0].ipv4[1]: found 2001:db8::6, expected an IPv4 address"},
		{"other family", both, func(in *Instance) { in.Interfaces[0].IPv6[0] = addr("10.0.0.7") }, "interfaces[0].ipv6[0]: found 10.0.0.7, expected an IPv6 address"},
		{"outside the subnet", both, func(in *Instance) { in.Interfaces[0].IPv4[0] = addr("10.0.1.5") },
			"interfaces[0].ipv4[0]: 10.0.1.5 is not in subnet subnet-0123456789abcdef0 (10.0.0.0/24)"},
		{"outside the IPv6 subnet", both, func(in *Instance) { in.Interfaces[0].IPv6[0] = addr("2001:db8:1::5") }, "interfaces[0].ipv6[0]: 2001:db8:1::5 is not in subnet"},
		{"multicast", both, func(in *Instance) { in.Interfaces[0].IPv4[0] = addr("224.0.0.1") }, "interfaces[0].ipv4[0]: found 224.0.0.1, expected the address of one machine"},
		{"public IPv6", both, func(in *Instance) {
			in.Interfaces[0].Public = []PublicIPv4{{Address: addr("2001:db8::1"), Private: addr("10.0.0.5")}}
		}, "interfaces[0].public[0].address: found"},
		{"public for nobody", both, func(in *Instance) {
			in.Interfaces[0].Public = []PublicIPv4{{Address: addr("203.0.113.1"), Private: addr("10.0.0.9")}}
		}, "interfaces[0].public[0].private: found 10.0.0.9, expected one of the interface's ipv4 addresses"},
		{"gateway", both, func(in *Instance) { in.Interfaces[0].Subnet.Gateway = addr("10.0.1.253") }, "interfaces[0].subnet.gateway: 10.0.1.253 is not in subnet"},
		{"IPv6 gateway", both, func(in *Instance) { in.Interfaces[0].Subnet.IPv6Gateway = addr("10.0.0.253") }, "interfaces[0].subnet.ipv6Gateway: found 10.0.0.253, expected an IPv6 address"},
		{"unmasked subnet", both, func(in *Instance) { in.Interfaces[0].Subnet.IPv4 = netip.MustParsePrefix("10.0.0.5/24") },
			"interfaces[0].subnet.ipv4: found 10.0.0.5/24, which has bits after its length, expected 10.0.0.0/24"},
		{"VPC family", both, func(in *Instance) { in.Interfaces[0].VPC.IPv4 = []netip.Prefix{netip.MustParsePrefix("2001:db8::/56")} }, "interfaces[0].vpc.ipv4[0]: found"},
		{"delegated prefix", both, func(in *Instance) {
			in.Interfaces[0].IPv6Prefixes = []netip.Prefix{netip.MustParsePrefix("10.0.0.16/28")}
		},
			"interfaces[0].ipv6Prefixes[0]: found 10.0.0.16/28, expected a block of IPv6 addresses"},
		{"security group", both, func(in *Instance) { in.Interfaces[0].SecurityGroups = []SecurityGroup{{ID: "sg-1", Name: "a\nb"}} }, "interfaces[0].securityGroups[0].name: found"},

		{"no device", ec2, func(in *Instance) { in.Disks[0].Device = "" }, "disks[0].device: is required"},
		{"device name", ec2, func(in *Instance) { in.Disks[0].Device = "/dev/../x" }, "disks[0].device: found"},
		{"disk device twice", ec2, func(in *Instance) { in.Disks = append(in.Disks, Disk{ID: "vol-2", Device: "xvda"}) }, "disks[1].device: xvda is that of disks[0] too"},
		{"disk kind", both, func(in *Instance) { in.Disks[0].Kind = "boot" }, "disks[0].kind: found"},
		{"disk without id", both, func(in *Instance) { in.Disks[0].ID = "" }, "disks[0].id: is required"},
		{"two roots", both, func(in *Instance) { in.Disks = append(in.Disks, Disk{ID: "vol-2", Device: "sdb", Kind: DiskRoot}) }, "disks[1].kind: found a second root disk"},
		{"serial twice", ecs, func(in *Instance) { in.Disks = append(in.Disks, Disk{ID: "d-2", Serial: in.Disks[0].Serial}) }, "disks[1].serial: "},

		{"public key of two lines", both, func(in *Instance) { in.KeyPairs = []KeyPair{{Name: "a", PublicKey: "ssh-rsa AAAA\nx"}} }, "keyPairs[0].publicKey: found a key of several lines"},
		{"no public key", both, func(in *Instance) { in.KeyPairs = []KeyPair{{Name: "a", PublicKey: "-----BEGIN"}} }, "keyPairs[0].publicKey: found something else"},
		{"role name", both, func(in *Instance) { in.Role = &Role{Name: "a/b"} }, `role.name: found "a/b"`},
		{"role path", both, func(in *Instance) { in.Role = &Role{Name: ".."} }, "role.name: found"},
		{"profile", both, func(in *Instance) { in.Role = &Role{Name: "a", ProfileARN: "web"} }, "role.profileArn: found"},
		{"no secret", both, func(in *Instance) {
			in.Role = &Role{Name: "a", Credentials: &Credentials{AccessKeyID: "A", SessionToken: "t"}}
		},
			"role.credentials.accessKeySecret: is required"},
		{"secret with a space", both, func(in *Instance) {
			in.Identity = &Credentials{AccessKeyID: "A", AccessKeySecret: "s e", SessionToken: "t"}
		},
			"identity.accessKeySecret: found a character that is a space, a control character or not ASCII (character 2 of 3)"},
		{"expired before issued", both, func(in *Instance) {
			in.Identity = &Credentials{AccessKeyID: "A", AccessKeySecret: "s", SessionToken: "t", Updated: time.Unix(2000, 0), Expires: time.Unix(1000, 0)}
		}, "identity.expires: found 1970-01-01T00:16:40Z, expected a time after updated"},

		{"tag key with a slash", ec2, func(in *Instance) {
			in.Metadata.InstanceMetadataTags = Enabled
			in.Tags = map[string]string{"k8s.io/cluster-autoscaler/enabled": ""}
		}, `tags["k8s.io/cluster-autoscaler/enabled"]: 'k8s.io/cluster-autoscaler/enabled' is not a valid tag key. ` +
			`Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{1,255}), and must not be a reserved name ('.', '..', '_index')`},
		{"reserved tag key", ec2, func(in *Instance) {
			in.Metadata.InstanceMetadataTags = Enabled
			in.Tags = map[string]string{"_index": ""}
		}, "tags._index: '_index' is not a valid tag key"},
		{"empty tag key", both, func(in *Instance) { in.Tags = map[string]string{"": ""} }, `tags[""]: found an empty tag key`},
		{"tag value", both, func(in *Instance) { in.Tags = map[string]string{"a": "b\r\nc"} }, "tags.a: found"},
		{"tags", ec2, func(in *Instance) { in.Tags = manyTags(51) }, "tags: found 51 tags, expected at most 50"},
		{"tags", ecs, func(in *Instance) { in.Tags = manyTags(21) }, "tags: found 21 tags, expected at most 20"},
		{"user data", ec2, func(in *Instance) { in.UserData = make([]byte, 16385) }, "userData: found 16385 bytes, expected at most 16384"},
		{"user data", ecs, func(in *Instance) { in.UserData = make([]byte, 32769) }, "userData: found 32769 bytes, expected at most 32768"},
		{"vendor data", ecs, func(in *Instance) { in.VendorData = make([]byte, 32769) }, "vendorData: found"},

		{"spot without time", both, func(in *Instance) { in.Events.Spot = &SpotInterruption{} }, "events.spot.time: is required"},
		{"spot action", both, func(in *Instance) { in.Events.Spot = &SpotInterruption{Action: "kill", Time: time.Unix(1, 0)} }, "events.spot.action: found"},
		{"event code", ec2, func(in *Instance) {
			in.Events.Maintenance = []Maintenance{{ID: "e", Code: "reboot", NotBefore: time.Unix(1, 0)}}
		}, "events.maintenance[0].code: found"},
		{"event window", ec2, func(in *Instance) {
			in.Events.Maintenance = []Maintenance{{ID: "e", Code: "system-reboot", NotBefore: time.Unix(2000, 0), NotAfter: time.Unix(1000, 0)}}
		}, "events.maintenance[0].notAfter: found"},
		{"event state", ec2, func(in *Instance) {
			in.Events.Maintenance = []Maintenance{{ID: "e", Code: "system-reboot", NotBefore: time.Unix(2000, 0), State: "done"}}
		}, "events.maintenance[0].state: found"},
		{"event status", ecs, func(in *Instance) {
			in.Events.System = []SystemEvent{{ID: "e", Type: "SystemMaintenance.Reboot", NotBefore: time.Unix(1, 0), Status: "x"}}
		}, "events.system[0].status: found"},
		{"event twice", ecs, func(in *Instance) {
			e := SystemEvent{ID: "e", Type: "SystemMaintenance.Reboot", NotBefore: time.Unix(1, 0)}
			in.Events.System = []SystemEvent{e, e}
		}, "events.system[1].id: e is that of events.system[0] too"},
		{"auto scaling", ec2, func(in *Instance) { in.AutoScaling = "inservice" }, "autoScaling: found"},

		{"name server", ecs, func(in *Instance) { in.Services.Nameservers = []netip.Addr{{}} }, "services.nameservers[0]: is required"},
		{"time server", ecs, func(in *Instance) { in.Services.NTPServers = []string{"a b"} }, "services.ntpServers[0]: found"},
		{"mirror", ecs, func(in *Instance) { in.Services.Mirrors = []string{"mirror.example.com"} }, "services.mirrors[0]: found something else"},
		{"domain", ec2, func(in *Instance) { in.Services.Domain = "a/b" }, "services.domain: found"},
		{"managed user", ec2, func(in *Instance) { in.ManagedSSH.Keys = []ManagedKey{{User: "a/b", Text: "x"}} }, "managedSsh.keys[0].user: found"},
		{"managed key", ec2, func(in *Instance) { in.ManagedSSH.Keys = []ManagedKey{{User: "a", Text: "x\x00"}} }, "managedSsh.keys[0].text: found a control character"},
		{"signer", ec2, func(in *Instance) { in.ManagedSSH.SignerCertificate = "x" }, "managedSsh.signerCertificate: found text that is not PEM"},
		{"OCSP", ec2, func(in *Instance) { in.ManagedSSH.SignerOCSP = map[string]string{"AB": "*"} }, "managedSsh.signerOcsp.AB: found text that is not base64"},
		{"association", ec2, func(in *Instance) { in.ElasticInference = map[string]string{"eia-1": "{"} }, "elasticInference.eia-1: found text that is not JSON"},
		{"association id", ec2, func(in *Instance) { in.ElasticGPUs = map[string]string{"a/b": "{}"} }, `elasticGpus["a/b"]: found the key "a/b"`},
	}
	for _, tt := range tests {
		for _, dialect := range tt.dialects {
			t.Run(tt.name+"/"+dialect, func(t *testing.T) {
				in := valid(dialect)
				tt.spoil(in)
				got := Validate(in)
				if len(got) != 1 || !strings.HasPrefix(got[0].String(), tt.want) {
					t.Errorf("got %q\nwant one problem that begins %q", got, tt.want)
				}
			})
		}
	}
}

func manyTags(n int) map[string]string {
	tags := map[string]string{"aws:cloudformation:stack-name": "free"}
	if n == 21 {
		tags = map[string]string{"acs:rm:rgId": "free"}
	}
	for i := range n {
		tags[fmt.Sprintf("t%d", i)] = ""
	}
	return tags
}

// No message shows what must never be shown, and none breaks a log's line.
func TestValidateKeepsSecrets(t *testing.T) {
	const secret = "hush\x00 secret"
	in := valid(DialectEC2)
	in.Name = "two\nlines"
	in.Network = "two\nlines"
	in.Role = &Role{Name: "r", Credentials: &Credentials{AccessKeyID: secret, AccessKeySecret: secret, SessionToken: secret}}
	in.KeyPairs = []KeyPair{{Name: "k", PublicKey: secret}}
	in.Services.Mirrors = []string{"ftp://user:" + secret}
	in.ManagedSSH = ManagedSSH{Keys: []ManagedKey{{User: "u", Text: secret}}, SignerCertificate: secret}
	problems := ValidateAll([]*Instance{in, in})
	if len(problems) < 10 {
		t.Fatalf("got %d problems only: %q", len(problems), problems)
	}
	for _, p := range problems {
		if strings.Contains(p.String(), "hush") || strings.ContainsAny(p.String(), "\n\x00") {
			t.Errorf("%q", p)
		}
	}
}

func TestNormalize(t *testing.T) {
	in := valid(DialectEC2)
	in.Role = &Role{Name: "web"}
	in.Interfaces[0].Public = []PublicIPv4{{Address: addr("203.0.113.1")}}
	in.KeyPairs = []KeyPair{{Name: "k", PublicKey: "ssh-rsa AAAA k\r\n"}}
	in.Events = Events{Spot: &SpotInterruption{}, Maintenance: make([]Maintenance, 1), System: make([]SystemEvent, 1)}
	in.Disks = append(in.Disks, Disk{ID: "vol-1"})
	in.Interfaces[0].Attachment.Namespace = "/var/run/netns/blue"
	Normalize(in)
	want := map[string]string{
		in.Network: "default", in.Platform: "linux", in.Architecture: "x86_64", in.State: "running", in.Lifecycle: "on-demand",
		in.Metadata.HTTPTokens: "optional", in.Metadata.HTTPEndpoint: "enabled", in.Metadata.HTTPProtocolIPv6: "disabled",
		in.Metadata.InstanceMetadataTags: "disabled", fmt.Sprint(in.Metadata.HTTPPutResponseHopLimit): "1",
		in.Machine.System: "nitro", in.Machine.Profile: "default-hvm", in.Machine.Action: "none",
		in.Services.Domain: "amazonaws.com", in.Services.Partition: "aws",
		in.Role.ProfileARN:   "arn:aws:iam::123456789012:instance-profile/web",
		in.Interfaces[0].MAC: "02:00:5e:10:00:01", in.Interfaces[0].Owner: "123456789012",
		in.Interfaces[0].Public[0].Private.String(): "10.0.0.5",
		in.KeyPairs[0].PublicKey:                    "ssh-rsa AAAA k",
		in.Events.Spot.Action:                       "terminate", in.Events.Maintenance[0].State: "active", in.Events.System[0].Status: "Scheduled",
		in.Disks[1].Kind: "data", in.Interfaces[0].Attachment.Namespace: "blue",
	}
	for got, want := range want {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}

	in = valid(DialectECS)
	in.Disks = []Disk{{ID: "d-bp1"}}
	Normalize(in)
	if in.Metadata.HTTPPutResponseHopLimit != 0 || in.Machine.Solution != "ECS Virt" || in.Machine.SolutionVersion != "2.0" || in.Disks[0].Serial != "bp1" {
		t.Errorf("got %+v %+v %+v", in.Metadata, in.Machine, in.Disks)
	}
}

// Normalizing twice is normalizing once, and neither it nor Validate minds
// whatever an instance holds.
func TestNormalizeTwice(t *testing.T) {
	instances := rapid.Make[Instance]()
	rapid.Check(t, func(t *rapid.T) {
		in := instances.Draw(t, "instance")
		in.Dialect = rapid.SampledFrom([]string{DialectECS, DialectEC2, in.Dialect}).Draw(t, "dialect")
		Normalize(&in)
		once := text(t, &in)
		Normalize(&in)
		if diff := cmp.Diff(once, text(t, &in)); diff != "" {
			t.Fatalf("-once +twice:\n%s", diff)
		}
		for _, p := range Validate(&in) {
			if _, err := p.Path.Steps(); err != nil || !OneLine(p.String()) {
				t.Fatalf("%q: %v", p, err)
			}
		}
	})
}

func text(t *rapid.T, in *Instance) string {
	b, err := json.Marshal(in)
	if err != nil {
		t.Skip(err) // a year that JSON cannot hold
	}
	return string(b)
}
