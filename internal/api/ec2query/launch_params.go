package ec2query

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"openimds/internal/control"
	"openimds/internal/instance"
)

// nicIn is a network interface to launch with; what is anything has no effect.
type nicIn struct {
	ID        string   `q:"NetworkInterfaceId"`
	Device    *int     `q:"DeviceIndex"`
	Card      *int     `q:"NetworkCardIndex"`
	SubnetID  string   `q:"SubnetId"`
	GroupIDs  []string `q:"SecurityGroupId"`
	PrivateIP string   `q:"PrivateIpAddress"`
	nicAddressesIn
	Public      bool      `q:"AssociatePublicIpAddress"`
	Delete      *bool     `q:"DeleteOnTermination"`
	Description string    `q:"Description"`
	Type        anything  `q:"InterfaceType"`
	PrimaryIPv6 anything  `q:"PrimaryIpv6"`
	Carrier     anything  `q:"AssociateCarrierIpAddress"`
	Express     *anything `q:"EnaSrdSpecification"`
	Queues      anything  `q:"EnaQueueCount"`
	Tracking    *anything `q:"ConnectionTrackingSpecification"`
}

// nicAddressesIn are the addresses of a new interface but its primary one.
type nicAddressesIn struct {
	Addresses        []nicIPv4In       `q:"PrivateIpAddresses"`
	MoreIPv4         int               `q:"SecondaryPrivateIpAddressCount"`
	IPv6             []nicIPv6In       `q:"Ipv6Addresses"`
	MoreIPv6         int               `q:"Ipv6AddressCount"`
	IPv4Prefixes     []nicIPv4PrefixIn `q:"Ipv4Prefix"`
	MoreIPv4Prefixes int               `q:"Ipv4PrefixCount"`
	IPv6Prefixes     []nicIPv6PrefixIn `q:"Ipv6Prefix"`
	MoreIPv6Prefixes int               `q:"Ipv6PrefixCount"`
}

type nicIPv4In struct {
	Address string `q:"PrivateIpAddress"`
	Primary bool   `q:"Primary"`
}

type nicIPv6In struct {
	Address string   `q:"Ipv6Address"`
	Primary anything `q:"IsPrimaryIpv6"`
}

type nicIPv4PrefixIn struct {
	Prefix string `q:"Ipv4Prefix"`
}

type nicIPv6PrefixIn struct {
	Prefix string `q:"Ipv6Prefix"`
}

// mostAddresses bounds what one call may ask for.
const mostAddresses = 256

// address reads an address of one family.
func address(parameter, text string, ipv6 bool) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" || ipv6 != (a.Is6() && !a.Is4In6()) {
		return netip.Addr{}, badValue(parameter, text)
	}
	return a, nil
}

func addresses(parameter string, texts []string, ipv6 bool) ([]netip.Addr, error) {
	var all []netip.Addr
	for _, text := range texts {
		a, err := address(parameter, text, ipv6)
		if err != nil {
			return nil, err
		}
		if slices.Contains(all, a) {
			return nil, invalid("InvalidParameterValue", "The address "+a.String()+" is named twice.")
		}
		all = append(all, a)
	}
	return all, nil
}

func prefixes(parameter string, texts []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, badValue(parameter, text)
		}
		all = append(all, p)
	}
	return all, nil
}

// checkCounts refuses numbers that nobody can mean, and addresses that are both
// named and counted. Named are the secondary IPv4 addresses.
func checkCounts(n control.NewAddresses, named int) error {
	for _, c := range []struct {
		name         string
		count, named int
	}{
		{"secondaryPrivateIpAddressCount", n.MoreIPv4, named},
		{"ipv6AddressCount", n.MoreIPv6, len(n.IPv6)},
		{"ipv4PrefixCount", n.MoreIPv4Prefixes, len(n.IPv4Prefixes)},
		{"ipv6PrefixCount", n.MoreIPv6Prefixes, len(n.IPv6Prefixes)},
	} {
		switch {
		case c.count < 0 || c.count > mostAddresses:
			return badValue(c.name, strconv.Itoa(c.count))
		case c.count > 0 && c.named > 0:
			return invalid("InvalidParameterCombination", "The parameter "+c.name+" cannot be used together with what it counts.")
		}
	}
	return nil
}

// new returns the addresses of a new interface whose primary address, if it is
// named, is given.
func (p nicAddressesIn) new(primary string) (n control.NewAddresses, err error) {
	var others []string
	for _, a := range p.Addresses {
		switch {
		case !a.Primary && (primary != "" || len(p.Addresses) > 1):
			others = append(others, a.Address)
		case primary != "":
			return n, invalid("InvalidParameterCombination", "The primary private IP address is given twice.")
		default:
			primary = a.Address
		}
	}
	if n.IPv4, err = addresses("address", append([]string{primary}, others...), false); primary == "" {
		if n.IPv4, err = addresses("address", others, false); len(n.IPv4) > 0 {
			n.IPv4 = append([]netip.Addr{{}}, n.IPv4...)
		}
	}
	if err != nil {
		return n, err
	}
	var ipv6, blocks4, blocks6 []string
	for _, a := range p.IPv6 {
		ipv6 = append(ipv6, a.Address)
	}
	for _, b := range p.IPv4Prefixes {
		blocks4 = append(blocks4, b.Prefix)
	}
	for _, b := range p.IPv6Prefixes {
		blocks6 = append(blocks6, b.Prefix)
	}
	if n.IPv6, err = addresses("ipv6Address", ipv6, true); err != nil {
		return n, err
	}
	if n.IPv4Prefixes, err = prefixes("ipv4Prefix", blocks4); err != nil {
		return n, err
	}
	if n.IPv6Prefixes, err = prefixes("ipv6Prefix", blocks6); err != nil {
		return n, err
	}
	n.MoreIPv4, n.MoreIPv6, n.MoreIPv4Prefixes, n.MoreIPv6Prefixes = p.MoreIPv4, p.MoreIPv6, p.MoreIPv4Prefixes, p.MoreIPv6Prefixes
	return n, checkCounts(n, len(others))
}

func checkSubnet(id string) error {
	if id != "" && !strings.HasPrefix(id, "subnet-") {
		return malformed("InvalidSubnetID.Malformed", id, "subnet-")
	}
	return nil
}

func checkGroups(ids []string) error {
	for _, g := range ids {
		if !strings.HasPrefix(g, "sg-") {
			return malformed("InvalidGroupId.Malformed", g, "sg-")
		}
	}
	return nil
}

// network takes the interfaces from their own parameters, or the primary one
// from those of the instance.
func (p *runIn) network(l *control.Launch) error {
	if len(p.Interfaces) == 0 {
		n := control.NewInterface{Subnet: p.SubnetID, SecurityGroups: p.GroupIDs}
		if err := checkSubnet(p.SubnetID); err != nil {
			return err
		}
		if err := checkGroups(p.GroupIDs); err != nil {
			return err
		}
		var err error
		n.NewAddresses, err = nicAddressesIn{IPv6: p.IPv6, MoreIPv6: p.MoreIPv6}.new(p.PrivateIP)
		l.Interfaces = []control.NewInterface{n}
		return p.onceOnly(l, err)
	}
	switch {
	case p.SubnetID != "" || p.PrivateIP != "" || len(p.IPv6) > 0 || p.MoreIPv6 > 0:
		return invalid("InvalidParameterCombination", "Network interfaces and an instance-level subnet ID may not be specified on the same request")
	case len(p.GroupIDs) > 0:
		return invalid("InvalidParameterCombination", "Network interfaces and an instance-level security groups may not be specified on the same request")
	}
	for _, nic := range p.Interfaces {
		n, err := nic.interfaceOf()
		if err != nil {
			return err
		}
		l.Interfaces = append(l.Interfaces, n)
	}
	slices.SortStableFunc(l.Interfaces, func(a, b control.NewInterface) int { return a.Device - b.Device })
	if l.Interfaces[0].Device != 0 {
		return invalid("InvalidParameterCombination", "When specifying network interfaces, you must specify a device index of 0 for the primary one.")
	}
	return p.onceOnly(l, nil)
}

// onceOnly refuses what only one instance can have.
func (p *runIn) onceOnly(l *control.Launch, err error) error {
	for _, n := range l.Interfaces {
		if err == nil && l.Max > 1 && (n.Existing != "" || len(n.IPv4)+len(n.IPv6)+len(n.IPv4Prefixes)+len(n.IPv6Prefixes) > 0) {
			err = invalid("InvalidParameterCombination", "Network interfaces and addresses that are named cannot be given to more than one instance")
		}
	}
	return err
}

func (p nicIn) interfaceOf() (n control.NewInterface, err error) {
	if p.Device == nil {
		return n, invalid("InvalidParameterValue", "Each network interface requires a device index.")
	}
	if *p.Device < 0 || *p.Device > 255 || p.Card != nil && (*p.Card < 0 || *p.Card > 255) {
		return n, badValue("deviceIndex", strconv.Itoa(*p.Device))
	}
	n = control.NewInterface{
		Existing: p.ID, Device: *p.Device, Card: p.Card, Subnet: p.SubnetID, SecurityGroups: p.GroupIDs, Description: p.Description, Keep: p.ID != "",
	}
	if p.Delete != nil {
		n.Keep = !*p.Delete
	}
	if p.ID != "" {
		if p.SubnetID != "" || len(p.GroupIDs) > 0 || p.PrivateIP != "" || len(p.Addresses) > 0 {
			return n, invalid("InvalidParameterCombination", "A network interface may not specify a network interface ID and other attributes")
		}
		return n, checkInterfaceID(p.ID)
	}
	if err := checkSubnet(p.SubnetID); err != nil {
		return n, err
	}
	if err := checkGroups(p.GroupIDs); err != nil {
		return n, err
	}
	n.NewAddresses, err = p.new(p.PrivateIP)
	n.Public = p.Public
	return n, err
}

// attributes takes what is kept of a launch to be shown, and the spot market.
func (p *runIn) attributes(l *control.Launch) error {
	l.Attributes = map[string]string{}
	keep := func(name string, on *bool) {
		if on != nil {
			l.Attributes[name] = strconv.FormatBool(*on)
		}
	}
	keep("disableApiStop", p.KeepRunning)
	keep("ebsOptimized", p.EBSOptimized)
	keep("enclaveOptions", p.Enclave.Enabled)
	switch p.Shutdown {
	case "":
	case "stop", "terminate":
		l.Attributes["instanceInitiatedShutdownBehavior"] = p.Shutdown
	default:
		return badValue("instanceInitiatedShutdownBehavior", p.Shutdown)
	}
	l.Hibernation, l.Monitoring = p.Hibernation.Configured, p.Monitoring.Enabled
	l.Placement = instance.Placement{GroupName: p.Placement.GroupName, HostID: p.Placement.HostID, Partition: p.Placement.Partition}
	if p.Placement.Partition < 0 || p.Placement.Partition > 7 {
		return badValue("partitionNumber", strconv.Itoa(p.Placement.Partition))
	}
	spot := p.Market.Spot
	switch p.Market.Type {
	case "":
		return nil
	case "spot":
	default:
		return badValue("MarketType", p.Market.Type)
	}
	for name, value := range map[string]string{"SpotInstanceType": spot.Type, "InstanceInterruptionBehavior": spot.Behavior} {
		if value != "" && !slices.Contains(spotWords[name], value) {
			return badValue(name, value)
		}
	}
	if spot.Type != "persistent" && (spot.Behavior == "stop" || spot.Behavior == "hibernate") {
		return invalid("InvalidParameterCombination", "The interruption behavior '"+spot.Behavior+"' needs a persistent Spot Instance request.")
	}
	l.Spot = true
	if l.Attributes["spotInstanceType"] = "one-time"; spot.Type != "" {
		l.Attributes["spotInstanceType"] = spot.Type
	}
	return nil
}

var spotWords = map[string][]string{
	"SpotInstanceType": {"one-time", "persistent"}, "InstanceInterruptionBehavior": {"hibernate", "stop", "terminate"},
}

// disks takes the disks that a launch names.
func disks(wanted []diskIn) (more []instance.Disk, err error) {
	for _, d := range wanted {
		switch {
		case d.None != nil:
		case strings.HasPrefix(d.Virtual, "ephemeral"):
			more = append(more, instance.Disk{Device: d.Device, Kind: instance.DiskEphemeral})
		case d.Virtual != "":
			return nil, badValue("virtualName", d.Virtual)
		default:
			more = append(more, instance.Disk{Device: d.Device, Kind: instance.DiskData})
		}
	}
	return more, nil
}

// kinds tells which of a launch's resources a parameter describes; any other
// describes the instance.
var kinds = map[string][]string{
	"ImageId": {"image"}, "KeyName": {"key-pair"}, "BlockDeviceMapping": {"volume"},
	"SubnetId": {"subnet", "network-interface"}, "SecurityGroupId": {"security-group"}, "SecurityGroup": {"security-group"},
	"NetworkInterface": {"network-interface", "subnet", "security-group"}, "PrivateIpAddress": {"network-interface"},
	"Ipv6Address": {"network-interface"}, "Ipv6AddressCount": {"network-interface"},
	"LaunchTemplate": {}, "MinCount": {}, "MaxCount": {}, "ClientToken": {},
}

// overridden tells the kinds of resources of which the request itself says
// something, over its launch template (POL-KEY-12).
func (c *call) overridden() map[string]bool {
	over := map[string]bool{}
	for name := range c.values {
		top, _, _ := strings.Cut(name, ".")
		described, ok := kinds[top]
		if !ok {
			described = []string{"instance"}
		}
		for _, kind := range described {
			over[kind] = true
		}
	}
	return over
}
