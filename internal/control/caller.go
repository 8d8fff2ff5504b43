// Package control holds the use cases of the control plane: launch, start,
// stop, change the metadata options, tag, give a role. Each of them authorises
// and audits in one call, validates, and commits once; when it returns, what it
// changed is in force on the data plane of this process. The cloud APIs and the
// admin API decode into its inputs and encode its results and reasons.
package control

import (
	"net/netip"
)

// Caller is who makes a call, and how. An API makes it from a request whose
// signature it has verified.
type Caller struct {
	// Dialect is the cloud whose API was called: ecs or ec2.
	Dialect string
	// Account, User and AccessKeyID of the key that signed.
	Account, User, AccessKeyID string
	// Region that the call is for.
	Region string
	// Session is what temporary credentials say; nil: the key is a long-term one, of a user.
	Session *Session
	// Service whose action is called, as policies name it; empty: the dialect's name.
	Service string
	// Agent is a service of the cloud that calls for an instance, such as ec2.amazonaws.com. It is no principal of an account.
	Agent string
	// Policies are the names of the policies attached to the key or the session's role; Admin needs none: the operator's own interface.
	Policies []string
	Admin    bool
	// Action is the API's name of the action, such as RunInstances.
	Action string
	// RequestID, SourceIP and UserAgent are for the audit log; SourceIP also for policies.
	RequestID string
	SourceIP  netip.Addr
	UserAgent string
	// DryRun checks everything and changes nothing: the answer is Reason DryRun.
	DryRun bool
}

// ARN returns the principal's name in policies and in the audit log.
func (c Caller) ARN() string {
	switch {
	case c.Admin && c.User != "":
		return "admin/" + c.User
	case c.Admin:
		return "admin"
	case c.Agent != "":
		return c.Agent
	case c.Session != nil && c.Dialect == "ecs":
		return "acs:sts::" + c.Account + ":assumed-role/" + c.Session.Role + "/" + c.Session.Name
	case c.Session != nil:
		return "arn:aws:sts::" + c.Account + ":assumed-role/" + c.Session.Role + "/" + c.Session.Name
	}
	if c.Dialect == "ecs" {
		return "acs:ram::" + c.Account + ":user/" + c.User
	}
	return "arn:aws:iam::" + c.Account + ":user/" + c.User
}

// ActionName returns the action with its service, as policies and the audit
// log name it.
func (c Caller) ActionName() string {
	if c.Service != "" {
		return c.Service + ":" + c.Action
	}
	return c.Dialect + ":" + c.Action
}

// principalARN returns the principal as conditions see it: of a session, its
// role (POL-KEY-05).
func (c Caller) principalARN() string {
	if c.Session != nil {
		return roleARN(c, c.Session.Role)
	}
	return c.ARN()
}

// roleARN names a role of the caller's account.
func roleARN(c Caller, name string) string {
	if c.Dialect == "ecs" {
		return "acs:ram::" + c.Account + ":role/" + name
	}
	return "arn:aws:iam::" + c.Account + ":role/" + name
}
