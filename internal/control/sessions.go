package control

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/policy"
	"openimds/internal/session"
	"openimds/internal/state"
)

// InstanceSession is how long the credentials live that an instance is given
// (EC2-CRED-09, ECS-CRED-04).
const InstanceSession = 6 * time.Hour

// longestSession bounds every session: revocations are kept for longer.
const longestSession = 12 * time.Hour

// Session is what is known of a caller with temporary credentials.
type Session struct {
	// Role, and the session's name: of an instance, its id.
	Role, Name string
	// RoleID is the unique id of the role.
	RoleID          string
	Issued, Expires time.Time
	// Instance that the credentials were delivered to; nil: they were got by AssumeRole.
	Instance *session.Instance

	policy string         // narrows what the role may do; empty: nothing does
	links  []session.Link // what can end it, and a session that it begins
}

// services that stand for instances where a role is trusted and in the audit
// log, by dialect.
var services = map[string]string{"ec2": "ec2.amazonaws.com", "ecs": "ecs.aliyuncs.com"}

// InstanceCredentials makes the credentials of an instance's role, which carry
// how they are delivered: session.TokenFree or session.Tokened. An instance
// without role, or one that is not running, is fault.NotFound; a role that does
// not exist or does not trust instances is fault.Denied, and so is the
// token-free delivery where tokens are required (EC2-CRED-07).
func (c *Control) InstanceCredentials(id, delivery string) (*instance.Credentials, error) {
	in, ok := c.db.Instances.Get(id)
	if !ok || in.Spec.Role == nil || !alive(in) {
		return nil, fault.New(fault.NotFound, "instance %.64q has no role", id)
	}
	spec := &in.Spec
	if delivery != session.Tokened && spec.Metadata.TokensRequired() {
		return nil, fault.New(fault.Denied, "instance %s gets credentials by requests with a token alone", id)
	}
	caller := Caller{Dialect: spec.Dialect, Account: spec.Account, Region: spec.Region, Agent: services[spec.Dialect], Service: "sts", Action: "AssumeRole"}
	role, ok := c.db.Roles.Get(roleKey(caller, spec.Role.Name))
	why := ""
	switch {
	case !ok:
		why = "there is no such role"
	case role.TrustNoInstances:
		why = "the role does not trust " + caller.Agent
	}
	c.recordAgent(caller, roleARN(caller, spec.Role.Name), why)
	if why != "" {
		return nil, fault.New(fault.Denied, "instance %s cannot have role %s: %s", id, spec.Role.Name, why)
	}
	if len(role.Sealed) > 0 {
		return c.staticCredentials(role)
	}
	now := c.cfg.Now().UTC()
	claims := c.claims(role, id, now, InstanceSession)
	claims.Instance = &session.Instance{ID: id, ARN: arn(caller, "instance", id), Delivery: delivery}
	if f := spec.Primary(); len(f.IPv4) > 0 {
		claims.Instance.VPC, claims.Instance.IPv4 = f.VPC.ID, f.IPv4[0]
	} else {
		claims.Instance.VPC = f.VPC.ID
	}
	claims.InstanceEpoch = c.epoch(state.Revocation{Dialect: spec.Dialect, Account: spec.Account, Instance: id})
	return session.Issue(c.cfg.Secrets, claims, c.cfg.Random)
}

// recordAgent records that an instance was given a session of a role, or why
// not. A log that cannot be written does not keep it from the instance: what
// is called with it is recorded, or refused.
func (c *Control) recordAgent(caller Caller, role, problem string) {
	e := Entry{Time: c.cfg.Now().UTC(), Caller: caller, Resources: []string{role}, Allowed: problem == "", Decision: "the role trusts instances", Reason: policy.Allow.String()}
	if problem != "" {
		e.Decision, e.Reason = problem, policy.ImplicitDeny.String()
	}
	if err := c.cfg.Audit(e); err != nil {
		c.log.Error("credentials of an instance could not be recorded", "role", role, "err", err)
	}
}

// claims are those of a new session of a role.
func (c *Control) claims(r *state.Role, name string, now time.Time, life time.Duration) session.Claims {
	now = now.Truncate(time.Second) // clients see whole seconds
	return session.Claims{
		Dialect: r.Dialect, Account: r.Account, Role: r.Name, Name: name, Issued: now, Expires: now.Add(life), Born: r.Created.UnixNano(),
		RoleEpoch: c.epoch(state.Revocation{Dialect: r.Dialect, Account: r.Account, Role: r.Name}),
	}
}

// epoch returns the revocation in force of what r names; 0: none.
func (c *Control) epoch(r state.Revocation) int64 {
	if found, ok := c.db.Revocations.Get(r.Key()); ok {
		return found.Epoch
	}
	return 0
}

// sessionPrincipal is Principal for a session's access key.
func (c *Control) sessionPrincipal(dialect, accessKeyID, token string) (secret string, caller Caller, err error) {
	secret, claims, err := session.Open(c.cfg.Secrets, dialect, accessKeyID, token, c.cfg.Now())
	switch {
	case errors.Is(err, session.ErrExpired):
		return "", Caller{}, &Error{Reason: SessionExpired, Subject: accessKeyID}
	case err != nil:
		return "", Caller{}, fault.New(fault.Unauthenticated, "access key %.40q is not known", accessKeyID)
	}
	caller = Caller{Dialect: dialect, Account: claims.Account, AccessKeyID: accessKeyID}
	links := claims.Links()
	if slices.ContainsFunc(links, func(l session.Link) bool { return c.ended(dialect, l) }) {
		return "", Caller{}, &Error{Reason: SessionRevoked, Subject: accessKeyID}
	}
	role, ok := c.db.Roles.Get(roleKey(caller, claims.Role))
	if !ok || role.Created.UnixNano() != claims.Born {
		return "", Caller{}, &Error{Reason: SessionRevoked, Subject: accessKeyID}
	}
	caller.Policies = role.Policies
	caller.Session = &Session{
		Role: claims.Role, Name: claims.Name, RoleID: roleID(role), Issued: claims.Issued, Expires: claims.Expires,
		Instance: claims.Instance, policy: claims.Policy, links: links,
	}
	return secret, caller, nil
}

// ended reports whether the role of a session is gone, or a revocation came
// after the session began. The clocks of replicas play no part: a session knows
// the last one before it.
func (c *Control) ended(dialect string, l session.Link) bool {
	role, ok := c.db.Roles.Get(state.Key(dialect, l.Account, l.Role))
	return !ok || role.Created.UnixNano() != l.Born ||
		c.epoch(state.Revocation{Dialect: dialect, Account: l.Account, Role: l.Role}) > l.RoleEpoch ||
		l.Instance != "" && c.epoch(state.Revocation{Dialect: dialect, Account: l.Account, Instance: l.Instance}) > l.InstanceEpoch
}

// keys sets the condition keys that a session has beside those of every
// caller (POL-KEY-03, POL-KEY-04, POL-KEY-15, POL-KEY-16).
func (s *Session) keys(ctx policy.Context, caller Caller) {
	if caller.Dialect == "ecs" {
		// They are ours here: the vendor has no such keys.
		if s.Instance != nil {
			ctx.Set("ecs:RoleDelivery", s.Instance.Delivery)
			ctx.Set("ecs:SourceInstanceARN", s.Instance.ARN)
		}
		return
	}
	ctx.Set("aws:PrincipalType", "AssumedRole")
	ctx.Set("aws:userid", s.RoleID+":"+s.Name)
	ctx.Set("aws:TokenIssueTime", s.Issued.UTC().Format(time.RFC3339))
	ctx.Set("sts:RoleSessionName", s.Name)
	if s.Instance == nil {
		return
	}
	ctx.Set("ec2:RoleDelivery", s.Instance.Delivery)
	ctx.Set("ec2:SourceInstanceARN", s.Instance.ARN)
	if s.Instance.VPC != "" {
		ctx.Set("aws:Ec2InstanceSourceVpc", s.Instance.VPC)
	}
	if s.Instance.IPv4.IsValid() {
		ctx.Set("aws:Ec2InstanceSourcePrivateIPv4", s.Instance.IPv4.String())
	}
}

// narrow returns the session's own policy as a layer; nil: it has none.
func (s *Session) narrow(dialect string) ([]*policy.Policy, error) {
	if s.policy == "" {
		return nil, nil
	}
	p, err := policy.Parse([]byte(s.policy), Language(dialect))
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "read the policy of a session") // it was parsed when the session began
	}
	p.Name = "session policy of " + strconv.Quote(s.Name)
	return []*policy.Policy{p}, nil
}
