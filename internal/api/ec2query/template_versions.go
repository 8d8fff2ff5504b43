package ec2query

import (
	"slices"
	"strconv"

	"openimds/internal/control"
	"openimds/internal/state"
)

type versionXML struct {
	ID          string  `xml:"launchTemplateId"`
	Name        string  `xml:"launchTemplateName"`
	Number      int     `xml:"versionNumber"`
	Description string  `xml:"versionDescription,omitempty"`
	Created     string  `xml:"createTime"`
	By          string  `xml:"createdBy"`
	Default     bool    `xml:"defaultVersion"`
	Data        dataXML `xml:"launchTemplateData"`
}

// dataXML shows of a template what has an effect here.
type dataXML struct {
	ImageID        string            `xml:"imageId,omitempty"`
	InstanceType   string            `xml:"instanceType,omitempty"`
	KeyName        string            `xml:"keyName,omitempty"`
	UserData       string            `xml:"userData,omitempty"`
	Profile        *profileNameXML   `xml:"iamInstanceProfile"`
	Placement      *templatePlaceXML `xml:"placement"`
	Groups         *itemsXML         `xml:"securityGroupIdSet"`
	Interfaces     *templateNICsXML  `xml:"networkInterfaceSet"`
	Tags           *templateTagsXML  `xml:"tagSpecificationSet"`
	Market         *marketXML        `xml:"instanceMarketOptions"`
	KeepFromEnding bool              `xml:"disableApiTermination,omitempty"`
	KeepRunning    *bool             `xml:"disableApiStop"`
	Shutdown       string            `xml:"instanceInitiatedShutdownBehavior,omitempty"`
	EBSOptimized   *bool             `xml:"ebsOptimized"`
	Monitoring     *onXML            `xml:"monitoring"`
	Hibernation    *configuredXML    `xml:"hibernationOptions"`
	Disks          *templateDisksXML `xml:"blockDeviceMappingSet"`
	Options        *templateOptions  `xml:"metadataOptions"`
}

type onXML struct {
	Enabled bool `xml:"enabled"`
}

type configuredXML struct {
	Configured bool `xml:"configured"`
}

type templateDisksXML struct {
	Items []templateDisk `xml:"item"`
}

type templateDisk struct {
	Device  string `xml:"deviceName"`
	Virtual string `xml:"virtualName,omitempty"`
}

type profileNameXML struct {
	ARN  string `xml:"arn,omitempty"`
	Name string `xml:"name,omitempty"`
}

type templatePlaceXML struct {
	Zone string `xml:"availabilityZone"`
}

type itemsXML struct {
	Items []string `xml:"item"`
}

type templateNICsXML struct {
	Items []templateNIC `xml:"item"`
}

type templateNIC struct {
	Device             int       `xml:"deviceIndex"`
	NetworkInterfaceID string    `xml:"networkInterfaceId,omitempty"`
	SubnetID           string    `xml:"subnetId,omitempty"`
	PrivateIP          string    `xml:"privateIpAddress,omitempty"`
	Groups             *itemsXML `xml:"groupSet"`
}

type templateTagsXML struct {
	Items []templateTagSpec `xml:"item"`
}

type templateTagSpec struct {
	ResourceType string   `xml:"resourceType"`
	Tags         []tagXML `xml:"tagSet>item"`
}

type marketXML struct {
	Type string `xml:"marketType"`
}

// templateOptions leaves out what the template does not say.
type templateOptions struct {
	State        string  `xml:"state"`
	HTTPTokens   *string `xml:"httpTokens"`
	HopLimit     *int    `xml:"httpPutResponseHopLimit"`
	HTTPEndpoint *string `xml:"httpEndpoint"`
	ProtocolIPv6 *string `xml:"httpProtocolIpv6"`
	MetadataTags *string `xml:"instanceMetadataTags"`
}

// versionView shows a version of a template.
func versionView(t *state.Template, v state.TemplateVersion) (versionXML, error) {
	data, err := decodeData(v.Parameters)
	if err != nil {
		return versionXML{}, err
	}
	x := dataXML{
		ImageID: data.ImageID, InstanceType: data.InstanceType, KeyName: data.KeyName, UserData: data.UserData,
		Groups: items(data.GroupIDs), KeepFromEnding: data.KeepFromEnding,
	}
	x.KeepRunning, x.Shutdown, x.EBSOptimized = data.KeepRunning, data.Shutdown, data.EBSOptimized
	if data.Monitoring.Enabled {
		x.Monitoring = &onXML{true}
	}
	if data.Hibernation.Configured {
		x.Hibernation = &configuredXML{true}
	}
	for _, d := range data.Disks {
		if x.Disks == nil {
			x.Disks = &templateDisksXML{}
		}
		x.Disks.Items = append(x.Disks.Items, templateDisk{d.Device, d.Virtual})
	}
	if p := data.Profile; p != nil {
		x.Profile = &profileNameXML{p.ARN, p.Name}
	}
	if data.Placement.Zone != "" {
		x.Placement = &templatePlaceXML{data.Placement.Zone}
	}
	if data.Market.Type != "" {
		x.Market = &marketXML{data.Market.Type}
	}
	if o := data.Options; o != (optionsIn{}) {
		x.Options = &templateOptions{"pending", o.HTTPTokens, o.HopLimit, o.HTTPEndpoint, o.HTTPProtocolIPv6, o.MetadataTags}
	}
	for _, n := range data.Interfaces {
		if x.Interfaces == nil {
			x.Interfaces = &templateNICsXML{}
		}
		nic := templateNIC{NetworkInterfaceID: n.ID, SubnetID: n.SubnetID, PrivateIP: n.PrivateIP, Groups: items(n.GroupIDs)}
		if n.Device != nil {
			nic.Device = *n.Device
		}
		x.Interfaces.Items = append(x.Interfaces.Items, nic)
	}
	for _, s := range data.Tags {
		if x.Tags == nil {
			x.Tags = &templateTagsXML{}
		}
		spec := templateTagSpec{ResourceType: s.ResourceType}
		for _, tag := range s.Tags {
			spec.Tags = append(spec.Tags, tagXML{tag.Key, tag.value()})
		}
		x.Tags.Items = append(x.Tags.Items, spec)
	}
	whole := templateView(t)
	return versionXML{t.ID, t.Name, v.Number, v.Description, stamp(v.Created), whole.By, v.Number == t.Default, x}, nil
}

func items(list []string) *itemsXML {
	if len(list) == 0 {
		return nil
	}
	return &itemsXML{list}
}

type describeVersionsIn struct {
	ID       string   `q:"LaunchTemplateId"`
	Name     string   `q:"LaunchTemplateName"`
	Versions []string `q:"LaunchTemplateVersion"`
	Min      *int     `q:"MinVersion"`
	Max      *int     `q:"MaxVersion"`
	listing
}

type describeVersionsOut struct {
	head
	Versions  []versionXML `xml:"launchTemplateVersionSet>item"`
	NextToken string       `xml:"nextToken,omitempty"`
}

var versionFilters = attributes[versionXML]{
	"image-id":           func(v versionXML) []string { return one(v.Data.ImageID) },
	"instance-type":      func(v versionXML) []string { return one(v.Data.InstanceType) },
	"is-default-version": func(v versionXML) []string { return one(boolXML(v.Default).Value) },
	"http-tokens":        func(v versionXML) []string { return oneOf(v, func(o *templateOptions) *string { return o.HTTPTokens }) },
	"http-endpoint": func(v versionXML) []string {
		return oneOf(v, func(o *templateOptions) *string { return o.HTTPEndpoint })
	},
	"http-protocol-ipv4": func(v versionXML) []string {
		return oneOf(v, func(o *templateOptions) *string { return o.HTTPEndpoint })
	},
}

func oneOf(v versionXML, member func(*templateOptions) *string) []string {
	if v.Data.Options == nil {
		return nil
	}
	if value := member(v.Data.Options); value != nil {
		return one(*value)
	}
	return nil
}

func describeLaunchTemplateVersions(c *call, p *describeVersionsIn) (response, error) {
	templates, err := c.cfg.Control.Templates(c.caller)
	if err != nil {
		return nil, err
	}
	if p.ID != "" || p.Name != "" {
		ref, err := templateRef{ID: p.ID, Name: p.Name}.ref()
		if err != nil {
			return nil, err
		}
		t, err := c.cfg.Control.Template(c.caller, ref)
		if err != nil {
			return nil, err
		}
		templates = []*state.Template{t}
	} else if !wanted(p.Versions, "$Latest") && !wanted(p.Versions, "$Default") || len(p.Versions) == 0 {
		return nil, missing("LaunchTemplateId")
	}
	var found []versionXML
	for _, t := range templates {
		numbers, err := p.numbers(t)
		if err != nil {
			return nil, err
		}
		for _, v := range t.Versions {
			if !slices.Contains(numbers, v.Number) {
				continue
			}
			x, err := versionView(t, v)
			if err != nil {
				return nil, err
			}
			found = append(found, x)
		}
	}
	if found, err = choose(found, p.Filters, versionFilters, nil); err != nil {
		return nil, err
	}
	out := &describeVersionsOut{}
	out.Versions, out.NextToken, err = page(found, p.listing, 1, func(v versionXML) string { return v.ID + "/" + numberKey(v.Number) })
	return out, err
}

// numbers tells which versions of a template are asked for.
func (p *describeVersionsIn) numbers(t *state.Template) ([]int, error) {
	var numbers []int
	for _, which := range p.Versions {
		if _, err := strconv.Atoi(which); err == nil && p.ID == "" && p.Name == "" {
			return nil, missing("LaunchTemplateId")
		}
		v, err := control.TemplateVersion(t, which)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, v.Number)
	}
	if len(p.Versions) > 0 {
		return numbers, nil
	}
	for _, v := range t.Versions {
		if (p.Min == nil || v.Number >= *p.Min) && (p.Max == nil || v.Number <= *p.Max) {
			numbers = append(numbers, v.Number)
		}
	}
	return numbers, nil
}
