package ec2query

import (
	"strings"
	"time"

	"openimds/internal/state"
)

// profileIn names an instance profile, which is called as its role is.
type profileIn struct {
	Name string `q:"Name"`
	ARN  string `q:"Arn"`
}

func (p profileIn) role() (string, error) {
	switch {
	case p.Name != "" && p.ARN != "":
		return "", invalid("InvalidParameterCombination", "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'")
	case p.Name != "":
		return p.Name, nil
	case p.ARN == "":
		return "", missing("IamInstanceProfile.Name")
	}
	_, path, ok := strings.Cut(p.ARN, ":instance-profile/")
	if !ok || !strings.HasPrefix(p.ARN, "arn:") || path == "" {
		return "", invalid("InvalidParameterValue", "Value ("+clip(p.ARN)+") for parameter iamInstanceProfile.arn is invalid. Invalid IAM Instance Profile ARN")
	}
	return path[strings.LastIndexByte(path, '/')+1:], nil
}

// profileView shows the instance profile of an instance; empty if it has none.
func profileView(in *state.Instance) profileXML {
	r := in.Spec.Role
	if r == nil {
		return profileXML{}
	}
	arn := r.ProfileARN
	if arn == "" {
		partition := in.Spec.Services.Partition
		switch {
		case partition != "":
		case strings.HasPrefix(in.Spec.Region, "cn-"):
			partition = "aws-cn"
		case strings.HasPrefix(in.Spec.Region, "us-gov-"):
			partition = "aws-us-gov"
		default:
			partition = "aws"
		}
		arn = "arn:" + partition + ":iam::" + in.Spec.Account + ":instance-profile/" + r.Name
	}
	return profileXML{arn, r.ProfileID}
}

type associationOut struct {
	head
	Association profileAssociation `xml:"iamInstanceProfileAssociation"`
}

type profileAssociation struct {
	ID         string     `xml:"associationId"`
	InstanceID string     `xml:"instanceId"`
	Profile    profileXML `xml:"iamInstanceProfile"`
	State      string     `xml:"state"`
	Timestamp  string     `xml:"timestamp,omitempty"`
}

func associationView(in *state.Instance, state string, at time.Time) profileAssociation {
	return profileAssociation{in.Association, in.Spec.ID, profileView(in), state, stamp(at)}
}

type associateIn struct {
	InstanceID string    `q:"InstanceId,required"`
	Profile    profileIn `q:"IamInstanceProfile,required"`
}

func associateProfile(c *call, p *associateIn) (response, error) {
	if err := checkInstanceIDs(p.InstanceID); err != nil {
		return nil, err
	}
	return c.setRole(p.InstanceID, p.Profile, false)
}

func (c *call) setRole(id string, profile profileIn, replace bool) (response, error) {
	role, err := profile.role()
	if err != nil {
		return nil, err
	}
	in, err := c.cfg.Control.SetRole(c.ctx, c.caller, id, role, replace)
	if err != nil {
		return nil, err
	}
	return &associationOut{Association: associationView(in, "associating", c.cfg.Now())}, nil
}

type disassociateIn struct {
	AssociationID string `q:"AssociationId,required"`
}

func disassociateProfile(c *call, p *disassociateIn) (response, error) {
	before, err := c.cfg.Control.Associated(c.caller, p.AssociationID)
	if err != nil {
		return nil, err
	}
	if _, err := c.cfg.Control.SetRole(c.ctx, c.caller, before.Spec.ID, "", false); err != nil {
		return nil, err
	}
	return &associationOut{Association: associationView(before, "disassociating", c.cfg.Now())}, nil
}

type replaceIn struct {
	AssociationID string    `q:"AssociationId,required"`
	Profile       profileIn `q:"IamInstanceProfile,required"`
}

func replaceProfile(c *call, p *replaceIn) (response, error) {
	in, err := c.cfg.Control.Associated(c.caller, p.AssociationID)
	if err != nil {
		return nil, err
	}
	return c.setRole(in.Spec.ID, p.Profile, true)
}

type describeProfilesIn struct {
	IDs []string `q:"AssociationId"`
	listing
}

type describeProfilesOut struct {
	head
	Associations []profileAssociation `xml:"iamInstanceProfileAssociationSet>item"`
	NextToken    string               `xml:"nextToken,omitempty"`
}

var profileFilters = attributes[*state.Instance]{
	"instance-id": of(func(in *state.Instance) string { return in.Spec.ID }),
	"state":       func(*state.Instance) []string { return []string{"associated"} },
}

func describeProfiles(c *call, p *describeProfilesIn) (response, error) {
	all, err := c.cfg.Control.Instances(c.caller)
	if err != nil {
		return nil, err
	}
	var found []*state.Instance
	for _, in := range all {
		if in.Spec.Role != nil && stateOf(in) != "terminated" && wanted(p.IDs, in.Association) {
			found = append(found, in)
		}
	}
	if found, err = choose(found, p.Filters, profileFilters, nil); err != nil {
		return nil, err
	}
	shown, next, err := page(found, p.listing, 5, func(in *state.Instance) string { return in.Association + "/" + in.Spec.ID })
	if err != nil {
		return nil, err
	}
	out := &describeProfilesOut{NextToken: next}
	for _, in := range shown {
		out.Associations = append(out.Associations, associationView(in, "associated", time.Time{}))
	}
	return out, nil
}
