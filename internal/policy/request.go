package policy

import (
	"strconv"
	"strings"
)

// Values are the values of one condition key. Most keys have one; a key
// without values is absent (POL-COND-05).
type Values []string

// Context holds what is known of a request, by condition key in lower case:
// "aws:username", "ec2:metadatahttptokens". Numbers and booleans are written
// as text, times as RFC 3339 or in Unix seconds.
type Context map[string]Values

// Set sets a key, in any case of letters, to one or more values. Without
// values the key becomes absent.
func (c Context) Set(key string, values ...string) {
	if len(values) == 0 {
		delete(c, strings.ToLower(key))
		return
	}
	c[strings.ToLower(key)] = values
}

// Request is what somebody wants to do.
type Request struct {
	// Action is the action with its service, such as "ec2:RunInstances".
	Action string
	// Resources are the resources of the call, each of which must be allowed.
	// None means a call that names no resource, which is the same as "*".
	Resources []string
	// Context is what is known of caller, connection and parameters.
	Context Context
	// ResourceContext holds, for the resource with the same index, keys that
	// exist with that resource only. They come before Context. It may be
	// shorter than Resources, or nil.
	ResourceContext []Context
}

// Layers are the policies that bear on a request. A Deny anywhere refuses; an
// Allow is needed in every layer that is there.
type Layers struct {
	// Guards bind the whole account, whoever calls: what EC2 calls service
	// control policies and ECS control policies. With none there is no such
	// layer. With any, one of them must allow: an account has FullAccess among
	// them unless they are meant as a list of what is allowed (POL-EVAL-04).
	Guards []*Policy
	// Identity are the policies of the caller. With none, nothing is allowed.
	Identity []*Policy
	// Session are policies that were given with temporary credentials and
	// narrow them. Nil: no such layer. Empty and not nil: nothing is allowed.
	Session []*Policy
}

// Layer says where a policy is attached.
type Layer uint8

// The layers, in the order in which they are looked at.
const (
	Guards Layer = iota
	Identity
	Session
)

// String returns the name of the layer.
func (l Layer) String() string {
	switch l {
	case Guards:
		return "guard"
	case Identity:
		return "identity"
	case Session:
		return "session"
	}
	return "layer " + strconv.Itoa(int(l))
}

// Reason is why a request is allowed or refused.
type Reason uint8

// The reasons. The zero value refuses.
const (
	ImplicitDeny Reason = iota // nothing in some layer allows it
	ExplicitDeny               // a statement denies it
	Allow                      // every layer allows it, and nothing denies it
)

// String returns the reason in words.
func (r Reason) String() string {
	switch r {
	case ImplicitDeny:
		return "implicit deny"
	case ExplicitDeny:
		return "explicit deny"
	case Allow:
		return "allow"
	}
	return "reason " + strconv.Itoa(int(r))
}

// Decision is the answer to a Request. The zero value refuses.
type Decision struct {
	// Allowed reports whether the request may proceed: Reason is Allow.
	Allowed bool
	Reason  Reason
	// Layer is where the statement stands; for an implicit deny, the first
	// layer that lacks an Allow.
	Layer Layer
	// Resource is the first resource that is refused; for an Allow the first
	// one of the request.
	Resource string
	// Policy is the Name of the policy that decided, Statement the index of
	// its statement, Sid the statement's id and Condition its conditions, as
	// operators and keys without values. An implicit deny has none of them,
	// and Statement -1. For an Allow they are those of the identity's policy.
	Policy    string
	Statement int
	Sid       string
	Condition string
}

// String explains the decision in a line, without values of the request other
// than the resource.
func (d Decision) String() string {
	if d.Reason == ImplicitDeny {
		return "implicit deny: no " + d.Layer.String() + " policy allows it on " + strconv.Quote(d.Resource)
	}
	var b strings.Builder
	b.WriteString(d.Reason.String() + " by " + d.Layer.String() + " policy " + strconv.Quote(d.Policy) + ", statement " + strconv.Itoa(d.Statement))
	if d.Sid != "" {
		b.WriteString(" (" + d.Sid + ")")
	}
	if d.Condition != "" {
		b.WriteString(", if " + d.Condition)
	}
	b.WriteString(", on " + strconv.Quote(d.Resource))
	return b.String()
}
