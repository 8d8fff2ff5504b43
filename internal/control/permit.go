package control

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"openimds/internal/policy"
	"openimds/internal/state"
)

// ask is what a use case asks of the policies.
type ask struct {
	resources []string
	contexts  []policy.Context // of the resource with the same index
	context   policy.Context
	also      []included
	free      bool          // nobody needs a permission for it
	trusted   func() string // what else is against it; empty: nothing
	changes   []Change      // what it sets, for the audit log
}

// included is a further action that a call takes part in and that must be
// allowed by itself, such as passing a role at a launch.
type included struct {
	action, resource string
	context          policy.Context
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
	why, action, resources := "the operator", caller.ActionName(), slices.Clone(a.resources)
	for _, part := range a.also {
		if !slices.Contains(resources, part.resource) {
			resources = append(resources, part.resource)
		}
	}
	switch {
	case caller.Admin:
	case a.free:
		why = "nobody needs a permission for it"
	default:
		layers, err := c.layers(caller)
		if err != nil {
			return err
		}
		shared := c.shared(caller)
		for key, values := range a.context {
			shared[key] = values
		}
		decision = policy.Evaluate(layers, policy.Request{
			Action: action, Resources: a.resources, Context: shared, ResourceContext: a.contexts,
		})
		for _, part := range a.also {
			if !decision.Allowed {
				break
			}
			own := maps.Clone(shared)
			maps.Copy(own, part.context)
			if d := policy.Evaluate(layers, policy.Request{Action: part.action, Resources: []string{part.resource}, Context: own}); !d.Allowed {
				decision, action = d, part.action
			}
		}
		why = decision.String()
		if a.trusted != nil && decision.Allowed {
			if problem := a.trusted(); problem != "" {
				decision, why = policy.Decision{}, problem
			}
		}
	}
	entry := Entry{Time: c.cfg.Now().UTC(), Caller: caller, Resources: resources, Allowed: decision.Allowed,
		Decision: why, Reason: decision.Reason.String(), Policy: decision.Policy, Sid: decision.Sid}
	if entry.Allowed && !caller.DryRun {
		entry.Changes = a.changes
	}
	if err := c.cfg.Audit(entry); err != nil {
		if !reads(caller.Action) {
			c.log.Error("a call could not be recorded and was refused", "action", caller.Action, "err", err)
			return &Error{Reason: Unavailable, Detail: "the audit log cannot be written", Err: err}
		}
		// Who must see what there is, so as to mend the disk, can.
		c.log.Error("a call that only reads could not be recorded", "action", caller.Action, "principal", caller.ARN(), "err", err)
	}
	switch {
	case !decision.Allowed:
		return &Error{Reason: Denied, Subject: action, Detail: why}
	case caller.DryRun:
		return &Error{Reason: DryRun}
	}
	return nil
}

// reads reports whether an action changes nothing and gives out no credentials.
func reads(action string) bool {
	for _, verb := range []string{"Describe", "List", "Query"} {
		if strings.HasPrefix(action, verb) {
			return true
		}
	}
	return strings.HasPrefix(action, "Get") && !strings.HasSuffix(action, "Token")
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
	if caller.Session != nil {
		var err error
		if l.Session, err = caller.Session.narrow(caller.Dialect); err != nil {
			return l, err
		}
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
		ctx.Set("acs:PrincipalARN", caller.principalARN())
		if caller.SourceIP.IsValid() {
			ctx.Set("acs:SourceIp", caller.SourceIP.String())
		}
		if caller.Session != nil {
			caller.Session.keys(ctx, caller)
		}
		return ctx
	}
	ctx.Set("aws:CurrentTime", now.Format(time.RFC3339))
	ctx.Set("aws:EpochTime", strconv.FormatInt(now.Unix(), 10))
	ctx.Set("aws:SecureTransport", "false")
	ctx.Set("aws:PrincipalArn", caller.principalARN())
	ctx.Set("aws:PrincipalAccount", caller.Account)
	ctx.Set("aws:PrincipalType", "User")
	if caller.Session != nil {
		caller.Session.keys(ctx, caller)
	} else {
		ctx.Set("aws:username", caller.User)
	}
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
