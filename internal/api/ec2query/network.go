package ec2query

import (
	"regexp"
	"strconv"
	"strings"

	"openimds/internal/control"
	"openimds/internal/instance"
)

var interfaceIDs = regexp.MustCompile(`^eni-([0-9a-f]{8}|[0-9a-f]{17})$`)

func checkInterfaceID(id string) error {
	if !interfaceIDs.MatchString(id) {
		return malformed("InvalidNetworkInterfaceId.Malformed", id, "eni-")
	}
	return nil
}

type assignIPv4In struct {
	ID       string   `q:"NetworkInterfaceId,required"`
	IPv4     []string `q:"PrivateIpAddress"`
	More     int      `q:"SecondaryPrivateIpAddressCount"`
	Reassign bool     `q:"AllowReassignment"`
	Prefixes []string `q:"Ipv4Prefix"`
	Blocks   int      `q:"Ipv4PrefixCount"`
}

type assignIPv4Out struct {
	head
	ID       string    `xml:"networkInterfaceId"`
	IPv4     []ipv4Set `xml:"assignedPrivateIpAddressesSet>item"`
	Prefixes []ipv4Net `xml:"assignedIpv4PrefixSet>item"`
}

type ipv4Set struct {
	Address string `xml:"privateIpAddress"`
}

type ipv4Net struct {
	Prefix string `xml:"ipv4Prefix"`
}

type ipv6Net struct {
	Prefix string `xml:"ipv6Prefix"`
}

func assignPrivateIPs(c *call, p *assignIPv4In) (response, error) {
	n := control.NewAddresses{MoreIPv4: p.More, MoreIPv4Prefixes: p.Blocks, Reassign: p.Reassign}
	var err error
	if n.IPv4, err = addresses("privateIpAddress", p.IPv4, false); err != nil {
		return nil, err
	}
	if n.IPv4Prefixes, err = prefixes("ipv4Prefix", p.Prefixes); err != nil {
		return nil, err
	}
	got, err := c.assign(p.ID, n)
	if err != nil {
		return nil, err
	}
	out := &assignIPv4Out{ID: p.ID}
	for _, a := range got.IPv4 {
		out.IPv4 = append(out.IPv4, ipv4Set{a.String()})
	}
	for _, b := range got.IPv4Prefixes {
		out.Prefixes = append(out.Prefixes, ipv4Net{b.String()})
	}
	return out, nil
}

// assign gives an interface more addresses; at least one must be asked for.
func (c *call) assign(id string, n control.NewAddresses) (control.Assigned, error) {
	if err := checkInterfaceID(id); err != nil {
		return control.Assigned{}, err
	}
	if err := checkCounts(n, len(n.IPv4)); err != nil {
		return control.Assigned{}, err
	}
	if len(n.IPv4)+len(n.IPv6)+len(n.IPv4Prefixes)+len(n.IPv6Prefixes)+n.MoreIPv4+n.MoreIPv6+n.MoreIPv4Prefixes+n.MoreIPv6Prefixes == 0 {
		return control.Assigned{}, invalid("InvalidParameterCombination", "The request must name or count the addresses or prefixes to assign.")
	}
	return c.cfg.Control.AssignAddresses(c.ctx, c.caller, id, n)
}

type unassignIPv4In struct {
	ID       string   `q:"NetworkInterfaceId,required"`
	IPv4     []string `q:"PrivateIpAddress"`
	Prefixes []string `q:"Ipv4Prefix"`
}

func unassignPrivateIPs(c *call, p *unassignIPv4In) (response, error) {
	ipv4, err := addresses("privateIpAddress", p.IPv4, false)
	if err != nil {
		return nil, err
	}
	blocks, err := prefixes("ipv4Prefix", p.Prefixes)
	if err != nil {
		return nil, err
	}
	return &done{Return: true}, c.unassign(p.ID, control.Assigned{IPv4: ipv4, IPv4Prefixes: blocks})
}

func (c *call) unassign(id string, gone control.Assigned) error {
	if err := checkInterfaceID(id); err != nil {
		return err
	}
	if len(gone.IPv4)+len(gone.IPv6)+len(gone.IPv4Prefixes)+len(gone.IPv6Prefixes) == 0 {
		return invalid("InvalidParameterCombination", "The request must name the addresses or prefixes to unassign.")
	}
	return c.cfg.Control.UnassignAddresses(c.ctx, c.caller, id, gone)
}

type assignIPv6In struct {
	ID       string   `q:"NetworkInterfaceId,required"`
	IPv6     []string `q:"Ipv6Addresses"`
	More     int      `q:"Ipv6AddressCount"`
	Prefixes []string `q:"Ipv6Prefix"`
	Blocks   int      `q:"Ipv6PrefixCount"`
}

type assignIPv6Out struct {
	head
	ID       string   `xml:"networkInterfaceId"`
	IPv6     []string `xml:"assignedIpv6Addresses>item"`
	Prefixes []string `xml:"assignedIpv6PrefixSet>item"`
}

func assignIPv6s(c *call, p *assignIPv6In) (response, error) {
	n := control.NewAddresses{MoreIPv6: p.More, MoreIPv6Prefixes: p.Blocks}
	var err error
	if n.IPv6, err = addresses("ipv6Addresses", p.IPv6, true); err != nil {
		return nil, err
	}
	if n.IPv6Prefixes, err = prefixes("ipv6Prefix", p.Prefixes); err != nil {
		return nil, err
	}
	got, err := c.assign(p.ID, n)
	if err != nil {
		return nil, err
	}
	return &assignIPv6Out{ID: p.ID, IPv6: texts(got.IPv6), Prefixes: texts(got.IPv6Prefixes)}, nil
}

// texts writes addresses or prefixes.
func texts[T interface{ String() string }](of []T) []string {
	var all []string
	for _, one := range of {
		all = append(all, one.String())
	}
	return all
}

type unassignIPv6In struct {
	ID       string   `q:"NetworkInterfaceId,required"`
	IPv6     []string `q:"Ipv6Addresses"`
	Prefixes []string `q:"Ipv6Prefix"`
}

type unassignIPv6Out struct {
	head
	ID       string   `xml:"networkInterfaceId"`
	IPv6     []string `xml:"unassignedIpv6Addresses>item"`
	Prefixes []string `xml:"unassignedIpv6PrefixSet>item"`
}

func unassignIPv6s(c *call, p *unassignIPv6In) (response, error) {
	ipv6, err := addresses("ipv6Addresses", p.IPv6, true)
	if err != nil {
		return nil, err
	}
	blocks, err := prefixes("ipv6Prefix", p.Prefixes)
	if err != nil {
		return nil, err
	}
	if err := c.unassign(p.ID, control.Assigned{IPv6: ipv6, IPv6Prefixes: blocks}); err != nil {
		return nil, err
	}
	return &unassignIPv6Out{ID: p.ID, IPv6: texts(ipv6), Prefixes: texts(blocks)}, nil
}

type createInterfaceIn struct {
	SubnetID    string   `q:"SubnetId,required"`
	Description string   `q:"Description"`
	GroupIDs    []string `q:"SecurityGroupId"`
	PrivateIP   string   `q:"PrivateIpAddress"`
	nicAddressesIn
	Tags        []tagSpec `q:"TagSpecification"`
	ClientToken string    `q:"ClientToken"`
}

type createInterfaceOut struct {
	head
	Interface   nicXML `xml:"networkInterface"`
	ClientToken string `xml:"clientToken,omitempty"`
}

func createInterface(c *call, p *createInterfaceIn) (response, error) {
	n := control.NewInterface{
		Subnet: p.SubnetID, SecurityGroups: p.GroupIDs, Description: p.Description, ClientToken: p.ClientToken, Sum: c.sum(),
	}
	if err := checkSubnet(p.SubnetID); err != nil {
		return nil, err
	}
	if err := checkGroups(p.GroupIDs); err != nil {
		return nil, err
	}
	var err error
	if n.NewAddresses, err = p.new(p.PrivateIP); err != nil {
		return nil, err
	}
	if n.Tags, err = tagsFor(p.Tags, "network-interface", "network-interface"); err != nil {
		return nil, err
	}
	made, err := c.cfg.Control.CreateInterface(c.ctx, c.caller, n)
	if err != nil {
		return nil, err
	}
	v := c.nicView(control.NetworkInterface{Spec: made.Spec, Zone: made.Zone, Description: made.Description, Tags: made.Tags})
	v.Status = "pending"
	return &createInterfaceOut{Interface: v, ClientToken: p.ClientToken}, nil
}

type interfaceIDIn struct {
	ID string `q:"NetworkInterfaceId,required"`
}

func deleteInterface(c *call, p *interfaceIDIn) (response, error) {
	if err := checkInterfaceID(p.ID); err != nil {
		return nil, err
	}
	return &done{Return: true}, c.cfg.Control.DeleteInterface(c.ctx, c.caller, p.ID)
}

type attachIn struct {
	ID         string `q:"NetworkInterfaceId,required"`
	InstanceID string `q:"InstanceId,required"`
	Device     *int   `q:"DeviceIndex,required"`
	Card       *int   `q:"NetworkCardIndex"`
}

type attachOut struct {
	head
	ID   string `xml:"attachmentId"`
	Card int    `xml:"networkCardIndex"`
}

func attachInterface(c *call, p *attachIn) (response, error) {
	if err := checkInterfaceID(p.ID); err != nil {
		return nil, err
	}
	if err := checkInstanceIDs(p.InstanceID); err != nil {
		return nil, err
	}
	if _, err := (nicIn{Device: p.Device, Card: p.Card}).interfaceOf(); err != nil {
		return nil, err
	}
	if err := c.cfg.Control.AttachInterface(c.ctx, c.caller, p.ID, p.InstanceID, *p.Device, p.Card); err != nil {
		return nil, err
	}
	out := &attachOut{ID: control.AttachmentID(p.ID)}
	if p.Card != nil {
		out.Card = *p.Card
	}
	return out, nil
}

type detachIn struct {
	AttachmentID string   `q:"AttachmentId,required"`
	Force        anything `q:"Force"`
}

func detachInterface(c *call, p *detachIn) (response, error) {
	if !strings.HasPrefix(p.AttachmentID, "eni-attach-") {
		return nil, malformed("InvalidAttachmentId.Malformed", p.AttachmentID, "eni-attach-")
	}
	return &done{Return: true}, c.cfg.Control.DetachInterface(c.ctx, c.caller, p.AttachmentID)
}

type modifyInterfaceIn struct {
	ID          string     `q:"NetworkInterfaceId,required"`
	Description *textValue `q:"Description"`
	GroupIDs    []string   `q:"SecurityGroupId"`
	Attachment  *struct {
		ID     string `q:"AttachmentId"`
		Delete *bool  `q:"DeleteOnTermination"`
	} `q:"Attachment"`
	SourceDest *boolValue `q:"SourceDestCheck"` // nothing here depends on it
}

func modifyInterface(c *call, p *modifyInterfaceIn) (response, error) {
	if err := checkInterfaceID(p.ID); err != nil {
		return nil, err
	}
	if err := checkGroups(p.GroupIDs); err != nil {
		return nil, err
	}
	change, given := control.InterfaceChange{SecurityGroups: p.GroupIDs}, 0
	if len(p.GroupIDs) > 0 {
		given++
	}
	if p.Description != nil {
		given, change.Description = given+1, p.Description.Value
	}
	if p.SourceDest != nil {
		given++
	}
	if p.Attachment != nil {
		given++
		switch {
		case p.Attachment.Delete == nil:
			return nil, missing("Attachment.DeleteOnTermination")
		case p.Attachment.ID != control.AttachmentID(p.ID):
			return nil, &control.Error{Reason: control.AttachmentNotFound, Subject: p.Attachment.ID}
		}
		keep := !*p.Attachment.Delete
		change.Keep = &keep
	}
	if given != 1 {
		return nil, invalid("InvalidParameterCombination", "Exactly one attribute must be specified.")
	}
	return &done{Return: true}, c.cfg.Control.ModifyInterface(c.ctx, c.caller, p.ID, change)
}

type describeInterfacesIn struct {
	IDs     []string `q:"NetworkInterfaceId"`
	Managed anything `q:"IncludeManagedResources"`
	listing
}

type describeInterfacesOut struct {
	head
	Interfaces []nicXML `xml:"networkInterfaceSet>item"`
	NextToken  string   `xml:"nextToken,omitempty"`
}

func describeInterfaces(c *call, p *describeInterfacesIn) (response, error) {
	if len(p.IDs) > 0 && p.MaxResults != nil {
		return nil, invalid("InvalidParameterCombination", "The parameter NetworkInterfaceIds cannot be used with the parameter maxResults")
	}
	for _, id := range p.IDs {
		if err := checkInterfaceID(id); err != nil {
			return nil, err
		}
	}
	all, err := c.cfg.Control.NetworkInterfaces(c.caller)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	var found []nicXML
	for _, f := range all {
		known[f.Spec.ID] = true
		if wanted(p.IDs, f.Spec.ID) {
			found = append(found, c.nicView(f))
		}
	}
	for _, id := range p.IDs {
		if !known[id] {
			return nil, &control.Error{Reason: control.InterfaceNotFound, Subject: id}
		}
	}
	if found, err = choose(found, p.Filters, nicFilters, nicTags); err != nil {
		return nil, err
	}
	out := &describeInterfacesOut{}
	out.Interfaces, out.NextToken, err = page(found, p.listing, 5, func(v nicXML) string { return v.ID })
	return out, err
}

// nicXML is a network interface by itself; the order of its elements is the
// vendor's.
type nicXML struct {
	ID              string            `xml:"networkInterfaceId"`
	SubnetID        string            `xml:"subnetId"`
	VPCID           string            `xml:"vpcId"`
	Zone            string            `xml:"availabilityZone"`
	Description     string            `xml:"description"`
	Owner           string            `xml:"ownerId"`
	RequesterManged bool              `xml:"requesterManaged"`
	Status          string            `xml:"status"`
	MAC             string            `xml:"macAddress"`
	PrivateIP       string            `xml:"privateIpAddress,omitempty"`
	PrivateDNSName  string            `xml:"privateDnsName,omitempty"`
	SourceDestCheck bool              `xml:"sourceDestCheck"`
	Groups          []groupXML        `xml:"groupSet>item"`
	Attachment      *nicAttachmentXML `xml:"attachment"`
	Association     *associationXML   `xml:"association"`
	Tags            []tagXML          `xml:"tagSet>item"`
	Addresses       []addressXML      `xml:"privateIpAddressesSet>item"`
	IPv4Prefixes    []ipv4Net         `xml:"ipv4PrefixSet>item"`
	IPv6            []ipv6XML         `xml:"ipv6AddressesSet>item"`
	IPv6Prefixes    []ipv6Net         `xml:"ipv6PrefixSet>item"`
	Type            string            `xml:"interfaceType"`
}

type nicAttachmentXML struct {
	ID         string `xml:"attachmentId"`
	InstanceID string `xml:"instanceId"`
	Owner      string `xml:"instanceOwnerId"`
	Device     int    `xml:"deviceIndex"`
	Card       int    `xml:"networkCardIndex"`
	Status     string `xml:"status"`
	Delete     bool   `xml:"deleteOnTermination"`
}

// nicView shows a network interface.
func (c *call) nicView(f control.NetworkInterface) nicXML {
	holder := &instance.Instance{Region: c.caller.Region, Account: c.caller.Account}
	if f.Instance != nil {
		holder = &f.Instance.Spec
	}
	x := interfaceView(holder, &f.Spec)
	v := nicXML{
		ID: x.ID, SubnetID: x.SubnetID, VPCID: x.VPCID, Zone: f.Zone, Description: f.Description, Owner: x.Owner, Status: "available", MAC: x.MAC,
		PrivateIP: x.PrivateIP, PrivateDNSName: x.PrivateDNSName, SourceDestCheck: true, Groups: x.Groups, Association: x.Association,
		Tags: tagsView(f.Tags), Addresses: x.Addresses, IPv4Prefixes: x.IPv4Prefixes, IPv6: x.IPv6, IPv6Prefixes: x.IPv6Prefixes, Type: x.Type,
	}
	if f.Instance != nil {
		v.Status = "in-use"
		v.Attachment = &nicAttachmentXML{x.Attachment.ID, f.Instance.Spec.ID, f.Instance.Spec.Account, x.Attachment.Device, x.Attachment.Card, "attached", !f.Keep}
	}
	return v
}

func nicTags(v nicXML) map[string]string {
	tags := map[string]string{}
	for _, t := range v.Tags {
		tags[t.Key] = t.Value
	}
	return tags
}

var nicFilters = attributes[nicXML]{
	"network-interface-id":     func(v nicXML) []string { return []string{v.ID} },
	"subnet-id":                func(v nicXML) []string { return one(v.SubnetID) },
	"vpc-id":                   func(v nicXML) []string { return one(v.VPCID) },
	"availability-zone":        func(v nicXML) []string { return one(v.Zone) },
	"description":              func(v nicXML) []string { return one(v.Description) },
	"owner-id":                 func(v nicXML) []string { return one(v.Owner) },
	"status":                   func(v nicXML) []string { return one(v.Status) },
	"mac-address":              func(v nicXML) []string { return one(v.MAC) },
	"private-ip-address":       func(v nicXML) []string { return one(v.PrivateIP) },
	"private-dns-name":         func(v nicXML) []string { return one(v.PrivateDNSName) },
	"interface-type":           func(v nicXML) []string { return one(v.Type) },
	"group-id":                 func(v nicXML) []string { return groupIDs(v.Groups) },
	"attachment.instance-id":   ofAttachment(func(a *nicAttachmentXML) string { return a.InstanceID }),
	"attachment.attachment-id": ofAttachment(func(a *nicAttachmentXML) string { return a.ID }),
	"attachment.status":        ofAttachment(func(a *nicAttachmentXML) string { return a.Status }),
	"attachment.device-index":  ofAttachment(func(a *nicAttachmentXML) string { return strconv.Itoa(a.Device) }),
	"addresses.private-ip-address": func(v nicXML) []string {
		var all []string
		for _, a := range v.Addresses {
			all = append(all, a.Address)
		}
		return all
	},
	"ipv6-addresses.ipv6-address": func(v nicXML) []string {
		var all []string
		for _, a := range v.IPv6 {
			all = append(all, a.Address)
		}
		return all
	},
}

func ofAttachment(member func(*nicAttachmentXML) string) func(nicXML) []string {
	return func(v nicXML) []string {
		if v.Attachment == nil {
			return nil
		}
		return one(member(v.Attachment))
	}
}

func groupIDs(groups []groupXML) []string {
	var all []string
	for _, g := range groups {
		all = append(all, g.ID)
	}
	return all
}
