package control

import (
	"context"

	"openimds/internal/instance"
	"openimds/internal/policy"
	"openimds/internal/state"
)

// ModifyOptions changes the metadata options of an instance. Empty members
// keep their value. The result is in force on the data plane when it returns;
// on an instance that does not run, once it is started.
func (c *Control) ModifyOptions(ctx context.Context, caller Caller, id string, change instance.MetadataOptions) (*state.Instance, error) {
	in, err := c.ownAsked(caller, id)
	if err != nil {
		return nil, err
	}
	a := ask{context: policy.Context{}}
	changeKeys(caller.Dialect, a.context, change)
	a.on(arn(caller, "instance", id), instanceKeys(caller.Dialect, in))
	a.changes = optionChanges(arn(caller, "instance", id), in, change)
	if err := c.permit(caller, a); err != nil {
		return nil, err
	}
	return c.change(ctx, caller, id, func(in *state.Instance) error { return c.changeOptions(caller, in, change) })
}

// changeOptions changes the options of an instance as far as the account of
// the caller, whose it is, permits it.
func (c *Control) changeOptions(caller Caller, in *state.Instance, change instance.MetadataOptions) error {
	id := in.Spec.ID
	if !alive(in) {
		return &Error{Reason: IncorrectState, Subject: id, Detail: in.Spec.State}
	}
	merge(&in.Spec.Metadata, change)
	if caller.Dialect == "ec2" {
		if in.Spec.Metadata.HTTPTokens != instance.Required && c.defaults(caller).HTTPTokensEnforced == instance.Enabled && change.HTTPTokens == instance.Optional {
			return refuse(TokensEnforced, id)
		}
		if in.Spec.Metadata.TagsShown() {
			if err := checkShownTags(in.Spec.Tags); err != nil {
				return err
			}
		}
	}
	in.OptionsPending = in.Spec.State != stateRunning
	return nil
}

// merge lays the members that are set over o.
func merge(o *instance.MetadataOptions, over instance.MetadataOptions) {
	if over.HTTPTokens != "" {
		o.HTTPTokens = over.HTTPTokens
	}
	if over.HTTPEndpoint != "" {
		o.HTTPEndpoint = over.HTTPEndpoint
	}
	if over.HTTPPutResponseHopLimit != 0 {
		o.HTTPPutResponseHopLimit = over.HTTPPutResponseHopLimit
	}
	if over.HTTPProtocolIPv6 != "" {
		o.HTTPProtocolIPv6 = over.HTTPProtocolIPv6
	}
	if over.InstanceMetadataTags != "" {
		o.InstanceMetadataTags = over.InstanceMetadataTags
	}
}

// resolve settles the options of a launch, each by itself: the service's
// default, over it what the image supports, the account's default, the launch
// template, and what was asked for (EC2 User Guide, order of precedence).
func resolve(dialect string, image *state.Image, d state.Defaults, template, asked instance.MetadataOptions) instance.MetadataOptions {
	o := instance.MetadataOptions{
		HTTPTokens: instance.Optional, HTTPEndpoint: instance.Enabled, HTTPProtocolIPv6: instance.Disabled, InstanceMetadataTags: instance.Disabled,
	}
	if dialect == "ec2" {
		o.HTTPPutResponseHopLimit = 1
		if image.ImdsSupport {
			o.HTTPTokens, o.HTTPPutResponseHopLimit = instance.Required, 2
		}
		merge(&o, instance.MetadataOptions{
			HTTPTokens: d.HTTPTokens, HTTPEndpoint: d.HTTPEndpoint, HTTPPutResponseHopLimit: d.HopLimit, InstanceMetadataTags: d.InstanceMetadataTags,
		})
	}
	merge(&o, template)
	merge(&o, asked)
	return o
}

// defaults returns the account's defaults of the caller's region.
func (c *Control) defaults(caller Caller) state.Defaults {
	if d, ok := c.db.Defaults.Get(state.Key(caller.Account, caller.Region)); ok {
		return *d
	}
	return state.Defaults{Account: caller.Account, Region: caller.Region}
}

// Defaults returns the account's defaults of the caller's region.
func (c *Control) Defaults(caller Caller) (state.Defaults, error) {
	if err := c.permit(caller, ask{}); err != nil {
		return state.Defaults{}, err
	}
	return c.defaults(caller), nil
}

// NoPreference takes an account default away.
const NoPreference = "no-preference"

// ModifyDefaults changes the account's defaults of the caller's region. Empty
// members, and a hop limit of 0, keep their value; NoPreference, and a hop
// limit of -1, take it away.
func (c *Control) ModifyDefaults(ctx context.Context, caller Caller, change state.Defaults) error {
	a := ask{context: policy.Context{}}
	changeKeys(caller.Dialect, a.context, instance.MetadataOptions{
		HTTPTokens: change.HTTPTokens, HTTPEndpoint: change.HTTPEndpoint,
		HTTPPutResponseHopLimit: change.HopLimit, InstanceMetadataTags: change.InstanceMetadataTags,
	})
	key := state.Key(caller.Account, caller.Region)
	now := c.defaults(caller)
	next := now
	mergeDefaults(&next, change)
	a.changes = differences(string(KindDefaults)+"/"+key, defaultSettings(now), defaultSettings(next))
	if err := c.permit(caller, a); err != nil {
		return err
	}
	return c.update(ctx, func(tx *state.Tx) error {
		d, ok, err := state.Load(tx, c.db.Defaults, key)
		if err != nil {
			return err
		}
		if !ok {
			d = &state.Defaults{Account: caller.Account, Region: caller.Region}
		}
		mergeDefaults(d, change)
		return state.Save(tx, c.db.Defaults, key, d)
	})
}

// mergeDefaults lays the members that are set over d.
func mergeDefaults(d *state.Defaults, over state.Defaults) {
	set := func(to *string, value string) {
		switch value {
		case "":
		case NoPreference:
			*to = ""
		default:
			*to = value
		}
	}
	set(&d.HTTPTokens, over.HTTPTokens)
	set(&d.HTTPEndpoint, over.HTTPEndpoint)
	set(&d.InstanceMetadataTags, over.InstanceMetadataTags)
	set(&d.HTTPTokensEnforced, over.HTTPTokensEnforced)
	switch {
	case over.HopLimit < 0:
		d.HopLimit = 0
	case over.HopLimit > 0:
		d.HopLimit = over.HopLimit
	}
}
