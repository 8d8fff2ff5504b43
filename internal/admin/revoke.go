package admin

import (
	"openimds/internal/fault"
	"openimds/internal/state"
)

// Revocation names whose sessions end: an instance's, or a role's.
type Revocation struct {
	// Instance whose credentials end that it got from its metadata service.
	Instance string `json:"instance,omitempty"`
	// Role all of whose sessions end, as `DIALECT/ACCOUNT/NAME`.
	Role string `json:"role,omitempty"`
}

func revokeRoute() route {
	return taking(route{
		method: "POST", path: "/v1/revocations", id: "revoke",
		doc: "End the sessions of a role, or those of an instance. In force when the answer comes; instances get new credentials at their next request",
	}, (*call).revoke)
}

func (c *call) revoke(in *Revocation) (Revocation, error) {
	caller := c.caller
	switch {
	case (in.Instance == "") == (in.Role == ""):
		return Revocation{}, fault.New(fault.Invalid, "instance, role: give one of them")
	case in.Instance != "":
		return *in, c.Control.RevokeInstance(c.Context(), caller, in.Instance)
	}
	var name string
	var ok bool
	if caller.Dialect, caller.Account, name, ok = state.CutKey(in.Role); !ok {
		return Revocation{}, fault.New(fault.Invalid, "role: found %.64q, expected DIALECT/ACCOUNT/NAME", in.Role)
	}
	return *in, c.Control.RevokeRole(c.Context(), caller, name)
}
