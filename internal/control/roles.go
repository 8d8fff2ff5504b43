package control

import (
	"context"

	"openimds/internal/instance"
	"openimds/internal/state"
)

func roleKey(caller Caller, name string) string {
	return state.Key(caller.Dialect, caller.Account, name)
}

// Role returns a role of the caller's account.
func (c *Control) Role(caller Caller, name string) (*state.Role, error) {
	r, ok := c.db.Roles.Get(roleKey(caller, name))
	if !ok {
		return nil, refuse(RoleNotFound, name)
	}
	return r, nil
}

// SetRole gives an instance a role, or with an empty name takes it away. Where
// replace is false, an instance that has a role keeps it and the call is
// refused.
func (c *Control) SetRole(ctx context.Context, caller Caller, id, name string, replace bool) (*state.Instance, error) {
	in, err := c.own(caller, id)
	if err != nil {
		return nil, err
	}
	a := ask{}
	keys := instanceKeys(caller.Dialect, in)
	if in.Spec.Role != nil && caller.Dialect == "ec2" {
		keys.Set("ec2:InstanceProfile", profileARN(caller, in.Spec.Role.Name))
	}
	if name != "" && caller.Dialect == "ec2" {
		keys.Set("ec2:NewInstanceProfile", profileARN(caller, name))
	}
	a.on(arn(caller, "instance", id), keys)
	if err := c.permit(caller, a); err != nil {
		return nil, err
	}
	var role *state.Role
	if name != "" {
		if role, err = c.Role(caller, name); err != nil {
			return nil, err
		}
	}
	return c.change(ctx, caller, id, func(in *state.Instance) error {
		switch {
		case !alive(in):
			return &Error{Reason: IncorrectState, Subject: id, Detail: in.Spec.State}
		case role == nil:
			in.Spec.Role, in.Association = nil, ""
		case in.Spec.Role != nil && !replace:
			return refuse(RoleAttached, id)
		default:
			in.Spec.Role = &instance.Role{Name: role.Name, ProfileID: role.ProfileID}
			in.Association = "iip-assoc-" + c.hex(17)
		}
		return nil
	})
}

func profileARN(caller Caller, name string) string {
	return "arn:aws:iam::" + caller.Account + ":instance-profile/" + name
}
