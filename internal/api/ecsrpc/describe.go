package ecsrpc

import (
	"cmp"
	"context"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"openimds/internal/state"
)

type describeInstancesInput struct {
	filters
	paging
	MaxResults *int     `p:"MaxResults"`
	NextToken  string   `p:"NextToken"`
	Additional []string `p:"AdditionalAttributes"`
}

// filters are what DescribeInstances can ask for; empty: anything.
type filters struct {
	IDs          idList      `p:"InstanceIds"`
	VPC          string      `p:"VpcId"`
	VSwitch      string      `p:"VSwitchId"`
	Zone         string      `p:"ZoneId"`
	Status       string      `p:"Status"`
	Name         string      `p:"InstanceName"`
	Type         string      `p:"InstanceType"`
	Family       string      `p:"InstanceTypeFamily"`
	Image        string      `p:"ImageId"`
	KeyPair      string      `p:"KeyPairName"`
	Group        string      `p:"SecurityGroupId"`
	Private      idList      `p:"PrivateIpAddresses"`
	Public       idList      `p:"PublicIpAddresses"`
	EIP          idList      `p:"EipAddresses"`
	Inner        idList      `p:"InnerIpAddresses"`
	RDMA         string      `p:"RdmaIpAddresses"`
	IPv6         []string    `p:"Ipv6Address"`
	NetworkType  string      `p:"InstanceNetworkType"`
	ChargeType   string      `p:"InstanceChargeType"`
	LockReason   string      `p:"LockReason"`
	HTTPTokens   string      `p:"HttpTokens"`
	HTTPEndpoint string      `p:"HttpEndpoint"`
	HopLimit     *int        `p:"HttpPutResponseHopLimit"`
	Tags         []tagInput  `p:"Tag"`
	Times        []timeRange `p:"Filter"`
}

type timeRange struct {
	Key   string `p:"Key"`
	Value string `p:"Value"`
}

const maxIDs = 100

// check refuses words that are none of the vendor's.
func (f *filters) check() error {
	word := func(given, parameter string, known ...string) error {
		if given == "" || slices.Contains(known, given) {
			return nil
		}
		return refuse(http.StatusNotFound, "Invalid"+parameter+".NotFound", "The specified "+parameter+" is not found.")
	}
	for _, err := range []error{
		word(f.Status, "Status", "Pending", "Starting", "Running", "Stopping", "Stopped"),
		word(f.ChargeType, "InstanceChargeType", "PostPaid", "PrePaid"),
		word(f.NetworkType, "NetworkType", "vpc", "classic"),
		word(f.LockReason, "LockReason", "financial", "security", "Recycling", "dedicatedhostfinancial", "refunded"),
	} {
		if err != nil {
			return err
		}
	}
	if len(f.IDs) > maxIDs {
		return invalid("InstanceIds")
	}
	for _, r := range f.Times {
		if r.Key == "" && r.Value == "" {
			continue
		}
		if err := word(r.Key, "FilterKey", "CreationStartTime", "CreationEndTime", "ExpiredStartTime", "ExpiredEndTime"); err != nil || r.Key == "" {
			return err
		}
		if _, ok := parseTime(r.Value); !ok {
			return refuse(http.StatusBadRequest, "InvalidFilterValue", "The specified parameter \"Filter.N.Value\" is not valid: expected yyyy-MM-ddTHH:mmZ.")
		}
	}
	return checkTagCount(f.Tags)
}

func parseTime(text string) (time.Time, bool) {
	for _, layout := range []string{"2006-01-02T15:04Z", "2006-01-02T15:04:05Z"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// match reports whether an instance is asked for.
func (f *filters) match(in *state.Instance, v *instanceView) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	oneOf := func(want []string, have ...string) bool {
		return len(want) == 0 || slices.ContainsFunc(have, func(h string) bool { return slices.Contains(want, h) })
	}
	o := options(in)
	var private, ipv6 []string
	for _, e := range v.Interfaces {
		for _, a := range e.Private {
			private = append(private, a.Address)
		}
		for _, a := range e.IPv6 {
			ipv6 = append(ipv6, a.Address)
		}
	}
	return oneOf(f.IDs, v.ID) && is(f.VPC, v.VPC.VPC) && is(f.VSwitch, v.VPC.VSwitch) && is(f.Zone, v.Zone) &&
		is(f.Status, v.Status) && glob(f.Name, v.Name) && is(f.Type, v.Type) && is(f.Family, v.Family) && is(f.Image, v.Image) &&
		is(f.KeyPair, v.KeyPair) && (f.Group == "" || slices.Contains(v.Groups, f.Group)) &&
		oneOf(f.Private, private...) && oneOf(f.Public, v.Public...) && oneOf(f.EIP) && oneOf(f.Inner) && f.RDMA == "" && oneOf(f.IPv6, ipv6...) &&
		is(f.NetworkType, v.NetworkType) && is(f.ChargeType, v.ChargeType) && f.LockReason == "" &&
		is(f.HTTPTokens, o.HTTPTokens) && is(f.HTTPEndpoint, o.HTTPEndpoint) &&
		(f.HopLimit == nil || *f.HopLimit == o.HTTPPutResponseHopLimit) &&
		hasTags(in.Spec.Tags, f.Tags) && f.during(in)
}

// during compares times. What is paid by use ends in 2099.
func (f *filters) during(in *state.Instance) bool {
	expires, _ := parseTime(never)
	created := in.Created.Truncate(time.Minute)
	for _, r := range f.Times {
		at, _ := parseTime(r.Value)
		switch {
		case r.Key == "CreationStartTime" && created.Before(at),
			r.Key == "CreationEndTime" && created.After(at),
			r.Key == "ExpiredStartTime" && expires.Before(at),
			r.Key == "ExpiredEndTime" && expires.After(at):
			return false
		}
	}
	return true
}

// glob matches text in which * stands for anything. An empty pattern matches
// everything.
func glob(pattern, text string) bool {
	if pattern == "" {
		return true
	}
	pieces := strings.Split(pattern, "*")
	if len(pieces) == 1 {
		return pattern == text
	}
	last := len(pieces) - 1
	rest, ok := strings.CutPrefix(text, pieces[0])
	if !ok {
		return false
	}
	for _, piece := range pieces[1:last] {
		_, behind, found := strings.Cut(rest, piece)
		if !found {
			return false
		}
		rest = behind
	}
	return strings.HasSuffix(rest, pieces[last])
}

type describeInstancesReply struct {
	Instances  []instanceView `p:"Instances>Instance"`
	NextToken  string         `p:"NextToken"`
	PageNumber int            `p:"PageNumber"`
	PageSize   int            `p:"PageSize"`
	TotalCount int            `p:"TotalCount"`
}

// asked returns the caller's instances with the given ids, or all, by id.
func (r *request) asked(ids []string) ([]*state.Instance, error) {
	if len(ids) == 0 {
		return r.Control.Instances(r.caller)
	}
	all, err := r.Control.InstancesNamed(r.caller, ids)
	slices.SortFunc(all, func(a, b *state.Instance) int { return cmp.Compare(a.Spec.ID, b.Spec.ID) })
	return all, err
}

func describeInstances(_ context.Context, r *request, in describeInstancesInput) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	byToken := in.MaxResults != nil || in.NextToken != ""
	number, size, err := in.bounds(100)
	if in.MaxResults != nil {
		size = min(max(*in.MaxResults, 10), 100)
	} else if err != nil {
		return nil, err
	}
	if byToken {
		number = 1
	}
	all, err := r.asked(in.IDs)
	if err != nil {
		return nil, err
	}
	withOptions := slices.Contains(in.Additional, "META_OPTIONS")
	var found []instanceView
	for _, i := range all {
		v := viewInstance(i, withOptions)
		if in.match(i, &v) {
			found = append(found, v)
		}
	}
	reply := describeInstancesReply{PageNumber: number, PageSize: size, TotalCount: len(found)}
	rest := found
	if !byToken {
		rest = from(found, number, size)
	}
	reply.Instances, reply.NextToken, err = after(rest, in.NextToken, size, func(v instanceView) string { return v.ID })
	return reply, err
}

type oneInstance struct {
	ID string `p:"InstanceId,required"`
}

// instanceAttributes is the flat form that DescribeInstanceAttribute has:
// neither tags nor metadata options are in it.
type instanceAttributes struct {
	ID             string   `p:"InstanceId"`
	Name           string   `p:"InstanceName"`
	HostName       string   `p:"HostName"`
	Description    string   `p:"Description"`
	Status         string   `p:"Status"`
	Region         string   `p:"RegionId"`
	Zone           string   `p:"ZoneId"`
	Cluster        string   `p:"ClusterId"`
	Type           string   `p:"InstanceType"`
	CPU            int      `p:"Cpu"`
	Memory         int      `p:"Memory"`
	Image          string   `p:"ImageId"`
	Serial         string   `p:"SerialNumber"`
	NetworkType    string   `p:"InstanceNetworkType"`
	ChargeType     string   `p:"InstanceChargeType"`
	InternetCharge string   `p:"InternetChargeType"`
	BandwidthIn    int      `p:"InternetMaxBandwidthIn"`
	BandwidthOut   int      `p:"InternetMaxBandwidthOut"`
	VLAN           string   `p:"VlanId"`
	Created        string   `p:"CreationTime"`
	Expires        string   `p:"ExpiredTime"`
	IOOptimized    string   `p:"IoOptimized"`
	StoppedMode    string   `p:"StoppedMode"`
	Credit         string   `p:"CreditSpecification"`
	Groups         []string `p:"SecurityGroupIds>SecurityGroupId"`
	Public         []string `p:"PublicIpAddress>IpAddress"`
	Inner          []string `p:"InnerIpAddress>IpAddress"`
	EIP            eipView  `p:"EipAddress"`
	VPC            vpcView  `p:"VpcAttributes"`
	Host           hostView `p:"DedicatedHostAttribute"`
	Locks          []string `p:"OperationLocks>LockReason"`
}

func describeInstanceAttribute(_ context.Context, r *request, in oneInstance) (any, error) {
	found, err := r.Control.Instance(r.caller, in.ID)
	if err != nil {
		return nil, err
	}
	v := viewInstance(found, false)
	return instanceAttributes{
		ID: v.ID, Name: v.Name, HostName: v.HostName, Description: v.Description, Status: v.Status, Region: v.Region, Zone: v.Zone,
		Type: v.Type, CPU: v.CPU, Memory: v.Memory, Image: v.Image, Serial: v.Serial, NetworkType: v.NetworkType,
		ChargeType: v.ChargeType, InternetCharge: v.InternetCharge, BandwidthIn: v.BandwidthIn, BandwidthOut: v.BandwidthOut, Credit: v.Credit, Created: v.Created, Expires: v.Expires,
		IOOptimized: "optimized", StoppedMode: v.StoppedMode, Groups: v.Groups, Public: v.Public, VPC: v.VPC,
	}, nil
}

func describeUserData(_ context.Context, r *request, in oneInstance) (any, error) {
	found, err := r.Control.Instance(r.caller, in.ID)
	if err != nil {
		return nil, err
	}
	return struct {
		Region string `p:"RegionId"`
		ID     string `p:"InstanceId"`
		Data   string `p:"UserData"`
	}{found.Spec.Region, found.Spec.ID, base64.StdEncoding.EncodeToString(found.UserData())}, nil
}

// describeRegions names the one region of this service, and ourselves as its
// endpoint: whoever follows it must not end up in the vendor's cloud.
func describeRegions(_ context.Context, r *request, _ struct{}) (any, error) {
	if err := r.Control.Permit(r.caller); err != nil {
		return nil, err
	}
	type region struct {
		ID       string `p:"RegionId"`
		Endpoint string `p:"RegionEndpoint"`
		Name     string `p:"LocalName"`
		Status   string `p:"Status"`
	}
	return struct {
		Regions []region `p:"Regions>Region"`
	}{[]region{{r.Region, r.host, r.Region, "available"}}}, nil
}

func describeZones(_ context.Context, r *request, _ struct{}) (any, error) {
	if err := r.Control.Permit(r.caller); err != nil {
		return nil, err
	}
	type zone struct {
		ID        string   `p:"ZoneId"`
		Name      string   `p:"LocalName"`
		Type      string   `p:"ZoneType"`
		Creatable []string `p:"AvailableResourceCreation>ResourceTypes"`
		Types     []string `p:"AvailableInstanceTypes>InstanceTypes"`
		Disks     []string `p:"AvailableDiskCategories>DiskCategories"`
	}
	var zones []zone
	if place := r.Control.Place("ecs"); place.Zone != "" {
		zones = []zone{{ID: place.Zone, Name: place.Zone, Type: "AvailabilityZone", Creatable: []string{"Instance", "VSwitch", "Disk"}}}
	}
	return struct {
		Zones []zone `p:"Zones>Zone"`
	}{zones}, nil
}
