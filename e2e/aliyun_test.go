//go:build linux

package e2e

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/AliyunContainerService/ack-ram-tool/pkg/ecsmetadata"
	aliyungo "github.com/denverdino/aliyungo/metadata"
)

func ecsClient(t *testing.T, endpoint, source string) *ecsmetadata.Client {
	t.Helper()
	return check[*ecsmetadata.Client](t)(ecsmetadata.NewClient(ecsmetadata.ClientOptions{
		Endpoint:          endpoint,
		TransportWrappers: []ecsmetadata.TransportWrapper{func(http.RoundTripper) http.RoundTripper { return transport(source) }},
		DisableRetry:      true,
		RetryOptions:      &ecsmetadata.RetryOptions{},
		Timeout:           5 * time.Second,
	}))
}

// TestECSMetadata reads every item that ack-ram-tool's client knows, with
// session tokens.
func TestECSMetadata(t *testing.T) {
	p := start(t, nil)
	for name, source := range map[string]string{"optional": optional, "required": required} {
		t.Run(name, func(t *testing.T) {
			readECS(t, ecsClient(t, p.ecs, source), source)
			id := sample(t, "ecs", source).ID
			if u := p.usage(t, id); u.TokensMinted == 0 || u.TokenedServed == 0 || u.TokenFreeServed+u.TokenFreeRejected+u.BadToken != 0 {
				t.Errorf("the client is to use tokens alone; counted: %+v", u)
			}
		})
	}
	t.Run("disabled", func(t *testing.T) {
		if id, err := ecsClient(t, p.ecs, disabled).GetInstanceId(t.Context()); err == nil {
			t.Errorf("a disabled endpoint gave %q", id)
		}
	})
}

// TestECSMetadataBuiltInAddress: no option, no variable, tokens required.
func TestECSMetadataBuiltInAddress(t *testing.T) {
	builtIn(t, "ecs", required)
	t.Setenv("ALIBABA_CLOUD_IMDS_ENDPOINT", "")
	t.Setenv("ALIBABA_CLOUD_IMDSV2_DISABLED", "")
	c := check[*ecsmetadata.Client](t)(ecsmetadata.NewClient(ecsmetadata.ClientOptions{DisableRetry: true, RetryOptions: &ecsmetadata.RetryOptions{}}))
	readECS(t, c, required)
}

func readECS(t *testing.T, c *ecsmetadata.Client, source string) {
	t.Helper()
	ctx := t.Context()
	in := sample(t, "ecs", source)
	nic := in.Primary()
	read := check[string](t)
	list := check[[]string](t)

	equal(t, "instance id", read(c.GetInstanceId(ctx)), in.ID)
	equal(t, "instance name", read(c.GetInstanceName(ctx)), in.Name)
	equal(t, "instance type", read(c.GetInstanceType(ctx)), in.Type)
	equal(t, "image id", read(c.GetImageId(ctx)), in.Image.ID)
	equal(t, "serial number", read(c.GetSerialNumber(ctx)), in.Serial)
	equal(t, "region", read(c.GetRegionId(ctx)), in.Region)
	equal(t, "zone", read(c.GetZoneId(ctx)), in.Zone)
	equal(t, "account", read(c.GetOwnerAccountId(ctx)), in.Account)
	equal(t, "host name", read(c.GetHostname(ctx)), in.Hostname)
	equal(t, "network type", read(c.GetNetworkType(ctx)), "vpc")
	equal(t, "mac", read(c.GetMac(ctx)), nic.MAC)
	equal(t, "vpc", read(c.GetVpcId(ctx)), nic.VPC.ID)
	equal(t, "vpc block", read(c.GetVpcCidrBlock(ctx)), nic.VPC.IPv4[0].String())
	equal(t, "vswitch", read(c.GetVSwitchId(ctx)), nic.Subnet.ID)
	equal(t, "vswitch block", read(c.GetVSwitchCidrBlock(ctx)), nic.Subnet.IPv4.String())
	equal(t, "private address", read(c.GetPrivateIPV4(ctx)), nic.IPv4[0].String())
	equal(t, "name servers", strings.Join(list(c.GetDNSNameServersList(ctx)), " "), join(in.Services.Nameservers))
	equal(t, "time servers", strings.Join(list(c.GetNTPServersList(ctx)), " "), strings.Join(in.Services.NTPServers, " "))
	equal(t, "user data", read(c.GetUserData(ctx)), string(in.UserData))

	var macs []string
	for _, f := range in.Interfaces {
		macs = append(macs, f.MAC)
	}
	got := list(c.GetMacs(ctx))
	slices.Sort(got)
	slices.Sort(macs)
	equal(t, "macs", strings.Join(got, " "), strings.Join(macs, " "))
	equal(t, "interface", read(c.GetInterfaceIdByMac(ctx, nic.MAC)), nic.ID)
	equal(t, "primary address", read(c.GetPrimaryIPAddressByMac(ctx, nic.MAC)), nic.IPv4[0].String())
	equal(t, "gateway", read(c.GetGatewayByMac(ctx, nic.MAC)), nic.Subnet.Gateway.String())
	equal(t, "private addresses", strings.Join(list(c.GetPrivateIPV4sByMac(ctx, nic.MAC)), " "), join(nic.IPv4))
	equal(t, "IPv6 gateway", read(c.GetIPV6GatewayByMac(ctx, nic.MAC)), nic.Subnet.IPv6Gateway.String())

	// The service lists IPv6 addresses without quotation marks, on which
	// this client's JSON parser stumbles, as it does in the cloud.
	if _, err := c.GetIPV6sByMac(ctx, nic.MAC); err == nil || !strings.Contains(err.Error(), "invalid character") {
		t.Errorf("IPv6 addresses: want the client's parser to stumble, got %v", err)
	}

	// The document has private-ipv4 (ECS-IDENT-01), and no private-ip and
	// account-id, which this client would also read.
	doc := check[*ecsmetadata.Document](t)(c.GetDocument(ctx))
	equal(t, "document", *doc, ecsmetadata.Document{
		OwnerAccountId: in.Account, InstanceId: in.ID, Mac: nic.MAC, RegionId: in.Region,
		SerialNumber: in.Serial, ZoneId: in.Zone, InstanceType: in.Type, ImageId: in.Image.ID,
	})

	role := read(c.GetRoleName(ctx))
	equal(t, "role", role, in.Role.Name)
	creds := check[*ecsmetadata.RoleCredentials](t)(c.GetRoleCredentials(ctx, role))
	equal(t, "access key id", creds.AccessKeyId, in.Role.Credentials.AccessKeyID)
	equal(t, "secret", creds.AccessKeySecret == in.Role.Credentials.AccessKeySecret, true)
	equal(t, "security token", creds.SecurityToken == in.Role.Credentials.SessionToken, true)
	equal(t, "code", creds.Code, "Success")
	if time.Until(creds.Expiration) <= 0 {
		t.Errorf("the credentials expired at %v", creds.Expiration)
	}
}

func join(addrs []netip.Addr) string {
	var all []string
	for _, a := range addrs {
		all = append(all, a.String())
	}
	return strings.Join(all, " ")
}

// TestAliyungo: a client of the time before tokens, in normal mode; where
// tokens are required it is refused.
func TestAliyungo(t *testing.T) {
	p := start(t, nil)
	t.Setenv("METADATA_ENDPOINT", p.ecs)
	in := sample(t, "ecs", optional)
	nic := in.Primary()
	m := aliyungo.NewMetaData(&http.Client{Transport: transport(optional)})
	read := check[string](t)

	equal(t, "instance id", read(m.InstanceID()), in.ID)
	equal(t, "region", read(m.Region()), in.Region)
	equal(t, "zone", read(m.Zone()), in.Zone)
	equal(t, "host name", read(m.HostName()), in.Hostname)
	equal(t, "image", read(m.ImageID()), in.Image.ID)
	equal(t, "mac", read(m.Mac()), nic.MAC)
	equal(t, "network type", read(m.NetworkType()), "vpc")
	equal(t, "account", read(m.OwnerAccountID()), in.Account)
	equal(t, "private address", read(m.PrivateIPv4()), nic.IPv4[0].String())
	equal(t, "serial number", read(m.SerialNumber()), in.Serial)
	equal(t, "vpc", read(m.VpcID()), nic.VPC.ID)
	equal(t, "vpc block", read(m.VpcCIDRBlock()), nic.VPC.IPv4[0].String())
	equal(t, "vswitch", read(m.VswitchID()), nic.Subnet.ID)
	equal(t, "vswitch block", read(m.VswitchCIDRBlock()), nic.Subnet.IPv4.String())
	equal(t, "public address", read(m.EIPv4()), nic.Public[0].Address.String())
	// This client splits at line feeds and keeps the carriage returns.
	servers := check[[]string](t)(m.DNSNameServers())
	equal(t, "name servers", strings.Join(servers, " "), strings.ReplaceAll(join(in.Services.Nameservers), " ", "\r "))
	role := read(m.RoleName())
	equal(t, "role", role, in.Role.Name)
	auth := check[aliyungo.RoleAuth](t)(m.RamRoleToken(role))
	equal(t, "access key id", auth.AccessKeyId, in.Role.Credentials.AccessKeyID)
	equal(t, "security token", auth.SecurityToken == in.Role.Credentials.SessionToken, true)
	equal(t, "code", auth.Code, "Success")

	u := p.usage(t, in.ID)
	if u.TokenFreeServed == 0 || u.TokenedServed+u.TokensMinted+u.TokenFreeRejected != 0 {
		t.Errorf("this client knows no tokens; counted: %+v", u)
	}

	hardened := aliyungo.NewMetaData(&http.Client{Transport: transport(required)})
	if id, err := hardened.InstanceID(); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("where tokens are required: got %q, %v, want a refusal with 403", id, err)
	}
}
