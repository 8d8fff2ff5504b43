package control

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"openimds/internal/instance"
	"openimds/internal/policy"
	"openimds/internal/state"
)

// ask is what a use case asks of the policies.
type ask struct {
	resources []string
	contexts  []policy.Context // of the resource with the same index
	context   policy.Context
}

// on adds a resource.
func (a *ask) on(arn string, context policy.Context) {
	a.resources = append(a.resources, arn)
	a.contexts = append(a.contexts, context)
}

// permit is where every call is authorised and recorded. It returns nil when
// the call may go on; Reason DryRun when it only wanted to know.
func (c *Control) permit(caller Caller, a ask) error {
	decision := policy.Decision{Allowed: true, Reason: policy.Allow}
	why := "the operator"
	if !caller.Admin {
		layers, err := c.layers(caller)
		if err != nil {
			return err
		}
		shared := c.shared(caller)
		for key, values := range a.context {
			shared[key] = values
		}
		decision = policy.Evaluate(layers, policy.Request{
			Action: caller.Dialect + ":" + caller.Action, Resources: a.resources, Context: shared, ResourceContext: a.contexts,
		})
		why = decision.String()
	}
	entry := Entry{Time: c.cfg.Now().UTC(), Caller: caller, Resources: a.resources, Allowed: decision.Allowed,
		Decision: why, Reason: decision.Reason.String(), Policy: decision.Policy, Sid: decision.Sid}
	if err := c.cfg.Audit(entry); err != nil {
		c.log.Error("a call could not be recorded and was refused", "action", caller.Action, "err", err)
		return &Error{Reason: Unavailable, Detail: "the audit log cannot be written", Err: err}
	}
	switch {
	case !decision.Allowed:
		return &Error{Reason: Denied, Subject: caller.Dialect + ":" + caller.Action, Detail: why}
	case caller.DryRun:
		return &Error{Reason: DryRun}
	}
	return nil
}

// isDryRun reports whether err says that the call may go on but only wanted to
// know.
func isDryRun(err error) bool {
	refused, ok := errors.AsType[*Error](err)
	return ok && refused.Reason == DryRun
}

// layers finds the policies that bear on a caller.
func (c *Control) layers(caller Caller) (policy.Layers, error) {
	var l policy.Layers
	for _, p := range c.db.Policies.All(func(p *state.Policy) bool { return p.Dialect == caller.Dialect }) {
		attached := slices.Contains(caller.Policies, p.Name)
		if !p.Guard && !attached {
			continue
		}
		compiled, err := c.compile(p)
		if err != nil {
			return l, err
		}
		if p.Guard {
			l.Guards = append(l.Guards, compiled)
		} else {
			l.Identity = append(l.Identity, compiled)
		}
	}
	if len(l.Guards) > 0 {
		// A guard limits what policies allow, and allows nothing itself.
		l.Guards = append(l.Guards, policy.FullAccess(Language(caller.Dialect)))
	}
	return l, nil
}

// Language returns the language of a dialect's policies.
func Language(dialect string) policy.Language {
	if dialect == "ecs" {
		return policy.RAM
	}
	return policy.IAM
}

// compile parses a policy once.
func (c *Control) compile(p *state.Policy) (*policy.Policy, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if done := c.parsed[p]; done != nil {
		return done, nil
	}
	compiled, err := policy.Parse([]byte(p.Document), Language(p.Dialect))
	if err != nil {
		return nil, err
	}
	compiled.Name = p.Name
	if len(c.parsed) > 10_000 {
		clear(c.parsed) // replaced policies stay behind otherwise
	}
	c.parsed[p] = compiled
	return compiled, nil
}

// shared are the keys that every request has.
func (c *Control) shared(caller Caller) policy.Context {
	now := c.cfg.Now().UTC()
	ctx := policy.Context{}
	if caller.Dialect == "ecs" {
		ctx.Set("acs:CurrentTime", now.Format(time.RFC3339))
		ctx.Set("acs:SecureTransport", "false")
		ctx.Set("acs:PrincipalARN", caller.ARN())
		if caller.SourceIP.IsValid() {
			ctx.Set("acs:SourceIp", caller.SourceIP.String())
		}
		return ctx
	}
	ctx.Set("aws:CurrentTime", now.Format(time.RFC3339))
	ctx.Set("aws:EpochTime", strconv.FormatInt(now.Unix(), 10))
	ctx.Set("aws:SecureTransport", "false")
	ctx.Set("aws:PrincipalArn", caller.ARN())
	ctx.Set("aws:PrincipalAccount", caller.Account)
	ctx.Set("aws:PrincipalType", "User")
	ctx.Set("aws:username", caller.User)
	ctx.Set("aws:RequestedRegion", caller.Region)
	ctx.Set("ec2:Region", caller.Region)
	if caller.UserAgent != "" {
		ctx.Set("aws:UserAgent", caller.UserAgent)
	}
	if caller.SourceIP.IsValid() {
		ctx.Set("aws:SourceIp", caller.SourceIP.String())
	}
	return ctx
}

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
	tagPrefix := "aws:ResourceTag/"
	if dialect == "ecs" {
		tagPrefix = "ecs:tag/"
	} else {
		optionKeys(ctx, currentEC2, in.Spec.Metadata)
		ctx.Set("ec2:InstanceType", in.Spec.Type)
		ctx.Set("ec2:AvailabilityZone", in.Spec.Zone)
	}
	for k, v := range in.Spec.Tags {
		ctx.Set(tagPrefix+k, v)
		if dialect == "ec2" {
			ctx.Set("ec2:ResourceTag/"+k, v)
		}
	}
	return ctx
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
