package ecsrpc

import (
	"context"

	"openimds/internal/control"
	"openimds/internal/state"
)

// modifyInput has pointers where an empty value takes something away.
type modifyInput struct {
	ID          string  `p:"InstanceId,required"`
	Name        string  `p:"InstanceName"`
	HostName    string  `p:"HostName"`
	Description *string `p:"Description"`
	UserData    *string `p:"UserData"`
	Protected   *bool   `p:"DeletionProtection"`
}

func modifyInstanceAttribute(ctx context.Context, r *request, in modifyInput) (any, error) {
	description := ""
	if in.Description != nil {
		description = *in.Description
	}
	// The length of a host name on Windows is checked below, where the platform is known.
	if err := checkNames(in.Name, in.HostName, description, false); err != nil {
		return nil, err
	}
	data := []byte{}
	if in.UserData != nil {
		given, err := userData(*in.UserData, true)
		if err != nil {
			return nil, err
		}
		data = append(data, given...)
	}
	_, err := r.Control.Modify(ctx, r.caller, in.ID, control.Attribute{}, func(i *state.Instance) error {
		if in.HostName != "" {
			switch {
			case i.Spec.State == "pending":
				return &control.Error{Reason: control.IncorrectState, Subject: in.ID, Detail: i.Spec.State}
			case !validHostName(in.HostName, i.Spec.Platform == "windows"):
				return badHostName
			}
			i.AtRestart(func(r *state.Restart) { r.Hostname = &in.HostName })
		}
		if in.Name != "" {
			i.Spec.Name = in.Name
		}
		if in.Description != nil {
			i.Description = description
		}
		if in.UserData != nil {
			i.AtRestart(func(r *state.Restart) { r.UserData = &data })
		}
		if in.Protected != nil {
			i.DeletionProtection = *in.Protected
		}
		return nil
	})
	return nil, err
}
