package control

import (
	"cmp"
	"slices"
	"strconv"

	"openimds/internal/instance"
	"openimds/internal/policy"
	"openimds/internal/state"
)

// arn names a resource of the caller's account and region.
func arn(caller Caller, kind, id string) string {
	if caller.Dialect == "ecs" {
		return "acs:ecs:" + caller.Region + ":" + caller.Account + ":" + kind + "/" + id
	}
	account := caller.Account
	if kind == "image" {
		account = "" // images belong to no account in names
	}
	return "arn:aws:ec2:" + caller.Region + ":" + account + ":" + kind + "/" + id
}

// Prefixes of the condition keys of metadata options.
const (
	currentEC2 = "ec2:Metadata"   // as they are, and at launch as asked for
	changeEC2  = "ec2:Attribute/" // as a change asks for
	changeECS  = "ecs:"           // as asked for, at launch and later
)

// optionKeys sets the condition keys of the options that are set.
func optionKeys(ctx policy.Context, prefix string, o instance.MetadataOptions) {
	set := func(key, value string) {
		if value != "" {
			ctx.Set(key, value)
		}
	}
	set(prefix+"HttpTokens", o.HTTPTokens)
	set(prefix+"HttpEndpoint", o.HTTPEndpoint)
	if o.HTTPPutResponseHopLimit != 0 {
		set(prefix+"HttpPutResponseHopLimit", strconv.Itoa(o.HTTPPutResponseHopLimit))
	}
	if prefix == currentEC2 {
		prefix = "ec2:" // the one key without Metadata before its name
	}
	set(prefix+"InstanceMetadataTags", o.InstanceMetadataTags)
}

// launchKeys are the condition keys of the options that a launch asks for.
func launchKeys(dialect string, ctx policy.Context, o instance.MetadataOptions) {
	if dialect == "ec2" {
		optionKeys(ctx, currentEC2, o)
		return
	}
	optionKeys(ctx, changeECS, o)
	ctx.Set(policy.KeyECSSecurityHardeningMode, strconv.FormatBool(o.TokensRequired()))
}

// changeKeys are those of the options that a change asks for.
func changeKeys(dialect string, ctx policy.Context, o instance.MetadataOptions) {
	if dialect == "ec2" {
		optionKeys(ctx, changeEC2, o)
		var names []string
		for name, set := range map[string]bool{
			"HttpTokens": o.HTTPTokens != "", "HttpEndpoint": o.HTTPEndpoint != "", "HttpPutResponseHopLimit": o.HTTPPutResponseHopLimit != 0,
			"HttpProtocolIpv6": o.HTTPProtocolIPv6 != "", "InstanceMetadataTags": o.InstanceMetadataTags != "",
		} {
			if set {
				names = append(names, name)
			}
		}
		if slices.Sort(names); len(names) > 0 {
			ctx.Set("ec2:Attribute", names...)
		}
		return
	}
	optionKeys(ctx, changeECS, o)
	if o.HTTPTokens != "" {
		ctx.Set(policy.KeyECSSecurityHardeningMode, strconv.FormatBool(o.TokensRequired()))
	}
}

// instanceKeys are the condition keys of an instance that exists.
func instanceKeys(dialect string, in *state.Instance) policy.Context {
	ctx := policy.Context{}
	if dialect == "ec2" {
		optionKeys(ctx, currentEC2, in.Spec.Metadata)
		ctx.Set("ec2:InstanceID", in.Spec.ID)
		ctx.Set("ec2:InstanceType", in.Spec.Type)
		ctx.Set("ec2:AvailabilityZone", in.Spec.Zone)
		ctx.Set("ec2:RootDeviceType", "ebs")
		ctx.Set("ec2:Tenancy", "default")
		ctx.Set("ec2:InstanceMarketType", marketOf(in.Spec.Lifecycle == "spot"))
		if r := in.Spec.Role; r != nil {
			ctx.Set("ec2:InstanceProfile", cmp.Or(r.ProfileARN, "arn:aws:iam::"+in.Spec.Account+":instance-profile/"+r.Name))
		}
	}
	resourceTags(dialect, ctx, in.Spec.Tags)
	return ctx
}

// resourceTags are the condition keys of the tags of a resource.
func resourceTags(dialect string, ctx policy.Context, tags map[string]string) {
	prefixes := []string{"aws:ResourceTag/", "ec2:ResourceTag/"}
	if dialect == "ecs" {
		prefixes = []string{"ecs:tag/", "acs:ResourceTag/"} // POL-KEY-10
	}
	for _, prefix := range prefixes {
		for k, v := range tags {
			ctx.Set(prefix+k, v)
		}
	}
}

// requestTags are the condition keys of tags in a request.
func requestTags(dialect string, ctx policy.Context, tags map[string]string) {
	if len(tags) == 0 {
		return
	}
	prefix, keys := "aws:RequestTag/", make([]string, 0, len(tags))
	if dialect == "ecs" {
		prefix = "acs:RequestTag/"
	}
	for k, v := range tags {
		ctx.Set(prefix+k, v)
		keys = append(keys, k)
	}
	slices.Sort(keys)
	if dialect == "ec2" {
		ctx.Set("aws:TagKeys", keys...)
	}
}
