package ec2query

import (
	"cmp"
	"net/netip"
	"strings"

	"openimds/internal/control"
	"openimds/internal/instance"
	"openimds/internal/state"
)

// instanceXML is an instance in a reply; the order of its elements is the
// vendor's.
type instanceXML struct {
	InstanceID      string          `xml:"instanceId"`
	ImageID         string          `xml:"imageId"`
	State           stateXML        `xml:"instanceState"`
	PrivateDNSName  string          `xml:"privateDnsName"`
	DNSName         string          `xml:"dnsName"`
	Reason          string          `xml:"reason"`
	KeyName         string          `xml:"keyName,omitempty"`
	LaunchIndex     int             `xml:"amiLaunchIndex"`
	ProductCodes    []productXML    `xml:"productCodes>item"`
	Type            string          `xml:"instanceType"`
	LaunchTime      string          `xml:"launchTime"`
	Placement       placementXML    `xml:"placement"`
	Platform        string          `xml:"platform,omitempty"`
	Monitoring      string          `xml:"monitoring>state"`
	SubnetID        string          `xml:"subnetId,omitempty"`
	VPCID           string          `xml:"vpcId,omitempty"`
	PrivateIP       string          `xml:"privateIpAddress,omitempty"`
	PublicIP        string          `xml:"ipAddress,omitempty"`
	SourceDestCheck bool            `xml:"sourceDestCheck"`
	Groups          []groupXML      `xml:"groupSet>item"`
	Architecture    string          `xml:"architecture"`
	RootDeviceType  string          `xml:"rootDeviceType"`
	RootDeviceName  string          `xml:"rootDeviceName,omitempty"`
	BlockDevices    []diskXML       `xml:"blockDeviceMapping>item"`
	Virtualization  string          `xml:"virtualizationType"`
	Lifecycle       string          `xml:"instanceLifecycle,omitempty"`
	ClientToken     string          `xml:"clientToken"`
	Tags            []tagXML        `xml:"tagSet>item"`
	Hypervisor      string          `xml:"hypervisor"`
	Interfaces      []interfaceXML  `xml:"networkInterfaceSet>item"`
	Profile         *profileXML     `xml:"iamInstanceProfile"`
	EBSOptimized    bool            `xml:"ebsOptimized"`
	ENASupport      bool            `xml:"enaSupport"`
	PlatformDetails string          `xml:"platformDetails"`
	Hibernation     bool            `xml:"hibernationOptions>configured"`
	Enclave         bool            `xml:"enclaveOptions>enabled"`
	MetadataOptions metadataOptions `xml:"metadataOptions"`
	IPv6            string          `xml:"ipv6Address,omitempty"`
}

type stateXML struct {
	Code int    `xml:"code"`
	Name string `xml:"name"`
}

type productXML struct {
	Code string `xml:"productCode"`
	Type string `xml:"type"`
}

type placementXML struct {
	Zone      string `xml:"availabilityZone"`
	ZoneID    string `xml:"availabilityZoneId,omitempty"`
	GroupName string `xml:"groupName"`
	Tenancy   string `xml:"tenancy"`
	HostID    string `xml:"hostId,omitempty"`
	Partition int    `xml:"partitionNumber,omitempty"`
}

type groupXML struct {
	ID   string `xml:"groupId"`
	Name string `xml:"groupName"`
}

type diskXML struct {
	Device string `xml:"deviceName"`
	EBS    ebsXML `xml:"ebs"`
}

type ebsXML struct {
	Volume string `xml:"volumeId"`
	Status string `xml:"status"`
	Delete bool   `xml:"deleteOnTermination"`
}

type tagXML struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

type profileXML struct {
	ARN string `xml:"arn"`
	ID  string `xml:"id"`
}

type interfaceXML struct {
	ID              string          `xml:"networkInterfaceId"`
	SubnetID        string          `xml:"subnetId"`
	VPCID           string          `xml:"vpcId"`
	Description     string          `xml:"description"`
	Owner           string          `xml:"ownerId"`
	Status          string          `xml:"status"`
	MAC             string          `xml:"macAddress"`
	PrivateIP       string          `xml:"privateIpAddress,omitempty"`
	PrivateDNSName  string          `xml:"privateDnsName,omitempty"`
	SourceDestCheck bool            `xml:"sourceDestCheck"`
	Groups          []groupXML      `xml:"groupSet>item"`
	Attachment      attachmentXML   `xml:"attachment"`
	Association     *associationXML `xml:"association"`
	Addresses       []addressXML    `xml:"privateIpAddressesSet>item"`
	IPv4Prefixes    []ipv4Net       `xml:"ipv4PrefixSet>item"`
	IPv6            []ipv6XML       `xml:"ipv6AddressesSet>item"`
	IPv6Prefixes    []ipv6Net       `xml:"ipv6PrefixSet>item"`
	Type            string          `xml:"interfaceType"`
}

type attachmentXML struct {
	ID     string `xml:"attachmentId"`
	Device int    `xml:"deviceIndex"`
	Card   int    `xml:"networkCardIndex"`
	Status string `xml:"status"`
	Delete bool   `xml:"deleteOnTermination"`
}

type associationXML struct {
	PublicIP string `xml:"publicIp"`
	Name     string `xml:"publicDnsName"`
	Owner    string `xml:"ipOwnerId"`
}

type addressXML struct {
	Address     string          `xml:"privateIpAddress"`
	Primary     bool            `xml:"primary"`
	Association *associationXML `xml:"association"`
}

type ipv6XML struct {
	Address string `xml:"ipv6Address"`
}

var stateCodes = map[string]int{"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}

func stateOf(in *state.Instance) string { return cmp.Or(in.Spec.State, "running") }

func stateView(name string) stateXML { return stateXML{stateCodes[name], name} }

// instanceView shows an instance as the API does.
func instanceView(in *state.Instance) instanceXML {
	s := &in.Spec
	v := instanceXML{
		InstanceID: s.ID, ImageID: s.Image.ID, State: stateView(stateOf(in)), KeyName: in.KeyName, LaunchIndex: s.LaunchIndex,
		Type: s.Type, LaunchTime: stamp(s.Started), Monitoring: "disabled", SourceDestCheck: in.Attributes["sourceDestCheck"] != "false",
		Placement:    placementXML{s.Zone, s.ZoneID, s.Placement.GroupName, "default", s.Placement.HostID, s.Placement.Partition},
		Architecture: architectureOf(in), RootDeviceType: "ebs", Virtualization: "hvm", ClientToken: in.ClientToken,
		Tags: tagsView(s.Tags), Hypervisor: cmp.Or(s.Machine.System, "xen"), ENASupport: in.Attributes["enaSupport"] != "false",
		EBSOptimized: in.Attributes["ebsOptimized"] == "true", Enclave: in.Attributes["enclaveOptions"] == "true", PlatformDetails: "Linux/UNIX",
		Hibernation: s.Machine.Hibernation, MetadataOptions: optionsView(in, false),
	}
	if v.Hypervisor == "nitro" {
		v.Hypervisor = "xen" // the API calls both so
	}
	if s.Machine.Monitoring {
		v.Monitoring = "enabled"
	}
	if s.Platform == "windows" {
		v.Platform, v.PlatformDetails = "windows", "Windows"
	}
	if s.Lifecycle == "spot" {
		v.Lifecycle = "spot"
	}
	for _, code := range s.Image.ProductCodes {
		v.ProductCodes = append(v.ProductCodes, productXML{code, "marketplace"})
	}
	for _, d := range s.Disks {
		if d.Kind == instance.DiskRoot {
			v.RootDeviceName = d.Device
		}
		if d.ID != "" {
			v.BlockDevices = append(v.BlockDevices, diskXML{d.Device, ebsXML{d.ID, "attached", true}})
		}
	}
	if s.Role != nil {
		p := profileView(in)
		v.Profile = &p
	}
	if stateOf(in) == "terminated" {
		return v // its network is gone
	}
	for i := range s.Interfaces {
		v.Interfaces = append(v.Interfaces, interfaceView(s, &s.Interfaces[i]))
	}
	if len(v.Interfaces) > 0 {
		first := v.Interfaces[0]
		v.PrivateDNSName, v.SubnetID, v.VPCID, v.PrivateIP, v.Groups = first.PrivateDNSName, first.SubnetID, first.VPCID, first.PrivateIP, first.Groups
		if first.Association != nil {
			v.PublicIP, v.DNSName = first.Association.PublicIP, first.Association.Name
		}
		if len(first.IPv6) > 0 {
			v.IPv6 = first.IPv6[0].Address
		}
	}
	return v
}

func interfaceView(s *instance.Instance, f *instance.Interface) interfaceXML {
	owner := cmp.Or(f.Owner, s.Account)
	v := interfaceXML{
		ID: f.ID, SubnetID: f.Subnet.ID, VPCID: f.VPC.ID, Owner: owner, Status: "in-use", MAC: f.MAC,
		PrivateDNSName: privateName(s, f), SourceDestCheck: true, Type: "interface",
		Attachment: attachmentXML{ID: control.AttachmentID(f.ID), Device: f.Device, Status: "attached", Delete: true},
	}
	if f.Card != nil {
		v.Attachment.Card = *f.Card
	}
	for _, p := range f.IPv4Prefixes {
		v.IPv4Prefixes = append(v.IPv4Prefixes, ipv4Net{p.String()})
	}
	for _, p := range f.IPv6Prefixes {
		v.IPv6Prefixes = append(v.IPv6Prefixes, ipv6Net{p.String()})
	}
	for _, g := range f.SecurityGroups {
		v.Groups = append(v.Groups, groupXML(g))
	}
	for i, a := range f.IPv4 {
		one := addressXML{Address: a.String(), Primary: i == 0}
		for _, p := range f.Public {
			if p.Private == a || !p.Private.IsValid() && i == 0 {
				one.Association = &associationXML{p.Address.String(), f.PublicHostname, owner}
			}
		}
		if i == 0 {
			v.PrivateIP, v.Association = one.Address, one.Association
		}
		v.Addresses = append(v.Addresses, one)
	}
	for _, a := range f.IPv6 {
		v.IPv6 = append(v.IPv6, ipv6XML{a.String()})
	}
	return v
}

// privateName is the private DNS name of an interface (EC2-ITEM-041).
func privateName(s *instance.Instance, f *instance.Interface) string {
	var name string
	switch {
	case f.Hostname != "":
		return f.Hostname
	case s.Hostname != "" && f == s.Primary():
		return s.Hostname
	case len(f.IPv4) > 0:
		name = "ip-" + strings.ReplaceAll(f.IPv4[0].String(), ".", "-")
	case s.ID == "":
		return "" // an interface of IPv6 that no instance has
	default:
		name = s.ID
	}
	if s.Region == "us-east-1" {
		return name + ".ec2.internal"
	}
	return name + "." + s.Region + ".compute.internal"
}

func architectureOf(in *state.Instance) string { return cmp.Or(in.Spec.Architecture, "x86_64") }

// addressesOf returns the private IPv4 addresses of an instance.
func addressesOf(in *state.Instance) []netip.Addr {
	var all []netip.Addr
	for i := range in.Spec.Interfaces {
		all = append(all, in.Spec.Interfaces[i].IPv4...)
	}
	return all
}
