package control

import (
	"strconv"

	"openimds/internal/instance"
	"openimds/internal/policy"
	"openimds/internal/state"
)

// tagging adds that a call which makes a resource tags it: that needs a
// permission of its own (POL-KEY-13).
func (a *ask) tagging(caller Caller, kind string, tags map[string]string) {
	if len(tags) == 0 || caller.Dialect != "ec2" {
		return
	}
	ctx := policy.Context{}
	requestTags(caller.Dialect, ctx, tags)
	ctx.Set("ec2:CreateAction", caller.Action)
	a.also = append(a.also, included{action: "ec2:CreateTags", resource: arn(caller, kind, "*"), context: ctx})
}

// passing adds that a call hands a role to an instance (POL-KEY-14).
func (a *ask) passing(caller Caller, role string) {
	if role == "" {
		return
	}
	part := included{action: "iam:PassRole", resource: roleARN(caller, role), context: policy.Context{}}
	part.context.Set("iam:PassedToService", "ec2.amazonaws.com")
	if caller.Dialect == "ecs" {
		part.action, part.context = "ram:PassRole", policy.Context{}
		part.context.Set("acs:Service", "ecs.aliyuncs.com")
	}
	a.also = append(a.also, part)
}

// askLaunch is what a launch asks: about the instance, with the options as they
// were asked for, and about everything else that it is made of.
func (c *Control) askLaunch(caller Caller, image *state.Image, l Launch, asked instance.MetadataOptions) ask {
	a := ask{}
	a.passing(caller, l.Role)
	a.tagging(caller, "instance", l.Tags)
	own := policy.Context{}
	launchKeys(caller.Dialect, own, asked)
	requestTags(caller.Dialect, own, l.Tags)
	if caller.Dialect == "ecs" {
		a.on(arn(caller, "instance", "*"), own)
		a.on(arn(caller, "image", l.Image), imageKeys(caller, image))
		return a
	}
	place := c.cfg.Places[caller.Dialect]
	zone := l.Zone
	if zone == "" {
		zone = place.Zone
	}
	on := func(kind, id string, ctx policy.Context) {
		if ctx == nil {
			ctx = policy.Context{}
		}
		if l.From != nil {
			ctx.Set("ec2:LaunchTemplate", arn(caller, "launch-template", l.From.ID))
		}
		ctx.Set("ec2:IsLaunchTemplateResource", strconv.FormatBool(l.From != nil && !l.Overridden[kind]))
		a.on(arn(caller, kind, id), ctx)
	}
	own.Set("ec2:InstanceType", l.Type)
	own.Set("ec2:AvailabilityZone", zone)
	own.Set("ec2:RootDeviceType", "ebs")
	own.Set("ec2:Tenancy", "default")
	own.Set("ec2:InstanceMarketType", marketOf(l.Spot))
	if l.Role != "" {
		own.Set("ec2:InstanceProfile", profileARN(caller, l.Role))
	}
	on("instance", "*", own)
	on("image", l.Image, imageKeys(caller, image))
	inZone := func() policy.Context {
		ctx := policy.Context{}
		ctx.Set("ec2:AvailabilityZone", zone)
		ctx.Set("ec2:Vpc", arn(caller, "vpc", place.VPC.ID))
		return ctx
	}
	wanted := l.Interfaces
	if len(wanted) == 0 {
		wanted = []NewInterface{{}}
	}
	for _, n := range wanted {
		if n.Existing != "" {
			on("network-interface", n.Existing, nil)
			continue
		}
		subnet := n.Subnet
		if subnet == "" {
			subnet = place.Subnet.ID
		}
		ctx := inZone()
		ctx.Set("ec2:Subnet", arn(caller, "subnet", subnet))
		on("network-interface", "*", ctx)
		ctx = inZone()
		ctx.Set("ec2:SubnetID", subnet)
		on("subnet", subnet, ctx)
		groups := n.SecurityGroups
		for _, g := range place.SecurityGroups {
			if len(n.SecurityGroups) == 0 {
				groups = append(groups, g.ID)
			}
		}
		for _, g := range groups {
			ctx := policy.Context{}
			ctx.Set("ec2:SecurityGroupID", g)
			ctx.Set("ec2:Vpc", arn(caller, "vpc", place.VPC.ID))
			on("security-group", g, ctx)
		}
	}
	volume := policy.Context{}
	volume.Set("ec2:AvailabilityZone", zone)
	on("volume", "*", volume)
	if l.KeyName != "" {
		ctx := policy.Context{}
		ctx.Set("ec2:KeyPairName", l.KeyName)
		on("key-pair", l.KeyName, ctx)
	}
	if l.From != nil {
		ctx := policy.Context{}
		resourceTags(caller.Dialect, ctx, l.From.Tags)
		on("launch-template", l.From.ID, ctx)
	}
	return a
}

func marketOf(spot bool) string {
	if spot {
		return "spot"
	}
	return "on-demand"
}

// imageKeys are the condition keys of an image.
func imageKeys(caller Caller, image *state.Image) policy.Context {
	ctx := policy.Context{}
	resourceTags(caller.Dialect, ctx, image.Tags)
	if caller.Dialect == "ec2" {
		ctx.Set("ec2:ImageID", image.ID)
		ctx.Set("ec2:ImageType", "machine")
		ctx.Set("ec2:Owner", image.Account)
		ctx.Set("ec2:RootDeviceType", "ebs")
		ctx.Set("ec2:Public", strconv.FormatBool(image.Account != caller.Account))
	}
	return ctx
}
