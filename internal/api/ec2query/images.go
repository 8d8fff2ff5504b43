package ec2query

import (
	"cmp"
	"maps"
	"slices"

	"openimds/internal/state"
)

// tokensAlone is the only value of an image's ImdsSupport.
const tokensAlone = "v2.0"

type describeImagesIn struct {
	ImageIDs []string `q:"ImageId"`
	Owners   []string `q:"Owner"`
	listing
}

type describeImagesOut struct {
	head
	Images    []imageXML `xml:"imagesSet>item"`
	NextToken string     `xml:"nextToken,omitempty"`
}

type imageXML struct {
	ID             string   `xml:"imageId"`
	Location       string   `xml:"imageLocation"`
	State          string   `xml:"imageState"`
	Owner          string   `xml:"imageOwnerId"`
	CreationDate   string   `xml:"creationDate"`
	Public         bool     `xml:"isPublic"`
	Architecture   string   `xml:"architecture"`
	Type           string   `xml:"imageType"`
	Platform       string   `xml:"platform,omitempty"`
	ENASupport     bool     `xml:"enaSupport"`
	Name           string   `xml:"name"`
	Description    string   `xml:"description,omitempty"`
	RootDeviceType string   `xml:"rootDeviceType"`
	RootDeviceName string   `xml:"rootDeviceName"`
	Virtualization string   `xml:"virtualizationType"`
	Tags           []tagXML `xml:"tagSet>item"`
	Hypervisor     string   `xml:"hypervisor"`
	Platforms      string   `xml:"platformDetails"`
	IMDSSupport    string   `xml:"imdsSupport,omitempty"`
	Source         string   `xml:"sourceInstanceId,omitempty"`
}

func (c *call) imageView(i *state.Image) imageXML {
	v := imageXML{
		ID: i.ID, Location: i.Account + "/" + i.Name, State: "available", Owner: i.Account, CreationDate: stamp(i.Created),
		Public: i.Account != c.caller.Account, Architecture: cmp.Or(i.Architecture, "x86_64"), Type: "machine", ENASupport: true,
		Name: i.Name, Description: i.Description, RootDeviceType: "ebs", RootDeviceName: cmp.Or(i.RootDevice, "/dev/xvda"),
		Virtualization: "hvm", Tags: tagsView(i.Tags), Hypervisor: "xen", Platforms: "Linux/UNIX", Source: i.Source,
	}
	if i.Platform == "windows" {
		v.Platform, v.Platforms = "windows", "Windows"
	}
	if i.ImdsSupport {
		v.IMDSSupport = tokensAlone
	}
	return v
}

// images returns the images with the given ids, or all.
func (c *call) images(ids []string) ([]*state.Image, error) {
	for _, id := range ids {
		if !imageIDs.MatchString(id) {
			return nil, malformed("InvalidAMIID.Malformed", id, "ami-")
		}
	}
	all, err := c.cfg.Control.Images(c.caller)
	if err != nil || len(ids) == 0 {
		return all, err
	}
	for _, id := range ids {
		if !slices.ContainsFunc(all, func(i *state.Image) bool { return i.ID == id }) {
			return nil, invalid("InvalidAMIID.NotFound", "The image id '["+id+"]' does not exist")
		}
	}
	return slices.DeleteFunc(all, func(i *state.Image) bool { return !slices.Contains(ids, i.ID) }), nil
}

func describeImages(c *call, p *describeImagesIn) (response, error) {
	found, err := c.images(p.ImageIDs)
	if err != nil {
		return nil, err
	}
	if len(p.Owners) > 0 {
		found = slices.DeleteFunc(found, func(i *state.Image) bool {
			own := slices.Contains(p.Owners, "self") && i.Account == c.caller.Account
			others := slices.Contains(p.Owners, "amazon") && i.Account != c.caller.Account
			return !own && !others && !slices.Contains(p.Owners, i.Account)
		})
	}
	if found, err = choose(found, p.Filters, c.imageFilters(), func(i *state.Image) map[string]string { return i.Tags }); err != nil {
		return nil, err
	}
	shown, next, err := page(found, p.listing, 1, func(i *state.Image) string { return i.ID })
	if err != nil {
		return nil, err
	}
	out := &describeImagesOut{NextToken: next}
	for _, i := range shown {
		out.Images = append(out.Images, c.imageView(i))
	}
	return out, nil
}

func (c *call) imageFilters() attributes[*state.Image] {
	known := attributes[*state.Image]{}
	for name, value := range map[string]func(imageXML) string{
		"image-id":            func(v imageXML) string { return v.ID },
		"name":                func(v imageXML) string { return v.Name },
		"description":         func(v imageXML) string { return v.Description },
		"state":               func(v imageXML) string { return v.State },
		"architecture":        func(v imageXML) string { return v.Architecture },
		"owner-id":            func(v imageXML) string { return v.Owner },
		"image-type":          func(v imageXML) string { return v.Type },
		"platform":            func(v imageXML) string { return v.Platform },
		"root-device-name":    func(v imageXML) string { return v.RootDeviceName },
		"root-device-type":    func(v imageXML) string { return v.RootDeviceType },
		"virtualization-type": func(v imageXML) string { return v.Virtualization },
		"hypervisor":          func(v imageXML) string { return v.Hypervisor },
		"creation-date":       func(v imageXML) string { return v.CreationDate },
		"imds-support":        func(v imageXML) string { return v.IMDSSupport },
		"is-public":           func(v imageXML) string { return boolXML(v.Public).Value },
		"ena-support":         func(v imageXML) string { return boolXML(v.ENASupport).Value },
	} {
		known[name] = func(i *state.Image) []string { return one(value(c.imageView(i))) }
	}
	return known
}

type registerImageIn struct {
	Name         string    `q:"Name,required"`
	Description  string    `q:"Description"`
	Architecture string    `q:"Architecture"`
	RootDevice   string    `q:"RootDeviceName"`
	IMDSSupport  *string   `q:"ImdsSupport"`
	Tags         []tagSpec `q:"TagSpecification"`
}

type imageOut struct {
	head
	ImageID string `xml:"imageId"`
}

func registerImage(c *call, p *registerImageIn) (response, error) {
	if _, err := choice("ImdsSupport", p.IMDSSupport, "'v2.0'", tokensAlone); err != nil {
		return nil, err
	}
	if len(p.Name) < 3 || len(p.Name) > 128 {
		return nil, invalid("InvalidAMIName.Malformed", "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', '.', '-', '/' and '_'")
	}
	switch p.Architecture {
	case "", "x86_64", "arm64", "i386":
	default:
		return nil, badValue("architecture", p.Architecture)
	}
	tags, err := tagsFor(p.Tags, "image", "image", "snapshot")
	if err != nil {
		return nil, err
	}
	image, err := c.cfg.Control.NewImage(c.ctx, c.caller, state.Image{
		Name: p.Name, Description: p.Description, Platform: "linux", Architecture: cmp.Or(p.Architecture, "x86_64"), RootDevice: p.RootDevice,
		ImdsSupport: p.IMDSSupport != nil, Tags: maps.Clone(tags),
	})
	if err != nil {
		return nil, err
	}
	return &imageOut{ImageID: image.ID}, nil
}

// modifyImageIn has the attribute as a parameter of its own, or as Attribute
// and Value (EC2-API-05).
type modifyImageIn struct {
	ImageID     string     `q:"ImageId,required"`
	Attribute   string     `q:"Attribute"`
	Value       *string    `q:"Value"`
	Description *textValue `q:"Description"`
	IMDSSupport *textValue `q:"ImdsSupport"`
}

func modifyImageAttribute(c *call, p *modifyImageIn) (response, error) {
	if !imageIDs.MatchString(p.ImageID) {
		return nil, malformed("InvalidAMIID.Malformed", p.ImageID, "ami-")
	}
	switch p.Attribute {
	case "":
	case "description":
		p.Description = &textValue{p.Value}
	case "imdsSupport":
		p.IMDSSupport = &textValue{p.Value}
	default:
		return nil, badValue("attribute", p.Attribute)
	}
	switch {
	case p.Description != nil && p.IMDSSupport != nil:
		return nil, invalid("InvalidParameterCombination", "Fields for multiple attribute types specified: description, imdsSupport")
	case p.Description == nil && p.IMDSSupport == nil:
		return nil, invalid("InvalidParameterCombination", "No attributes specified.")
	case p.Description != nil && p.Description.Value == nil:
		return nil, missing("Description.Value")
	case p.IMDSSupport != nil && p.IMDSSupport.Value == nil:
		return nil, missing("ImdsSupport.Value")
	case p.IMDSSupport != nil && *p.IMDSSupport.Value != tokensAlone:
		return nil, badChoice("ImdsSupport", *p.IMDSSupport.Value, "'v2.0'")
	}
	err := c.cfg.Control.ModifyImage(c.ctx, c.caller, p.ImageID, func(i *state.Image) error {
		if p.Description != nil {
			i.Description = *p.Description.Value
		} else {
			i.ImdsSupport = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &done{Return: true}, nil
}

type describeImageAttributeIn struct {
	ImageID   string `q:"ImageId,required"`
	Attribute string `q:"Attribute,required"`
}

type imageAttributeOut struct {
	head
	ImageID     string    `xml:"imageId"`
	Description *valueXML `xml:"description"`
	IMDSSupport *valueXML `xml:"imdsSupport"`
}

func describeImageAttribute(c *call, p *describeImageAttributeIn) (response, error) {
	found, err := c.images([]string{p.ImageID})
	if err != nil {
		return nil, err
	}
	out, v := &imageAttributeOut{ImageID: p.ImageID}, c.imageView(found[0])
	switch p.Attribute {
	case "description":
		out.Description = &valueXML{v.Description}
	case "imdsSupport":
		out.IMDSSupport = &valueXML{v.IMDSSupport}
	default:
		return nil, badValue("attribute", p.Attribute)
	}
	return out, nil
}
