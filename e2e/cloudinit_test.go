//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"openimds/internal/instance"
	"openimds/internal/testnet"
)

// booted is what cloud-init found out, as testdata/cloudinit.py prints it.
type booted struct {
	Found       bool
	Cloud       string
	InstanceID  string `json:"instance_id"`
	Hostname    string
	Zone        string
	Region      string
	LaunchIndex any      `json:"launch_index"`
	PublicKeys  []string `json:"public_keys"`
	Metadata    map[string]any
	Userdata    []byte
	Network     *struct {
		Version   int
		Ethernets map[string]struct {
			DHCP4     bool
			DHCP6     bool
			Addresses []string
			Match     struct{ MACAddress string }
		}
	}
	log string
}

// boot lets Debian's cloud-init crawl a service, in a guest whose first
// interface is eth0. It writes the configuration that an image would carry.
func boot(t *testing.T, source, url string, in *instance.Instance) (b booted) {
	t.Helper()
	dir, _ := debian(t, "cloud-init")
	py := python(t, "configobj")
	addInterface(t, "eth0", in.Primary().MAC)
	work := t.TempDir()
	conf := filepath.Join(work, "datasource.cfg")
	text := fmt.Sprintf("datasource:\n  %s:\n    metadata_urls: [%q]\n    max_wait: 3\n    timeout: 2\n    strict_id: true\n", source, url)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	// cloud-init looks for interfaces in /sys, which must be this namespace's.
	const fresh = `mount -t sysfs sysfs /sys && exec "$@"`
	stdout, stderr, err := command(t, nil, "unshare", "--mount", "--", "sh", "-c", fresh, "sh",
		py, "testdata/cloudinit.py", filepath.Join(dir, "usr/lib/python3/dist-packages"), source, conf, work)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &b); err != nil {
		t.Fatalf("%v in %s\n%s", err, stdout, stderr)
	}
	b.log = stderr
	return b
}

// addInterface makes an interface that leads nowhere, with a hardware address
// that the metadata knows.
func addInterface(t *testing.T, name, mac string) {
	t.Helper()
	testnet.RequireIsolated(t)
	out, err := exec.Command("ip", "link", "add", name, "address", mac, "type", "veth", "peer", "name", name+"-end").CombinedOutput()
	if err != nil {
		t.Fatalf("add interface %s: %v: %s", name, err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "link", "delete", name).CombinedOutput(); err != nil {
			t.Errorf("delete interface %s: %v: %s", name, err, out)
		}
	})
}

// crawled follows a path of keys into the metadata tree.
func (b booted) crawled(path ...string) any {
	var v any = b.Metadata
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

// common is what both dialects give cloud-init.
func (b booted) common(t *testing.T, in *instance.Instance) {
	t.Helper()
	if !b.Found {
		t.Fatalf("cloud-init found no metadata service:\n%s", b.log)
	}
	equal(t, "instance id", b.InstanceID, in.ID)
	equal(t, "user data", string(b.Userdata), string(in.UserData))
	var want []string
	for _, k := range in.KeyPairs {
		want = append(want, k.PublicKey)
	}
	// ECS lists a key twice, by number and by id.
	slices.Sort(want)
	slices.Sort(b.PublicKeys)
	equal(t, "public keys", strings.Join(slices.Compact(b.PublicKeys), "\n"), strings.Join(want, "\n"))
	for _, bad := range []string{"Traceback", "Failed reading from metadata address", "looked like a json object, but it was not", "Duplicate key"} {
		if strings.Contains(b.log, bad) {
			t.Errorf("cloud-init complains:\n%s", b.log)
			break
		}
	}
	if b.Network == nil {
		t.Fatalf("no network configuration:\n%s", b.log)
	}
	eth0 := b.Network.Ethernets["eth0"]
	equal(t, "eth0: address by DHCP", eth0.DHCP4, true)
	equal(t, "eth0: IPv6 address by DHCP", eth0.DHCP6, len(in.Primary().IPv6) > 0)
	equal(t, "eth0: hardware address", eth0.Match.MACAddress, in.Primary().MAC)
	if strings.Contains(fmt.Sprint(b.Metadata), in.Role.Credentials.AccessKeyID) {
		t.Error("cloud-init's tree holds credentials")
	}
}

func TestCloudInitEC2(t *testing.T) {
	for _, c := range []struct{ name, source string }{{"normal mode", optional}, {"tokens required", required}} {
		t.Run(c.name, func(t *testing.T) {
			p := builtIn(t, "ec2", c.source)
			in := sample(t, "ec2", c.source)
			nic := in.Primary()
			b := boot(t, "Ec2", "http://"+ec2Address, in)
			b.common(t, in)
			equal(t, "cloud", b.Cloud, "aws")
			equal(t, "host name", b.Hostname, in.Hostname)
			equal(t, "zone", b.Zone, in.Zone)
			equal(t, "region", b.Region, in.Region)
			equal(t, "launch index", fmt.Sprint(b.LaunchIndex), strconv.Itoa(in.LaunchIndex))
			equal[any](t, "ami-id", b.crawled("ami-id"), in.Image.ID)
			equal[any](t, "instance type", b.crawled("instance-type"), in.Type)
			equal[any](t, "subnet", b.crawled("network", "interfaces", "macs", nic.MAC, "subnet-id"), nic.Subnet.ID)
			equal[any](t, "services/domain", b.crawled("services", "domain"), "amazonaws.com")
			var secondary []string
			for _, a := range nic.IPv4[1:] {
				secondary = append(secondary, fmt.Sprintf("%s/%d", a, nic.Subnet.IPv4.Bits()))
			}
			got := b.Network.Ethernets["eth0"].Addresses
			for _, want := range secondary {
				if !strings.Contains(strings.Join(got, " "), want) {
					t.Errorf("eth0: addresses %q lack %s", got, want)
				}
			}
			if u := p.usage(t, in.ID); u.TokensMinted == 0 || u.TokenedServed < 40 || u.TokenFreeServed+u.TokenFreeRejected+u.BadToken != 0 {
				t.Errorf("this cloud-init uses tokens on EC2; counted: %+v", u)
			}
		})
	}
	t.Run("disabled", func(t *testing.T) {
		builtIn(t, "ec2", disabled)
		if b := boot(t, "Ec2", "http://"+ec2Address, sample(t, "ec2", disabled)); b.Found || !strings.Contains(b.log, "HTTP endpoint is disabled") {
			t.Errorf("found %v; want cloud-init to see that the endpoint is disabled:\n%s", b.Found, b.log)
		}
	})
}

func TestCloudInitAliYun(t *testing.T) {
	t.Run("normal mode", func(t *testing.T) {
		p := start(t, nil)
		in := sample(t, "ecs", optional)
		nic := in.Primary()
		b := boot(t, "AliYun", p.ecs, in)
		b.common(t, in)
		equal(t, "cloud", b.Cloud, "aliyun")
		equal(t, "host name", b.Hostname, in.Hostname)
		equal[any](t, "zone", b.crawled("zone-id"), in.Zone)
		equal[any](t, "region", b.crawled("region-id"), in.Region)
		equal[any](t, "serial number", b.crawled("serial-number"), in.Serial)
		equal[any](t, "vswitch", b.crawled("network", "interfaces", "macs", nic.MAC, "vswitch-id"), nic.Subnet.ID)
		if u := p.usage(t, in.ID); u.TokenFreeServed < 40 && u.TokenedServed < 40 {
			t.Errorf("a crawl reads the whole tree; counted: %+v", u)
		}
	})
	t.Run("tokens required", func(t *testing.T) {
		_, version := debian(t, "cloud-init")
		p := builtIn(t, "ecs", required)
		in := sample(t, "ecs", required)
		b := boot(t, "AliYun", "http://"+ecsAddress, in)
		if major, _, _ := strings.Cut(version, "."); check[int](t)(strconv.Atoi(major)) >= 23 {
			b.common(t, in)
			return
		}
		// Before 23.1 this data source knows no tokens: it gives up, and
		// the rejected requests are what tells the operator.
		if b.Found || strings.Contains(b.log, "Traceback") {
			t.Errorf("found %v; want a clean end without data:\n%s", b.Found, b.log)
		}
		if u := p.usage(t, in.ID); u.TokenFreeRejected == 0 || u.TokenFreeServed != 0 {
			t.Errorf("counted: %+v", u)
		}
	})
}
