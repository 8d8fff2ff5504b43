package ecsrpc

import (
	"context"
	"net/http"

	"openimds/internal/instance"
)

// optionsInput are the metadata options of a request; what is not given stays
// as it is, or is the service's default at launch.
type optionsInput struct {
	HTTPEndpoint string `p:"HttpEndpoint"`
	HTTPTokens   string `p:"HttpTokens"`
	HopLimit     *int   `p:"HttpPutResponseHopLimit"`
}

func (o optionsInput) options() (instance.MetadataOptions, error) {
	out := instance.MetadataOptions{HTTPEndpoint: o.HTTPEndpoint, HTTPTokens: o.HTTPTokens}
	switch {
	case o.HTTPEndpoint != "" && o.HTTPEndpoint != instance.Enabled && o.HTTPEndpoint != instance.Disabled:
		return out, refuse(http.StatusBadRequest, "InvalidHttpEndpoint.NotSupported",
			"The specified HttpEndpoint not supported, you can use enabled(default) or disabled.")
	case o.HTTPTokens != "" && o.HTTPTokens != instance.Optional && o.HTTPTokens != instance.Required:
		return out, refuse(http.StatusBadRequest, "InvalidHttpTokens.NotSupported",
			"The specified HttpTokens not supported, you can use optional(default) or required.")
	case o.HopLimit != nil && (*o.HopLimit < 1 || *o.HopLimit > instance.MaxHopLimit):
		return out, refuse(http.StatusBadRequest, "InvalidHttpPutResponseHopLimit.NotSupported",
			"The specified HttpPutResponseHopLimit not supported, more than 1 and less than 64 is reasonable.")
	}
	if o.HopLimit != nil {
		out.HTTPPutResponseHopLimit = *o.HopLimit
	}
	return out, nil
}

type modifyOptionsInput struct {
	ID string `p:"InstanceId,required"`
	optionsInput
	Tags string `p:"InstanceMetadataTags"`
}

func modifyInstanceMetadataOptions(ctx context.Context, r *request, in modifyOptionsInput) (any, error) {
	if in.HTTPEndpoint == "" {
		return nil, missing("HttpEndpoint")
	}
	change, err := in.options()
	if err != nil {
		return nil, err
	}
	if in.Tags != "" && in.Tags != instance.Enabled && in.Tags != instance.Disabled {
		return nil, refuse(http.StatusBadRequest, "InvalidInstanceMetadataTags.NotSupported",
			"The specified InstanceMetadataTags not supported, you can use disabled(default) or enabled.")
	}
	change.InstanceMetadataTags = in.Tags
	_, err = r.Control.ModifyOptions(ctx, r.caller, in.ID, change)
	return nil, err
}
