package ecsrpc

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"

	"openimds/internal/control"
	"openimds/internal/instance"
)

// shownInput are parameters that are kept to be shown again. What has an effect
// of its own stands in launchInput.
type shownInput struct {
	SpotStrategy     string   `p:"SpotStrategy"`
	SpotPrice        *float64 `p:"SpotPriceLimit"`
	SpotDuration     *int     `p:"SpotDuration"`
	SpotInterruption string   `p:"SpotInterruptionBehavior"`
	ChargeType       string   `p:"InstanceChargeType"`
	InternetCharge   string   `p:"InternetChargeType"`
	BandwidthOut     *int     `p:"InternetMaxBandwidthOut"`
	BandwidthIn      *int     `p:"InternetMaxBandwidthIn"`
	AutoRelease      string   `p:"AutoReleaseTime"`
	ResourceGroup    string   `p:"ResourceGroupId"`
	DeploymentSet    string   `p:"DeploymentSetId"`
	Credit           string   `p:"CreditSpecification"`
	Cores            *int     `p:"CpuOptions.Core"`
	Threads          *int     `p:"CpuOptions.ThreadsPerCore"`
}

// unsupportedInput are parameters that would decide what is launched, and that
// are not known here (ECS-API-17).
type unsupportedInput struct {
	TemplateID   string `p:"LaunchTemplateId"`
	TemplateName string `p:"LaunchTemplateName"`
	Family       string `p:"ImageFamily"`
}

func (in unsupportedInput) unsupported() string {
	switch {
	case in.TemplateID != "":
		return "LaunchTemplateId"
	case in.TemplateName != "":
		return "LaunchTemplateName"
	case in.Family != "":
		return "ImageFamily"
	}
	return ""
}

// shown checks what is kept to be shown, and returns it by parameter.
func (in shownInput) shown() (map[string]string, error) {
	kept := map[string]string{}
	words := func(status int, code, name, given string, known ...string) error {
		if given == "" {
			return nil
		}
		if len(known) > 0 && !slices.Contains(known, given) {
			return refuse(status, code, "The specified "+name+" is not valid.")
		}
		kept[name] = given
		return nil
	}
	number := func(name string, given *int, least, most int) error {
		if given == nil {
			return nil
		}
		if *given < least || *given > most {
			return invalid(name)
		}
		kept[name] = strconv.Itoa(*given)
		return nil
	}
	if in.AutoRelease != "" {
		if _, ok := parseTime(in.AutoRelease); !ok {
			return nil, refuse(http.StatusBadRequest, "InvalidAutoReleaseTime.Malformed", "The specified AutoReleaseTime is wrongly formed.")
		}
	}
	if in.SpotPrice != nil {
		if *in.SpotPrice < 0 || *in.SpotPrice > 1e6 {
			return nil, refuse(http.StatusBadRequest, "InvalidSpotPriceLimit", "The specified SpotPriceLimit is not valid.")
		}
		kept["SpotPriceLimit"] = strconv.FormatFloat(*in.SpotPrice, 'f', -1, 64)
	}
	for _, err := range []error{
		words(400, "InvalidSpotStrategy", "SpotStrategy", in.SpotStrategy, "NoSpot", "SpotWithPriceLimit", "SpotAsPriceGo"),
		words(400, "InvalidParameter", "SpotInterruptionBehavior", in.SpotInterruption, "Terminate", "Stop", "Hibernate"),
		words(404, "InvalidInstanceChargeType.NotFound", "InstanceChargeType", in.ChargeType, "PostPaid", "PrePaid"),
		words(400, "InvalidInternetChargeType.ValueNotSupported", "InternetChargeType", in.InternetCharge, "PayByTraffic", "PayByBandwidth"),
		words(400, "InvalidParameter", "CreditSpecification", in.Credit, "Standard", "Unlimited"),
		words(0, "", "AutoReleaseTime", in.AutoRelease),
		words(0, "", "ResourceGroupId", in.ResourceGroup),
		words(0, "", "DeploymentSetId", in.DeploymentSet),
		number("SpotDuration", in.SpotDuration, 0, 6),
		number("InternetMaxBandwidthOut", in.BandwidthOut, 0, 100),
		number("InternetMaxBandwidthIn", in.BandwidthIn, 0, 10_000),
		number("CpuOptions.Core", in.Cores, 1, 1024),
		number("CpuOptions.ThreadsPerCore", in.Threads, 1, 2),
	} {
		if err != nil {
			return nil, err
		}
	}
	return kept, nil
}

// diskInput is a data disk; its size and category change nothing here.
type diskInput struct {
	Name string `p:"DiskName"`
	Size *int   `p:"Size"`
}

const maxDisks = 16

func disks(wanted []diskInput) ([]instance.Disk, error) {
	if len(wanted) > maxDisks {
		return nil, invalid("DataDisk")
	}
	var all []instance.Disk
	for _, d := range wanted {
		if d.Size != nil && (*d.Size < 1 || *d.Size > 65_536) {
			return nil, refuse(http.StatusBadRequest, "InvalidDataDiskSize.ValueNotSupported", "The specified DataDisk.n.Size is beyond the permitted range.")
		}
		all = append(all, instance.Disk{Name: d.Name, Kind: instance.DiskData})
	}
	return all, nil
}

// nicAddresses are addresses of IPv6 that an interface is to have.
type nicAddresses struct {
	IPv6     []string `p:"Ipv6Address"`
	MoreIPv6 *int     `p:"Ipv6AddressCount"`
}

// nicInput is a network interface to launch with.
type nicInput struct {
	Type    string   `p:"InstanceType"` // Primary or Secondary
	ID      string   `p:"NetworkInterfaceId"`
	VSwitch string   `p:"VSwitchId"`
	Group   string   `p:"SecurityGroupId"`
	Groups  []string `p:"SecurityGroupIds"`
	Address string   `p:"PrimaryIpAddress"`
	Details string   `p:"Description"`
	nicAddresses
}

const maxInterfaces = 2

// network are the interfaces to launch with: the primary one, and those that
// are named beside it.
func (in *launchInput) network(r *request) ([]control.NewInterface, error) {
	groups := in.Groups
	if in.Group != "" {
		groups = append([]string{in.Group}, groups...)
	}
	if in.Zone != "" {
		if place := r.Control.Place("ecs"); place.Zone != "" && in.Zone != place.Zone {
			return nil, refuse(http.StatusNotFound, "InvalidZoneId.NotFound", "The specified ZoneId does not exist.")
		}
	}
	primary := nicInput{Type: "Primary", VSwitch: in.VSwitch, Groups: groups, Address: in.Address, nicAddresses: in.nicAddresses}
	var others []nicInput
	if len(in.Interfaces) > maxInterfaces {
		return nil, invalid("NetworkInterface")
	}
	for _, n := range in.Interfaces {
		switch n.Type {
		case "Primary":
			if in.VSwitch != "" || in.Address != "" || len(groups) > 0 {
				return nil, invalid("NetworkInterface.InstanceType") // the primary one is described already
			}
			primary = n
		case "", "Secondary":
			others = append(others, n)
		default:
			return nil, invalid("NetworkInterface.InstanceType")
		}
	}
	var all []control.NewInterface
	for i, n := range append([]nicInput{primary}, others...) {
		if n.ID != "" {
			return nil, refuse(http.StatusBadRequest, "UnsupportedParameter", "The parameter \"NetworkInterface.NetworkInterfaceId\" is not supported.")
		}
		one, err := n.place(r)
		if err != nil {
			return nil, err
		}
		one.Device = i
		one.Public = i == 0 && in.BandwidthOut != nil && *in.BandwidthOut > 0
		all = append(all, one)
	}
	return all, nil
}

// place checks that what the request says of its network is what there is.
func (in nicInput) place(r *request) (n control.NewInterface, err error) {
	place := r.Control.Place("ecs")
	if in.VSwitch != "" && place.Subnet.ID != "" && in.VSwitch != place.Subnet.ID {
		return n, refuse(http.StatusNotFound, "InvalidVSwitchId.NotFound", "The specified VSwitchId does not exist.")
	}
	n = control.NewInterface{Subnet: in.VSwitch, SecurityGroups: in.Groups, Description: in.Details}
	if in.Group != "" {
		n.SecurityGroups = append([]string{in.Group}, in.Groups...)
	}
	for _, id := range n.SecurityGroups {
		known := slices.ContainsFunc(place.SecurityGroups, func(g instance.SecurityGroup) bool { return g.ID == id })
		if len(place.SecurityGroups) > 0 && !known {
			return n, refuse(http.StatusNotFound, "InvalidSecurityGroupId.NotFound", "The specified SecurityGroupId does not exist.")
		}
	}
	if in.MoreIPv6 != nil {
		if n.MoreIPv6 = *in.MoreIPv6; n.MoreIPv6 < 1 || n.MoreIPv6 > 10 || len(in.IPv6) > 0 {
			return n, invalid("Ipv6AddressCount")
		}
	}
	for _, text := range in.IPv6 {
		a, err := netip.ParseAddr(text)
		if err != nil || !a.Is6() || a.Is4In6() || a.Zone() != "" {
			return n, refuse(http.StatusBadRequest, "InvalidIpv6Address.Malformed", "The specified Ipv6Address is malformed.")
		}
		n.IPv6 = append(n.IPv6, a)
	}
	if in.Address == "" {
		return n, nil
	}
	a, err := netip.ParseAddr(in.Address)
	switch {
	case err != nil || !a.Is4():
		return n, refuse(http.StatusBadRequest, "InvalidPrivateIpAddress.Malformed", "The specified private IP address is malformed.")
	case place.Subnet.IPv4.IsValid() && !place.Subnet.IPv4.Contains(a):
		return n, refuse(http.StatusBadRequest, "InvalidPrivateIpAddress", "The specified private IP address is not in the CIDR block of the VSwitch.")
	}
	n.IPv4 = []netip.Addr{a}
	return n, nil
}

// named reports whether an interface is to have an address that is named.
func named(n control.NewInterface) bool { return len(n.IPv4)+len(n.IPv6) > 0 }
