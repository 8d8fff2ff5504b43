package ec2query

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"openimds/internal/state"
)

type describeInstancesIn struct {
	InstanceIDs []string `q:"InstanceId"`
	listing
}

type describeInstancesOut struct {
	head
	Reservations []reservationXML `xml:"reservationSet>item"`
	NextToken    string           `xml:"nextToken,omitempty"`
}

type reservationXML struct {
	ID        string        `xml:"reservationId"`
	Owner     string        `xml:"ownerId"`
	Groups    []groupXML    `xml:"groupSet>item"`
	Instances []instanceXML `xml:"instancesSet>item"`
}

var instanceIDs = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)

// checkInstanceIDs refuses what cannot be an instance's id.
func checkInstanceIDs(ids ...string) error {
	if len(ids) == 0 {
		return missing("InstanceId")
	}
	for _, id := range ids {
		if !instanceIDs.MatchString(id) {
			return invalid("InvalidInstanceID.Malformed", `Invalid id: "`+clip(id)+`"`)
		}
	}
	return nil
}

// instances returns the instances with the given ids, or all.
func (c *call) instances(ids []string) ([]*state.Instance, error) {
	if len(ids) == 0 {
		return c.cfg.Control.Instances(c.caller)
	}
	if err := checkInstanceIDs(ids...); err != nil {
		return nil, err
	}
	found, err := c.cfg.Control.InstancesNamed(c.caller, ids)
	if err != nil {
		return nil, err
	}
	var lacking []string
	for _, id := range ids {
		if !slices.ContainsFunc(found, func(in *state.Instance) bool { return in.Spec.ID == id }) {
			lacking = append(lacking, id)
		}
	}
	switch len(lacking) {
	case 0:
		return found, nil
	case 1:
		return nil, invalid("InvalidInstanceID.NotFound", "The instance ID '"+lacking[0]+"' does not exist")
	}
	return nil, invalid("InvalidInstanceID.NotFound", "The instance IDs '"+strings.Join(lacking, ", ")+"' do not exist")
}

// pageOfInstances is what both lists of instances have in common.
func (c *call) pageOfInstances(p *describeInstancesIn) ([]*state.Instance, string, error) {
	if len(p.InstanceIDs) > 0 && p.MaxResults != nil {
		return nil, "", invalid("InvalidParameterCombination", "The parameter instancesSet cannot be used with the parameter maxResults")
	}
	found, err := c.instances(p.InstanceIDs)
	if err != nil {
		return nil, "", err
	}
	if found, err = choose(found, p.Filters, instanceFilters, func(in *state.Instance) map[string]string { return in.Spec.Tags }); err != nil {
		return nil, "", err
	}
	return page(found, p.listing, 5, instanceOrder)
}

func describeInstances(c *call, p *describeInstancesIn) (response, error) {
	shown, next, err := c.pageOfInstances(p)
	if err != nil {
		return nil, err
	}
	out := &describeInstancesOut{NextToken: next}
	for _, in := range shown {
		id := reservationOf(in)
		if last := len(out.Reservations) - 1; last < 0 || out.Reservations[last].ID != id {
			out.Reservations = append(out.Reservations, reservationXML{ID: id, Owner: in.Spec.Account})
		}
		r := &out.Reservations[len(out.Reservations)-1]
		r.Instances = append(r.Instances, instanceView(in))
	}
	return out, nil
}

// reservationOf is the reservation of an instance; one that was not launched
// here is alone in its own.
func reservationOf(in *state.Instance) string {
	return cmp.Or(in.Spec.ReservationID, "r-"+strings.TrimPrefix(in.Spec.ID, "i-"))
}

// instanceOrder keeps reservations together.
func instanceOrder(in *state.Instance) string {
	index := strconv.Itoa(in.Spec.LaunchIndex)
	return reservationOf(in) + "/" + strings.Repeat("0", max(0, 6-len(index))) + index + "/" + in.Spec.ID
}

// of makes an attribute of a function with one value.
func of(value func(*state.Instance) string) func(*state.Instance) []string {
	return func(in *state.Instance) []string { return one(value(in)) }
}

// ofOptions makes an attribute of a metadata option.
func ofOptions(value func(metadataOptions) string) func(*state.Instance) []string {
	return of(func(in *state.Instance) string { return value(optionsView(in, false)) })
}

// ofView makes an attribute of what the reply shows.
func ofView(values func(*instanceXML) []string) func(*state.Instance) []string {
	return func(in *state.Instance) []string {
		v := instanceView(in)
		return values(&v)
	}
}

// instanceFilters are the filters of DescribeInstances. The API always answers
// over IPv4, so http-protocol-ipv4 is what the endpoint is.
var instanceFilters = attributes[*state.Instance]{
	"metadata-options.state":                       ofOptions(func(o metadataOptions) string { return o.State }),
	"metadata-options.http-tokens":                 ofOptions(func(o metadataOptions) string { return o.HTTPTokens }),
	"metadata-options.http-endpoint":               ofOptions(func(o metadataOptions) string { return o.HTTPEndpoint }),
	"metadata-options.http-protocol-ipv4":          ofOptions(func(o metadataOptions) string { return o.HTTPEndpoint }),
	"metadata-options.http-protocol-ipv6":          ofOptions(func(o metadataOptions) string { return o.ProtocolIPv6 }),
	"metadata-options.instance-metadata-tags":      ofOptions(func(o metadataOptions) string { return o.MetadataTags }),
	"metadata-options.http-put-response-hop-limit": ofOptions(func(o metadataOptions) string { return strconv.Itoa(o.HopLimit) }),

	"instance-state-name":      of(stateOf),
	"instance-state-code":      of(func(in *state.Instance) string { return strconv.Itoa(stateCodes[stateOf(in)]) }),
	"instance-id":              of(func(in *state.Instance) string { return in.Spec.ID }),
	"image-id":                 of(func(in *state.Instance) string { return in.Spec.Image.ID }),
	"instance-type":            of(func(in *state.Instance) string { return in.Spec.Type }),
	"availability-zone":        of(func(in *state.Instance) string { return in.Spec.Zone }),
	"availability-zone-id":     of(func(in *state.Instance) string { return in.Spec.ZoneID }),
	"key-name":                 of(func(in *state.Instance) string { return in.KeyName }),
	"reservation-id":           of(reservationOf),
	"owner-id":                 of(func(in *state.Instance) string { return in.Spec.Account }),
	"client-token":             of(func(in *state.Instance) string { return in.ClientToken }),
	"architecture":             of(architectureOf),
	"launch-time":              of(func(in *state.Instance) string { return stamp(in.Spec.Started) }),
	"launch-index":             of(func(in *state.Instance) string { return strconv.Itoa(in.Spec.LaunchIndex) }),
	"vpc-id":                   ofView(func(v *instanceXML) []string { return one(v.VPCID) }),
	"subnet-id":                ofView(func(v *instanceXML) []string { return one(v.SubnetID) }),
	"private-dns-name":         ofView(func(v *instanceXML) []string { return one(v.PrivateDNSName) }),
	"dns-name":                 ofView(func(v *instanceXML) []string { return one(v.DNSName) }),
	"ip-address":               ofView(func(v *instanceXML) []string { return one(v.PublicIP) }),
	"private-ip-address":       ofView(func(v *instanceXML) []string { return one(v.PrivateIP) }),
	"platform":                 ofView(func(v *instanceXML) []string { return one(v.Platform) }),
	"platform-details":         ofView(func(v *instanceXML) []string { return one(v.PlatformDetails) }),
	"instance-lifecycle":       ofView(func(v *instanceXML) []string { return one(v.Lifecycle) }),
	"root-device-name":         ofView(func(v *instanceXML) []string { return one(v.RootDeviceName) }),
	"root-device-type":         ofView(func(v *instanceXML) []string { return one(v.RootDeviceType) }),
	"virtualization-type":      ofView(func(v *instanceXML) []string { return one(v.Virtualization) }),
	"hypervisor":               ofView(func(v *instanceXML) []string { return one(v.Hypervisor) }),
	"instance.group-id":        ofView(func(v *instanceXML) []string { return groupsOf(v, func(g groupXML) string { return g.ID }) }),
	"instance.group-name":      ofView(func(v *instanceXML) []string { return groupsOf(v, func(g groupXML) string { return g.Name }) }),
	"iam-instance-profile.arn": of(func(in *state.Instance) string { return profileView(in).ARN }),
	"iam-instance-profile.id":  of(func(in *state.Instance) string { return profileView(in).ID }),
	"iam-instance-profile.name": of(func(in *state.Instance) string {
		if in.Spec.Role == nil {
			return ""
		}
		return in.Spec.Role.Name
	}),
	"network-interface.network-interface-id": ofView(func(v *instanceXML) []string {
		var ids []string
		for _, f := range v.Interfaces {
			ids = append(ids, f.ID)
		}
		return ids
	}),
	"network-interface.addresses.private-ip-address": func(in *state.Instance) []string {
		var all []string
		for _, a := range addressesOf(in) {
			all = append(all, a.String())
		}
		return all
	},
}

func groupsOf(v *instanceXML, member func(groupXML) string) []string {
	var all []string
	for _, g := range v.Groups {
		all = append(all, member(g))
	}
	return all
}

type statusIn struct {
	All bool `q:"IncludeAllInstances"`
	describeInstancesIn
}

type statusOut struct {
	head
	Statuses  []statusXML `xml:"instanceStatusSet>item"`
	NextToken string      `xml:"nextToken,omitempty"`
}

type statusXML struct {
	InstanceID string    `xml:"instanceId"`
	Zone       string    `xml:"availabilityZone"`
	State      stateXML  `xml:"instanceState"`
	System     healthXML `xml:"systemStatus"`
	Instance   healthXML `xml:"instanceStatus"`
}

type healthXML struct {
	Status  string      `xml:"status"`
	Details []detailXML `xml:"details>item"`
}

type detailXML struct {
	Name   string `xml:"name"`
	Status string `xml:"status"`
}

func describeInstanceStatus(c *call, p *statusIn) (response, error) {
	if !p.All {
		p.Filters = append(p.Filters, filter{"instance-state-name", []string{"running"}})
	}
	shown, next, err := c.pageOfInstances(&p.describeInstancesIn)
	if err != nil {
		return nil, err
	}
	out := &statusOut{NextToken: next}
	for _, in := range shown {
		health := healthXML{"ok", []detailXML{{"reachability", "passed"}}}
		if stateOf(in) != "running" {
			health = healthXML{Status: "not-applicable"}
		}
		out.Statuses = append(out.Statuses, statusXML{in.Spec.ID, in.Spec.Zone, stateView(stateOf(in)), health, health})
	}
	return out, nil
}
