package ecsrpc

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"openimds/internal/instance"
	"openimds/internal/state"
)

// instanceView is an instance as DescribeInstances shows it. What the state
// does not know has the value of a plain pay-as-you-go instance.
type instanceView struct {
	ID              string       `p:"InstanceId"`
	Name            string       `p:"InstanceName"`
	HostName        string       `p:"HostName"`
	Description     string       `p:"Description"`
	Status          string       `p:"Status"`
	Region          string       `p:"RegionId"`
	Zone            string       `p:"ZoneId"`
	Cluster         string       `p:"ClusterId"`
	Type            string       `p:"InstanceType"`
	Family          string       `p:"InstanceTypeFamily"`
	CPU             int          `p:"Cpu"`
	Memory          int          `p:"Memory"` // MiB
	GPUs            int          `p:"GPUAmount"`
	GPU             string       `p:"GPUSpec"`
	Image           string       `p:"ImageId"`
	OSName          string       `p:"OSName"`
	OSNameEn        string       `p:"OSNameEn"`
	OSType          string       `p:"OSType"`
	Serial          string       `p:"SerialNumber"`
	KeyPair         string       `p:"KeyPairName"`
	NetworkType     string       `p:"InstanceNetworkType"`
	ChargeType      string       `p:"InstanceChargeType"`
	InternetCharge  string       `p:"InternetChargeType"`
	BandwidthIn     int          `p:"InternetMaxBandwidthIn"`
	BandwidthOut    int          `p:"InternetMaxBandwidthOut"`
	VLAN            string       `p:"VlanId"`
	Created         string       `p:"CreationTime"`
	Started         string       `p:"StartTime"`
	Expires         string       `p:"ExpiredTime"`
	AutoRelease     string       `p:"AutoReleaseTime"`
	IOOptimized     bool         `p:"IoOptimized"`
	DeviceAvailable bool         `p:"DeviceAvailable"`
	SaleCycle       string       `p:"SaleCycle"`
	Recyclable      bool         `p:"Recyclable"`
	Protected       bool         `p:"DeletionProtection"`
	StoppedMode     string       `p:"StoppedMode"`
	SpotStrategy    string       `p:"SpotStrategy"`
	SpotPrice       float64      `p:"SpotPriceLimit"`
	SpotDuration    int          `p:"SpotDuration"`
	Credit          string       `p:"CreditSpecification"`
	DeploymentSet   string       `p:"DeploymentSetId"`
	ResourceGroup   string       `p:"ResourceGroupId"`
	Groups          []string     `p:"SecurityGroupIds>SecurityGroupId"`
	Public          []string     `p:"PublicIpAddress>IpAddress"`
	Inner           []string     `p:"InnerIpAddress>IpAddress"`
	RDMA            []string     `p:"RdmaIpAddress>IpAddress"`
	EIP             eipView      `p:"EipAddress"`
	VPC             vpcView      `p:"VpcAttributes"`
	Interfaces      []eniView    `p:"NetworkInterfaces>NetworkInterface"`
	Tags            []tagView    `p:"Tags>Tag"`
	Locks           []string     `p:"OperationLocks>LockReason"`
	Host            hostView     `p:"DedicatedHostAttribute"`
	Dedicated       tenancyView  `p:"DedicatedInstanceAttribute"`
	Reservation     reservedView `p:"EcsCapacityReservationAttr"`
	CPUOptions      cpuView      `p:"CpuOptions"`
	Hibernation     hibernation  `p:"HibernationOptions"`
	Metadata        metadataView `p:"MetadataOptions"`
}

type eipView struct {
	ID      string `p:"AllocationId"`
	Address string `p:"IpAddress"`
	Charge  string `p:"InternetChargeType"`
}

type vpcView struct {
	VPC     string   `p:"VpcId"`
	VSwitch string   `p:"VSwitchId"`
	Private []string `p:"PrivateIpAddress>IpAddress"`
	NAT     string   `p:"NatIpAddress"`
}

type eniView struct {
	Type    string        `p:"Type"`
	ID      string        `p:"NetworkInterfaceId"`
	MAC     string        `p:"MacAddress"`
	Primary string        `p:"PrimaryIpAddress"`
	Private []privateView `p:"PrivateIpSets>PrivateIpSet"`
	IPv6    []ipv6View    `p:"Ipv6Sets>Ipv6Set"`
}

type privateView struct {
	Address string `p:"PrivateIpAddress"`
	Primary bool   `p:"Primary"`
}

type ipv6View struct {
	Address string `p:"Ipv6Address"`
}

type hostView struct {
	ID      string `p:"DedicatedHostId"`
	Name    string `p:"DedicatedHostName"`
	Cluster string `p:"DedicatedHostClusterId"`
}

type tenancyView struct {
	Affinity string `p:"Affinity"`
	Tenancy  string `p:"Tenancy"`
}

type reservedView struct {
	ID         string `p:"CapacityReservationId"`
	Preference string `p:"CapacityReservationPreference"`
}

type cpuView struct {
	Cores   int    `p:"CoreCount"`
	Threads int    `p:"ThreadsPerCore"`
	NUMA    string `p:"Numa"`
}

type hibernation struct {
	Configured bool `p:"Configured"`
}

// metadataView shows the tokens and the endpoint alone, empty, where the
// options were not asked for.
type metadataView struct {
	HTTPTokens   string `p:"HttpTokens"`
	HTTPEndpoint string `p:"HttpEndpoint"`
	HopLimit     *int   `p:"HttpPutResponseHopLimit,omitempty"`
	Tags         string `p:"InstanceMetadataTags,omitempty"`
}

// options returns the metadata options with the service's defaults filled in.
// The hop limit has none: it is 0 unless it is set.
func options(in *state.Instance) instance.MetadataOptions {
	o := in.Spec.Metadata
	if o.HTTPTokens == "" {
		o.HTTPTokens = instance.Optional
	}
	if o.HTTPEndpoint == "" {
		o.HTTPEndpoint = instance.Enabled
	}
	if o.InstanceMetadataTags == "" {
		o.InstanceMetadataTags = instance.Disabled
	}
	return o
}

func viewOptions(in *state.Instance) metadataView {
	o := options(in)
	return metadataView{o.HTTPTokens, o.HTTPEndpoint, &o.HTTPPutResponseHopLimit, o.InstanceMetadataTags}
}

var statuses = map[string]string{
	"": "Running", "running": "Running", "stopped": "Stopped", "pending": "Pending",
	"stopping": "Stopping", "shutting-down": "Stopping", "terminated": "Stopped",
}

func status(in *state.Instance) string { return statuses[in.Spec.State] }

// minute is the form of the times of instances and images.
func minute(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04Z")
}

// never is the end of what is paid by use.
const never = "2099-12-31T15:59Z"

// hostName falls back to the cloud's own form (ECS-ITEM-003).
func hostName(in *state.Instance) string {
	if name := in.Hostname(); name != "" {
		return name
	}
	return "iZ" + strings.TrimPrefix(in.Spec.ID, "i-") + "Z"
}

// name falls back to the host name, as the item does (ECS-ITEM-002).
func name(in *state.Instance) string {
	if in.Spec.Name != "" {
		return in.Spec.Name
	}
	return hostName(in)
}

func osType(platform string) string {
	if platform == "windows" {
		return "windows"
	}
	return "linux"
}

func osName(platform string) string {
	if platform == "windows" {
		return "Windows Server"
	}
	return "Linux"
}

func typeFamily(kind string) string {
	if at := strings.LastIndexByte(kind, '.'); at > len("ecs") {
		return kind[:at]
	}
	return kind
}

// hardware guesses what an instance type has: the vendor's names say how many
// processors (large: 2, xlarge: 4, 2xlarge: 8), and the family's letter how
// much memory each of them has.
func hardware(kind string) (cpus, mib int) {
	size := kind[strings.LastIndexByte(kind, '.')+1:]
	cpus = 1
	switch {
	case size == "large":
		cpus = 2
	case strings.HasSuffix(size, "xlarge"):
		times, err := strconv.Atoi(strings.TrimSuffix(size, "xlarge"))
		if err != nil || times < 1 || times > 1000 {
			times = 1
		}
		cpus = 4 * times
	}
	perCPU := 4096
	switch family := strings.TrimPrefix(kind, "ecs."); {
	case strings.HasPrefix(family, "c"):
		perCPU = 2048
	case strings.HasPrefix(family, "r"):
		perCPU = 8192
	}
	return cpus, cpus * perCPU
}

func viewInstance(in *state.Instance, withOptions bool) instanceView {
	s := &in.Spec
	v := instanceView{
		ID: s.ID, Name: name(in), HostName: hostName(in), Description: in.Description, Status: status(in),
		Region: s.Region, Zone: s.Zone, Type: s.Type, Family: typeFamily(s.Type), Image: s.Image.ID,
		OSName: osName(s.Platform), OSNameEn: osName(s.Platform), OSType: osType(s.Platform), Serial: s.Serial, KeyPair: in.KeyName,
		NetworkType: "vpc", ChargeType: cmp.Or(in.Attributes["InstanceChargeType"], "PostPaid"),
		InternetCharge: cmp.Or(in.Attributes["InternetChargeType"], "PayByTraffic"), BandwidthIn: -1,
		Created: minute(in.Created), Started: minute(s.Started), Expires: never,
		IOOptimized: true, DeviceAvailable: true, Protected: in.DeletionProtection,
		AutoRelease: in.Attributes["AutoReleaseTime"], Credit: in.Attributes["CreditSpecification"],
		DeploymentSet: in.Attributes["DeploymentSetId"], ResourceGroup: in.Attributes["ResourceGroupId"],
		StoppedMode: "Not-applicable", SpotStrategy: spotStrategy(in), Tags: viewTags(s.Tags),
		Hibernation: hibernation{s.Machine.Hibernation},
	}
	if s.State == "stopped" {
		v.StoppedMode = cmp.Or(in.Attributes["StoppedMode"], "KeepCharging")
	}
	v.CPU, v.Memory = hardware(s.Type)
	v.CPUOptions = cpuView{Cores: max(1, v.CPU/2), Threads: min(2, v.CPU)}
	number("SpotDuration", in, &v.SpotDuration)
	number("InternetMaxBandwidthIn", in, &v.BandwidthIn)
	number("InternetMaxBandwidthOut", in, &v.BandwidthOut)
	number("CpuOptions.Core", in, &v.CPUOptions.Cores)
	number("CpuOptions.ThreadsPerCore", in, &v.CPUOptions.Threads)
	if price, err := strconv.ParseFloat(in.Attributes["SpotPriceLimit"], 64); err == nil {
		v.SpotPrice = price
	}
	if withOptions {
		v.Metadata = viewOptions(in)
	}
	v.Groups, v.Public, v.VPC = network(s)
	for i := range s.Interfaces {
		v.Interfaces = append(v.Interfaces, viewInterface(&s.Interfaces[i], i == 0))
	}
	return v
}

// number shows an attribute that was given as a number.
func number(name string, in *state.Instance, to *int) {
	if n, err := strconv.Atoi(in.Attributes[name]); err == nil {
		*to = n
	}
}

func spotStrategy(in *state.Instance) string {
	if kept := in.Attributes["SpotStrategy"]; kept != "" {
		return kept
	}
	if in.Spec.Lifecycle == "spot" {
		return "SpotAsPriceGo"
	}
	return "NoSpot"
}

// network is what the primary interface says of an instance.
func network(s *instance.Instance) (groups, public []string, vpc vpcView) {
	if len(s.Interfaces) == 0 {
		return nil, nil, vpcView{}
	}
	f := &s.Interfaces[0]
	for _, g := range f.SecurityGroups {
		groups = append(groups, g.ID)
	}
	for _, p := range f.Public {
		public = append(public, p.Address.String())
	}
	vpc = vpcView{VPC: f.VPC.ID, VSwitch: f.Subnet.ID}
	if len(f.IPv4) > 0 {
		vpc.Private = []string{f.IPv4[0].String()}
	}
	return groups, public, vpc
}

func viewInterface(f *instance.Interface, primary bool) eniView {
	v := eniView{Type: "Secondary", ID: f.ID, MAC: f.MAC}
	if primary {
		v.Type = "Primary"
	}
	for i, a := range f.IPv4 {
		if i == 0 {
			v.Primary = a.String()
		}
		v.Private = append(v.Private, privateView{a.String(), i == 0})
	}
	for _, a := range f.IPv6 {
		v.IPv6 = append(v.IPv6, ipv6View{a.String()})
	}
	return v
}

// tagView is a tag as it is read; it is written as Key and Value.
type tagView struct {
	Key   string `p:"TagKey"`
	Value string `p:"TagValue"`
}

func viewTags(tags map[string]string) []tagView {
	var v []tagView
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		v = append(v, tagView{key, tags[key]})
	}
	return v
}
