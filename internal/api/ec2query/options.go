package ec2query

import (
	"cmp"
	"strconv"

	"openimds/internal/control"
	"openimds/internal/instance"
	"openimds/internal/state"
)

// optionsIn are the metadata options in a request. What is nil was not given,
// and is left as it is (EC2-API-01).
type optionsIn struct {
	HTTPTokens       *string `q:"HttpTokens"`
	HopLimit         *int    `q:"HttpPutResponseHopLimit"`
	HTTPEndpoint     *string `q:"HttpEndpoint"`
	HTTPProtocolIPv6 *string `q:"HttpProtocolIpv6"`
	MetadataTags     *string `q:"InstanceMetadataTags"`
}

// metadataOptions are the options in a reply.
type metadataOptions struct {
	State        string `xml:"state"`
	HTTPTokens   string `xml:"httpTokens"`
	HopLimit     int    `xml:"httpPutResponseHopLimit"`
	HTTPEndpoint string `xml:"httpEndpoint"`
	ProtocolIPv6 string `xml:"httpProtocolIpv6"`
	MetadataTags string `xml:"instanceMetadataTags"`
}

const (
	onOff        = "either 'enabled' or 'disabled'"
	tokenChoices = "either 'optional' or 'required'"
	hopChoices   = "a value between 1 and 64"
	anyOnOff     = "'enabled', 'disabled' or 'no-preference'"
)

// choice returns the value of a parameter that has few; empty if it was not
// given.
func choice(name string, value *string, choices string, allowed ...string) (string, error) {
	if value == nil {
		return "", nil
	}
	for _, a := range allowed {
		if *value == a {
			return a, nil
		}
	}
	return "", badChoice(name, *value, choices)
}

// options checks the values and returns them; what was not given is empty.
func (p optionsIn) options() (o instance.MetadataOptions, err error) {
	if o.HTTPTokens, err = choice("HttpTokens", p.HTTPTokens, tokenChoices, instance.Optional, instance.Required); err != nil {
		return o, err
	}
	if o.HTTPEndpoint, err = choice("HttpEndpoint", p.HTTPEndpoint, onOff, instance.Enabled, instance.Disabled); err != nil {
		return o, err
	}
	if o.HTTPProtocolIPv6, err = choice("HttpProtocolIpv6", p.HTTPProtocolIPv6, onOff, instance.Enabled, instance.Disabled); err != nil {
		return o, err
	}
	if o.InstanceMetadataTags, err = choice("InstanceMetadataTags", p.MetadataTags, onOff, instance.Enabled, instance.Disabled); err != nil {
		return o, err
	}
	if p.HopLimit != nil {
		if *p.HopLimit < 1 || *p.HopLimit > 64 {
			return o, badChoice("HttpPutResponseHopLimit", strconv.Itoa(*p.HopLimit), hopChoices)
		}
		o.HTTPPutResponseHopLimit = *p.HopLimit
	}
	return o, nil
}

// optionsView shows the options that are in force, or with pending those that
// are about to be (EC2-API-02). Members that were never set show the service's
// default.
func optionsView(in *state.Instance, pending bool) metadataOptions {
	o := in.Spec.Metadata
	v := metadataOptions{
		State: "applied", HTTPTokens: cmp.Or(o.HTTPTokens, instance.Optional), HopLimit: cmp.Or(o.HTTPPutResponseHopLimit, 1),
		HTTPEndpoint: cmp.Or(o.HTTPEndpoint, instance.Enabled), ProtocolIPv6: cmp.Or(o.HTTPProtocolIPv6, instance.Disabled),
		MetadataTags: cmp.Or(o.InstanceMetadataTags, instance.Disabled),
	}
	if pending || in.OptionsPending {
		v.State = "pending"
	}
	return v
}

type modifyOptionsIn struct {
	InstanceID string `q:"InstanceId,required"`
	optionsIn
}

type modifyOptionsOut struct {
	head
	InstanceID string          `xml:"instanceId"`
	Options    metadataOptions `xml:"instanceMetadataOptions"`
}

func modifyInstanceMetadataOptions(c *call, p *modifyOptionsIn) (response, error) {
	if err := checkInstanceIDs(p.InstanceID); err != nil {
		return nil, err
	}
	change, err := p.options()
	if err != nil {
		return nil, err
	}
	in, err := c.cfg.Control.ModifyOptions(c.ctx, c.caller, p.InstanceID, change)
	if err != nil {
		return nil, err
	}
	return &modifyOptionsOut{InstanceID: p.InstanceID, Options: optionsView(in, true)}, nil
}

type modifyDefaultsIn struct {
	HTTPTokens   *string `q:"HttpTokens"`
	HopLimit     *int    `q:"HttpPutResponseHopLimit"`
	HTTPEndpoint *string `q:"HttpEndpoint"`
	MetadataTags *string `q:"InstanceMetadataTags"`
	Enforced     *string `q:"HttpTokensEnforced"`
}

func modifyInstanceMetadataDefaults(c *call, p *modifyDefaultsIn) (response, error) {
	var d state.Defaults
	var err error
	const none = control.NoPreference
	if d.HTTPTokens, err = choice("HttpTokens", p.HTTPTokens, "'optional', 'required' or 'no-preference'", instance.Optional, instance.Required, none); err != nil {
		return nil, err
	}
	for _, one := range []struct {
		name string
		in   *string
		to   *string
	}{
		{"HttpEndpoint", p.HTTPEndpoint, &d.HTTPEndpoint},
		{"InstanceMetadataTags", p.MetadataTags, &d.InstanceMetadataTags},
		{"HttpTokensEnforced", p.Enforced, &d.HTTPTokensEnforced},
	} {
		if *one.to, err = choice(one.name, one.in, anyOnOff, instance.Enabled, instance.Disabled, none); err != nil {
			return nil, err
		}
	}
	if p.HopLimit != nil {
		if *p.HopLimit != -1 && (*p.HopLimit < 1 || *p.HopLimit > 64) {
			return nil, badChoice("HttpPutResponseHopLimit", strconv.Itoa(*p.HopLimit), hopChoices+", or -1 for no preference,")
		}
		d.HopLimit = *p.HopLimit
	}
	if err := c.cfg.Control.ModifyDefaults(c.ctx, c.caller, d); err != nil {
		return nil, err
	}
	return &done{Return: true}, nil
}

type defaultsOut struct {
	head
	Account defaultsXML `xml:"accountLevel"`
}

// defaultsXML leaves out what has no preference.
type defaultsXML struct {
	HTTPTokens   string `xml:"httpTokens,omitempty"`
	HopLimit     int    `xml:"httpPutResponseHopLimit,omitempty"`
	HTTPEndpoint string `xml:"httpEndpoint,omitempty"`
	MetadataTags string `xml:"instanceMetadataTags,omitempty"`
	ManagedBy    string `xml:"managedBy"`
	Enforced     string `xml:"httpTokensEnforced,omitempty"`
}

func getInstanceMetadataDefaults(c *call, _ *struct{}) (response, error) {
	d, err := c.cfg.Control.Defaults(c.caller)
	if err != nil {
		return nil, err
	}
	return &defaultsOut{Account: defaultsXML{d.HTTPTokens, d.HopLimit, d.HTTPEndpoint, d.InstanceMetadataTags, "account", d.HTTPTokensEnforced}}, nil
}
