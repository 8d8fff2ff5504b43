package ecs

import (
	"strconv"
	"strings"
	"time"

	"openimds/internal/instance"
	"openimds/internal/item"
)

type (
	vm  = instance.Instance
	eni = instance.Interface
)

// rows returns the table of metadata items. It is the only place that says
// which items there are.
func rows() []item.Row {
	const macs = "meta-data/network/interfaces/macs/{mac}/"
	return []item.Row{
		// The instance.
		{Path: "meta-data/instance-id", Fact: "ECS-ITEM-001", Doc: "Instance id.",
			Get: always(func(m *vm) string { return m.ID })},
		{Path: "meta-data/instance/instance-name", Fact: "ECS-ITEM-002", Doc: "Name a person gave the instance; its host name if nobody did.",
			Get: instanceName},
		{Path: "meta-data/hostname", Fact: "ECS-ITEM-003", Doc: "Host name; `iZ…Z` around the id's own part if none is set.",
			Get: hostname},
		{Path: "meta-data/instance/instance-type", Fact: "ECS-ITEM-004", Doc: "Instance type.",
			Get: always(func(m *vm) string { return m.Type })},
		{Path: "meta-data/serial-number", Fact: "ECS-ITEM-005", Doc: "Serial number of the machine, a UUID; equal to the DMI serial.",
			Get: given(func(m *vm) string { return m.Serial })},
		{Path: "meta-data/region-id", Fact: "ECS-ITEM-006", Doc: "Region id.",
			Get: always(func(m *vm) string { return m.Region })},
		{Path: "meta-data/zone-id", Fact: "ECS-ITEM-007", Doc: "Zone id.",
			Get: always(func(m *vm) string { return m.Zone })},
		{Path: "meta-data/owner-account-id", Fact: "ECS-ITEM-008", Doc: "Account id of the instance's owner.",
			Get: always(func(m *vm) string { return m.Account })},
		{Path: "meta-data/tags/instance/{tag}", Fact: "ECS-ITEM-009", Doc: "Value of a tag; only where tags are shown, and for keys of letters, digits and `@:_-.=,`.",
			Get: tagValue},
		{Path: "meta-data/launch-index", Fact: "ECS-ITEM-034", Doc: "Place in the batch that one launch request made, from 0.",
			Get: func(dst []byte, q *item.Query) ([]byte, bool) {
				return strconv.AppendInt(dst, int64(q.Instance.LaunchIndex), 10), true
			}},

		// The image.
		{Path: "meta-data/image-id", Fact: "ECS-ITEM-010", Doc: "Image the instance was started from.",
			Get: always(func(m *vm) string { return m.Image.ID })},
		{Path: "meta-data/image/market-place/product-code", Fact: "ECS-ITEM-011", Doc: "Product code of a marketplace image.",
			Get: given(productCode)},
		{Path: "meta-data/image/market-place/charge-type", Fact: "ECS-ITEM-012", Doc: "How a marketplace image is charged.",
			Get: given(chargeType)},

		// The virtual machine.
		{Path: "meta-data/instance/max-netbw-egress", Fact: "ECS-ITEM-019", Doc: "Outgoing bandwidth in Kbit/s.",
			Get: number(func(m *vm) int { return m.Machine.EgressKbps })},
		{Path: "meta-data/instance/max-netbw-ingress", Fact: "ECS-ITEM-020", Doc: "Incoming bandwidth in Kbit/s.",
			Get: number(func(m *vm) int { return m.Machine.IngressKbps })},
		{Path: "meta-data/instance/virtualization-solution", Fact: "ECS-ITEM-021", Doc: "Virtualization solution.",
			Get: always(func(m *vm) string { return m.Machine.Solution })},
		{Path: "meta-data/instance/virtualization-solution-version", Fact: "ECS-ITEM-022", Doc: "Its version.",
			Get: always(func(m *vm) string { return m.Machine.SolutionVersion })},
		{Path: "meta-data/instance/last-host-landing-time", Fact: "ECS-ITEM-023", Doc: "When the instance last came to its present host; when it was started if nothing else is known. UTC, with a space.",
			Get: moment(plainTime, landed)},
		{Path: "meta-data/instance/spot/termination-time", Fact: "ECS-ITEM-024", Doc: "When a preemptible instance is taken back; absent until that is announced.",
			Get: termination},
		{Path: "meta-data/instance/instance-type-spec/max-netpps", Fact: "ECS-ITEM-025", Doc: "Packets per second.",
			Get: number(func(m *vm) int { return m.Machine.MaxPPS })},
		{Path: "meta-data/instance/instance-type-spec/max-connections", Fact: "ECS-ITEM-026", Doc: "Connections.",
			Get: number(func(m *vm) int { return m.Machine.MaxConnections })},
		{Path: "meta-data/hibernation/configured", Fact: "ECS-ITEM-035", Doc: "Whether the instance may hibernate: `true` or `false`.",
			Get: func(dst []byte, q *item.Query) ([]byte, bool) {
				return strconv.AppendBool(dst, q.Instance.Machine.Hibernation), true
			}},

		// Services of the provider.
		{Path: "meta-data/source-address", Fact: "ECS-ITEM-013", Doc: "Package mirrors, one a line; Linux only.",
			Get: on(linux, mirrors)},
		{Path: "meta-data/dns-conf/nameservers", Fact: "ECS-ITEM-027", Doc: "Name servers, one a line, with CRLF between them.",
			Get: nameservers},
		{Path: "meta-data/ntp-conf/ntp-servers", Fact: "ECS-ITEM-028", Doc: "Time servers, one a line, with CRLF between them.",
			Get: ntpServers},
		{Path: "meta-data/kms-server", Fact: "ECS-ITEM-055", Doc: "Windows activation server; Windows only.",
			Get: on(windows, given(func(m *vm) string { return m.Services.KMSServer }))},
		{Path: "meta-data/wsus-server/wu-server", Fact: "ECS-ITEM-056", Doc: "Windows update server; Windows only.",
			Get: on(windows, given(func(m *vm) string { return m.Services.WSUSServer }))},
		{Path: "meta-data/wsus-server/wu-status-server", Fact: "ECS-ITEM-057", Doc: "Windows update status server; Windows only.",
			Get: on(windows, given(func(m *vm) string { return m.Services.WSUSStatusServer }))},
		{Path: "global-config/aliyun-assist-server-url", Fact: "ECS-ITEM-065", Doc: "Cloud Assistant server, in clouds that have their own.",
			Get: given(func(m *vm) string { return m.Services.AssistServer })},

		// The network as the primary interface sees it.
		{Path: "meta-data/network-type", Fact: "ECS-ITEM-014", Doc: "Always `vpc`.",
			Get: always(func(*vm) string { return "vpc" })},
		{Path: "meta-data/vpc-id", Fact: "ECS-ITEM-015", Doc: "VPC of the primary interface.",
			Get: primary(nicText(vpcID))},
		{Path: "meta-data/vpc-cidr-block", Fact: "ECS-ITEM-016", Doc: "Primary IPv4 block of that VPC.",
			Get: primary(vpcIPv4)},
		{Path: "meta-data/vswitch-id", Fact: "ECS-ITEM-017", Doc: "vSwitch of the primary interface.",
			Get: primary(nicText(vSwitchID))},
		{Path: "meta-data/vswitch-cidr-block", Fact: "ECS-ITEM-018", Doc: "IPv4 block of that vSwitch.",
			Get: primary(vSwitchIPv4)},
		{Path: "meta-data/mac", Fact: "ECS-ITEM-029", Doc: "MAC address of the primary interface.",
			Get: primary(nicText(func(f *eni) string { return f.MAC }))},
		{Path: "meta-data/private-ipv4", Fact: "ECS-ITEM-030", Doc: "Primary private IPv4 address; absent on an IPv6-only instance.",
			Get: primary(privateIPv4)},
		{Path: "meta-data/public-ipv4", Fact: "ECS-ITEM-031", Doc: "Public IPv4 address of the primary interface; served, not listed.",
			Unlisted: true, Get: primary(publicIPv4)},
		{Path: "meta-data/eipv4", Fact: "ECS-ITEM-032", Doc: "Static public address or elastic IP of the primary interface; empty when there is none.",
			Get: primary(eip)},
		{Path: "meta-data/sub-private-ipv4-list", Fact: "ECS-ITEM-033", Doc: "Secondary private IPv4 addresses of the primary interface; empty when there are none.",
			Get: primary(secondaryIPv4)},

		// Each network interface.
		{Path: macs + "network-interface-id", Fact: "ECS-ITEM-036", Doc: "Interface id.",
			Get: nic(nicText(func(f *eni) string { return f.ID }))},
		{Path: macs + "vpc-id", Fact: "ECS-ITEM-037", Doc: "VPC of the interface.",
			Get: nic(nicText(vpcID))},
		{Path: macs + "vswitch-id", Fact: "ECS-ITEM-038", Doc: "vSwitch of the interface.",
			Get: nic(nicText(vSwitchID))},
		{Path: macs + "primary-ip-address", Fact: "ECS-ITEM-039", Doc: "Primary private IPv4 address; absent on an IPv6-only interface.",
			Get: nic(privateIPv4)},
		{Path: macs + "private-ipv4s", Fact: "ECS-ITEM-040", Doc: "All private IPv4 addresses, a JSON array; absent on an IPv6-only interface.",
			Get: nic(privateIPv4s)},
		{Path: macs + "ipv4-prefixes", Fact: "ECS-ITEM-041", Doc: "Delegated IPv4 prefixes.",
			Get: nic(ipv4Prefixes)},
		{Path: macs + "netmask", Fact: "ECS-ITEM-042", Doc: "IPv4 netmask.",
			Get: nic(mask)},
		{Path: macs + "gateway", Fact: "ECS-ITEM-043", Doc: "IPv4 gateway; the third address from the end of the vSwitch's block if none is set.",
			Get: nic(gateway)},
		{Path: macs + "vswitch-cidr-block", Fact: "ECS-ITEM-044", Doc: "IPv4 block of the vSwitch.",
			Get: nic(vSwitchIPv4)},
		{Path: macs + "vpc-cidr-block", Fact: "ECS-ITEM-045", Doc: "Primary IPv4 block of the VPC.",
			Get: nic(vpcIPv4)},
		{Path: macs + "ipv6s", Fact: "ECS-ITEM-046", Doc: "IPv6 addresses in brackets, without quotes.",
			Get: nic(ipv6s)},
		{Path: macs + "ipv6-prefixes", Fact: "ECS-ITEM-047", Doc: "Delegated IPv6 prefixes.",
			Get: nic(ipv6Prefixes)},
		{Path: macs + "ipv6-gateway", Fact: "ECS-ITEM-048", Doc: "IPv6 gateway.",
			Get: nic(ipv6Gateway)},
		{Path: macs + "vswitch-ipv6-cidr-block", Fact: "ECS-ITEM-049", Doc: "IPv6 block of the vSwitch.",
			Get: nic(vSwitchIPv6)},
		{Path: macs + "vpc-ipv6-cidr-blocks", Fact: "ECS-ITEM-050", Doc: "IPv6 blocks of the VPC in brackets, without quotes.",
			Get: nic(vpcIPv6s)},

		// Disks and keys.
		{Path: "meta-data/disks/{disk}/id", Fact: "ECS-ITEM-051", Doc: "Id of the disk with this serial number.",
			Get: disk(func(d *instance.Disk) string { return d.ID })},
		{Path: "meta-data/disks/{disk}/name", Fact: "ECS-ITEM-052", Doc: "Name a person gave the disk; may be empty.",
			Get: disk(func(d *instance.Disk) string { return d.Name })},
		{Path: "meta-data/public-keys/{key}/openssh-key", Fact: "ECS-ITEM-053", Doc: "Public key, by number and by key pair id.",
			Get: opensshKey},

		// Role and identity.
		{Path: "meta-data/ram/security-credentials/{role}", Fact: "ECS-ITEM-054", Doc: "Temporary credentials of the instance's RAM role.",
			Class: item.Credential, Get: credentials, Has: hasRole},
		{Path: "meta-data/instance-identity/document", Fact: "ECS-ITEM-059", Doc: "Instance identity document, where old clients look for it; served, not listed.",
			Class: item.Identity, Unlisted: true, Get: identityDocument},
		{Path: "dynamic/instance-identity/document", Fact: "ECS-ITEM-062", Doc: "Instance identity document; `?audience=` adds an audience.",
			Class: item.Identity, Get: identityDocument},
		pkcs7(),

		// The whole, raw data and events.
		{Path: "meta-data/all", Fact: "ECS-ITEM-058", Doc: "Everything below meta-data as one JSON object, credentials left out; served, not listed.",
			Class: item.Whole, Unlisted: true},
		{Path: "user-data", Fact: "ECS-ITEM-060", Doc: "User data, as it is.",
			Class: item.Opaque, Get: raw(func(m *vm) []byte { return m.UserData })},
		{Path: "vendor-data", Fact: "ECS-ITEM-061", Doc: "Vendor data, as it is.",
			Class: item.Opaque, Get: raw(func(m *vm) []byte { return m.VendorData })},
		{Path: "maintenance/active-system-events", Fact: "ECS-ITEM-064", Doc: "Active system events as a JSON array; `None` when there are none.",
			Get: systemEvents},
	}
}

func vpcID(f *eni) string     { return f.VPC.ID }
func vSwitchID(f *eni) string { return f.Subnet.ID }

func instanceName(dst []byte, q *item.Query) ([]byte, bool) {
	if name := q.Instance.Name; name != "" {
		return append(dst, name...), true
	}
	return hostname(dst, q)
}

// hostname falls back to the form of the cloud's own host names (ECS-ITEM-003).
func hostname(dst []byte, q *item.Query) ([]byte, bool) {
	if name := q.Instance.Hostname; name != "" {
		return append(dst, name...), true
	}
	dst = append(dst, "iZ"...)
	dst = append(dst, strings.TrimPrefix(q.Instance.ID, "i-")...)
	return append(dst, 'Z'), true
}

// productCode is the code of a marketplace image, which has one.
func productCode(m *vm) string {
	if len(m.Image.ProductCodes) == 0 {
		return ""
	}
	return m.Image.ProductCodes[0]
}

func chargeType(m *vm) string {
	if productCode(m) == "" {
		return ""
	}
	return m.Image.ChargeType
}

func landed(m *vm) time.Time {
	if m.Landed.IsZero() {
		return m.Started
	}
	return m.Landed
}
