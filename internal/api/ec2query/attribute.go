package ec2query

import (
	"encoding/base64"
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

	// These are taken and change nothing that is shown.
	EBSOptimized *boolValue `q:"EbsOptimized"`
	SourceDest   *boolValue `q:"SourceDestCheck"`
	ENASupport   *boolValue `q:"EnaSupport"`
	KeepStopped  *boolValue `q:"DisableApiStop"`
	Shutdown     *textValue `q:"InstanceInitiatedShutdownBehavior"`
	Disks        *anything  `q:"BlockDeviceMapping"`
}

// change is one attribute to change. Stopped asks that the instance is.
type change struct {
	attribute string
	stopped   bool
	apply     func(*state.Instance)
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
	_, err = c.cfg.Control.Modify(c.ctx, c.caller, p.InstanceID, ch.attribute, func(in *state.Instance) error {
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
		all = append(all, change{"UserData", true, func(in *state.Instance) { in.Spec.UserData = data }})
	}
	if p.InstanceType != nil {
		if p.InstanceType.Value == nil || !instanceTypes.MatchString(*p.InstanceType.Value) {
			return nil, invalid("InvalidParameterValue", "Invalid value for InstanceType.")
		}
		all = append(all, change{"InstanceType", true, func(in *state.Instance) { in.Spec.Type = *p.InstanceType.Value }})
	}
	if p.KeepFromEnding != nil {
		if p.KeepFromEnding.Value == nil {
			return nil, missing("DisableApiTermination.Value")
		}
		all = append(all, change{"DisableApiTermination", false, func(in *state.Instance) { in.DeletionProtection = *p.KeepFromEnding.Value }})
	}
	if len(p.GroupIDs) > 0 {
		for _, g := range p.GroupIDs {
			if !strings.HasPrefix(g, "sg-") {
				return nil, malformed("InvalidGroupId.Malformed", g, "sg-")
			}
		}
		groups := control.GroupsOf(c.cfg.Control.Place(dialect).SecurityGroups, p.GroupIDs)
		all = append(all, change{"GroupSet", false, func(in *state.Instance) { in.Spec.Interfaces[0].SecurityGroups = groups }})
	}
	for name, given := range map[string]bool{
		"EbsOptimized": p.EBSOptimized != nil, "SourceDestCheck": p.SourceDest != nil, "EnaSupport": p.ENASupport != nil,
		"DisableApiStop": p.KeepStopped != nil, "InstanceInitiatedShutdownBehavior": p.Shutdown != nil, "BlockDeviceMapping": p.Disks != nil,
	} {
		if given {
			all = append(all, change{attribute: name})
		}
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
	Groups         *groupsXML `xml:"groupSet"`
}

type groupsXML struct {
	Items []groupXML `xml:"item"`
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
		out.KeepStopped = boolXML(false)
	case "instanceInitiatedShutdownBehavior":
		out.Shutdown = &valueXML{"stop"}
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
