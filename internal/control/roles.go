package control

import (
	"context"

	"openimds/internal/instance"
	"openimds/internal/policy"
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
	done, err := c.SetRoles(ctx, caller, RoleChange{IDs: []string{id}, Role: name, Replace: replace})
	if err != nil {
		return nil, err
	}
	return done[0].After, nil
}

// RoleChange gives instances a role.
type RoleChange struct {
	IDs []string
	// Role by name; empty: none.
	Role string
	// Replace takes away the role that an instance has; otherwise it keeps that one and is refused.
	Replace bool
	// Only the instances that have a role, of this name if it is not empty, lose theirs.
	Only *string
	// Lenient changes those that can be changed, and says of the others why not.
	Lenient bool
}

// SetRoles gives instances a role, in one commit.
func (c *Control) SetRoles(ctx context.Context, caller Caller, change RoleChange) ([]Outcome, error) {
	a, err := c.about(caller, change.IDs, change.Lenient, func(in *state.Instance, keys policy.Context) {
		if change.Role != "" && caller.Dialect == "ec2" {
			keys.Set("ec2:NewInstanceProfile", profileARN(caller, change.Role))
		}
	})
	if err != nil {
		return nil, err
	}
	a.passing(caller, change.Role)
	for i, id := range change.IDs {
		if in, err := c.own(caller, id); err == nil {
			a.changes = append(a.changes, differences(a.resources[i], []setting{{"role", roleOf(in)}}, []setting{{"role", change.Role}})...)
		}
	}
	if err := c.permit(caller, a); err != nil {
		return nil, err
	}
	var role *state.Role
	if change.Role != "" {
		if role, err = c.Role(caller, change.Role); err != nil {
			return nil, err
		}
	}
	return c.commit(ctx, caller, change.IDs, change.Lenient, func(_ *state.Tx, in *state.Instance) error {
		switch {
		case !alive(in):
			return &Error{Reason: IncorrectState, Subject: in.Spec.ID, Detail: in.Spec.State}
		case change.Only != nil && (in.Spec.Role == nil || *change.Only != "" && *change.Only != in.Spec.Role.Name):
			return refuse(RoleNotFound, *change.Only)
		case role == nil:
			in.Spec.Role, in.Association = nil, ""
		case in.Spec.Role != nil && !change.Replace:
			return refuse(RoleAttached, in.Spec.ID)
		default:
			in.Spec.Role = &instance.Role{Name: role.Name, ProfileID: role.ProfileID}
			instance.Normalize(&in.Spec)
			in.Association = "iip-assoc-" + c.hex(17)
		}
		return nil
	})
}

func profileARN(caller Caller, name string) string {
	return "arn:aws:iam::" + caller.Account + ":instance-profile/" + name
}
