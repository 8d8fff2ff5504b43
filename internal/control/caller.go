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
	// Policies are the names of the policies attached to the key; Admin needs none: the operator's own interface.
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
	if c.Admin {
		return "admin"
	}
	if c.Dialect == "ecs" {
		return "acs:ram::" + c.Account + ":user/" + c.User
	}
	return "arn:aws:iam::" + c.Account + ":user/" + c.User
}
