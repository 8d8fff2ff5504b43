package ec2query

import (
	"cmp"
	"encoding/base64"
	"strconv"
	"strings"

	"openimds/internal/control"
	"openimds/internal/state"
)

type textValue struct {
	Value *string `q:"Value"`
}

type boolValue struct {
	Value *bool `q:"Value"`
}

// modifyAttributeIn has the attribute in one of two forms: as a parameter of
// its own, or as Attribute and Value (EC2-API-05).
type modifyAttributeIn struct {
	InstanceID     string     `q:"InstanceId,required"`
	Attribute      string     `q:"Attribute"`
	Value          *string    `q:"Value"`
	UserData       *textValue `q:"UserData"`
	InstanceType   *textValue `q:"InstanceType"`
	KeepFromEnding *boolValue `q:"DisableApiTermination"`
	GroupIDs       []string   `q:"GroupId"`

	// These are kept to be shown.
	EBSOptimized *boolValue `q:"EbsOptimized"`
	SourceDest   *boolValue `q:"SourceDestCheck"`
	ENASupport   *boolValue `q:"EnaSupport"`
	KeepStopped  *boolValue `q:"DisableApiStop"`
	Shutdown     *textValue `q:"InstanceInitiatedShutdownBehavior"`
	Disks        *anything  `q:"BlockDeviceMapping"`
}

// change is one attribute to change. Stopped asks that the instance is. Value
// is what policies may know of it.
type change struct {
	attribute string
	value     string
	stopped   bool
	apply     func(*state.Instance)
}

// kept is a change of an attribute that nothing here depends on but what shows
// it.
func kept(attribute, key string, value string) change {
	return change{attribute: attribute, value: value, apply: func(in *state.Instance) {
		if in.Attributes == nil {
			in.Attributes = map[string]string{}
		}
		in.Attributes[key] = value
	}}
}

func modifyInstanceAttribute(c *call, p *modifyAttributeIn) (response, error) {
	if err := checkInstanceIDs(p.InstanceID); err != nil {
		return nil, err
	}
	if err := p.fold(); err != nil {
		return nil, err
	}
	changes, err := p.changes(c)
	if err != nil {
		return nil, err
	}
	switch len(changes) {
	case 0:
		return nil, invalid("InvalidParameterCombination", "No attributes specified.")
	case 1:
	default:
		var names []string
		for _, ch := range changes {
			names = append(names, ch.attribute)
		}
		return nil, invalid("InvalidParameterCombination", "Fields for multiple attribute types specified: "+strings.Join(names, ", "))
	}
	ch := changes[0]
	_, err = c.cfg.Control.Modify(c.ctx, c.caller, p.InstanceID, control.Attribute{Name: ch.attribute, Value: ch.value}, func(in *state.Instance) error {
		if ch.stopped && stateOf(in) != "stopped" {
			return &control.Error{Reason: control.IncorrectState, Subject: in.Spec.ID, Detail: stateOf(in)}
		}
		if ch.apply != nil {
			ch.apply(in)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &done{Return: true}, nil
}

// fold makes a parameter of its own of Attribute and Value.
func (p *modifyAttributeIn) fold() error {
	if p.Attribute == "" {
		if p.Value != nil {
			return missing("Attribute")
		}
		return nil
	}
	text := &textValue{p.Value}
	switch p.Attribute {
	case "userData":
		if p.Value != nil {
			p.UserData = text
		} else if p.UserData == nil {
			return missing("Value")
		}
		return nil
	case "instanceType":
		p.InstanceType = text
	case "instanceInitiatedShutdownBehavior":
		p.Shutdown = text
	case "disableApiTermination", "ebsOptimized", "sourceDestCheck", "enaSupport", "disableApiStop":
		if p.Value == nil {
			return missing("Value")
		}
		on := strings.EqualFold(*p.Value, "true")
		if !on && !strings.EqualFold(*p.Value, "false") {
			return badValue("Value", *p.Value)
		}
		*map[string]**boolValue{
			"disableApiTermination": &p.KeepFromEnding, "ebsOptimized": &p.EBSOptimized, "sourceDestCheck": &p.SourceDest,
			"enaSupport": &p.ENASupport, "disableApiStop": &p.KeepStopped,
		}[p.Attribute] = &boolValue{&on}
		return nil
	default:
		return badValue("attribute", p.Attribute)
	}
	if p.Value == nil {
		return missing("Value")
	}
	return nil
}

func (p *modifyAttributeIn) changes(c *call) ([]change, error) {
	var all []change
	if p.UserData != nil {
		var text string
		if p.UserData.Value != nil {
			text = *p.UserData.Value
		}
		data, err := userData(text)
		if err != nil {
			return nil, err
		}
		all = append(all, change{attribute: "UserData", stopped: true, apply: func(in *state.Instance) { in.Spec.UserData = data }})
	}
	if p.InstanceType != nil {
		if p.InstanceType.Value == nil || !instanceTypes.MatchString(*p.InstanceType.Value) {
			return nil, invalid("InvalidParameterValue", "Invalid value for InstanceType.")
		}
		all = append(all, change{attribute: "InstanceType", value: *p.InstanceType.Value, stopped: true, apply: func(in *state.Instance) {
			in.Spec.Type = *p.InstanceType.Value
		}})
	}
	if p.KeepFromEnding != nil {
		if p.KeepFromEnding.Value == nil {
			return nil, missing("DisableApiTermination.Value")
		}
		all = append(all, change{
			attribute: "DisableApiTermination", value: strconv.FormatBool(*p.KeepFromEnding.Value),
			apply: func(in *state.Instance) { in.DeletionProtection = *p.KeepFromEnding.Value },
		})
	}
	if len(p.GroupIDs) > 0 {
		for _, g := range p.GroupIDs {
			if !strings.HasPrefix(g, "sg-") {
				return nil, malformed("InvalidGroupId.Malformed", g, "sg-")
			}
		}
		groups := control.GroupsOf(c.cfg.Control.Place(dialect).SecurityGroups, p.GroupIDs)
		all = append(all, change{attribute: "GroupSet", apply: func(in *state.Instance) { in.Spec.Interfaces[0].SecurityGroups = groups }})
	}
	for _, b := range []struct {
		name, key string
		value     *boolValue
	}{
		{"EbsOptimized", "ebsOptimized", p.EBSOptimized}, {"SourceDestCheck", "sourceDestCheck", p.SourceDest},
		{"EnaSupport", "enaSupport", p.ENASupport}, {"DisableApiStop", "disableApiStop", p.KeepStopped},
	} {
		if b.value == nil {
			continue
		}
		if b.value.Value == nil {
			return nil, missing(b.name + ".Value")
		}
		all = append(all, kept(b.name, b.key, strconv.FormatBool(*b.value.Value)))
	}
	if p.Shutdown != nil {
		if v := p.Shutdown.Value; v == nil || *v != "stop" && *v != "terminate" {
			return nil, invalid("InvalidParameterValue", "The shutdown behavior must be 'stop' or 'terminate'.")
		}
		all = append(all, kept("InstanceInitiatedShutdownBehavior", "instanceInitiatedShutdownBehavior", *p.Shutdown.Value))
	}
	if p.Disks != nil {
		all = append(all, change{attribute: "BlockDeviceMapping"}) // the volumes stay as they are
	}
	return all, nil
}

type describeAttributeIn struct {
	InstanceID string `q:"InstanceId,required"`
	Attribute  string `q:"Attribute,required"`
}

type attributeOut struct {
	head
	InstanceID     string     `xml:"instanceId"`
	UserData       *valueXML  `xml:"userData"`
	InstanceType   *valueXML  `xml:"instanceType"`
	KeepFromEnding *valueXML  `xml:"disableApiTermination"`
	KeepStopped    *valueXML  `xml:"disableApiStop"`
	Shutdown       *valueXML  `xml:"instanceInitiatedShutdownBehavior"`
	SourceDest     *valueXML  `xml:"sourceDestCheck"`
	EBSOptimized   *valueXML  `xml:"ebsOptimized"`
	ENASupport     *valueXML  `xml:"enaSupport"`
	RootDevice     *valueXML  `xml:"rootDeviceName"`
	Kernel         *valueXML  `xml:"kernel"`
	RAMDisk        *valueXML  `xml:"ramdisk"`
	SRIOV          *valueXML  `xml:"sriovNetSupport"`
	Enclave        *onXML     `xml:"enclaveOptions"`
	Disks          *disksXML  `xml:"blockDeviceMapping"`
	Products       *codesXML  `xml:"productCodes"`
	Groups         *groupsXML `xml:"groupSet"`
}

type groupsXML struct {
	Items []groupXML `xml:"item"`
}

type disksXML struct {
	Items []diskXML `xml:"item"`
}

type codesXML struct {
	Items []productXML `xml:"item"`
}

type valueXML struct {
	Value string `xml:"value,omitempty"`
}

func boolXML(on bool) *valueXML {
	if on {
		return &valueXML{"true"}
	}
	return &valueXML{"false"}
}

func describeInstanceAttribute(c *call, p *describeAttributeIn) (response, error) {
	if err := checkInstanceIDs(p.InstanceID); err != nil {
		return nil, err
	}
	in, err := c.cfg.Control.Instance(c.caller, p.InstanceID)
	if err != nil {
		return nil, err
	}
	out, v := &attributeOut{InstanceID: p.InstanceID}, instanceView(in)
	switch p.Attribute {
	case "userData":
		out.UserData = &valueXML{base64.StdEncoding.EncodeToString(in.Spec.UserData)}
	case "instanceType":
		out.InstanceType = &valueXML{v.Type}
	case "disableApiTermination":
		out.KeepFromEnding = boolXML(in.DeletionProtection)
	case "disableApiStop":
		out.KeepStopped = boolXML(in.Attributes["disableApiStop"] == "true")
	case "instanceInitiatedShutdownBehavior":
		out.Shutdown = &valueXML{cmp.Or(in.Attributes["instanceInitiatedShutdownBehavior"], "stop")}
	case "kernel":
		out.Kernel = &valueXML{in.Spec.Image.KernelID}
	case "ramdisk":
		out.RAMDisk = &valueXML{in.Spec.Image.RAMDiskID}
	case "sriovNetSupport":
		out.SRIOV = &valueXML{}
	case "enclaveOptions":
		out.Enclave = &onXML{v.Enclave}
	case "blockDeviceMapping":
		out.Disks = &disksXML{v.BlockDevices}
	case "productCodes":
		out.Products = &codesXML{v.ProductCodes}
	case "sourceDestCheck":
		out.SourceDest = boolXML(v.SourceDestCheck)
	case "ebsOptimized":
		out.EBSOptimized = boolXML(v.EBSOptimized)
	case "enaSupport":
		out.ENASupport = boolXML(v.ENASupport)
	case "rootDeviceName":
		out.RootDevice = &valueXML{v.RootDeviceName}
	case "groupSet":
		out.Groups = &groupsXML{v.Groups}
	default:
		return nil, badValue("attribute", p.Attribute)
	}
	return out, nil
}
