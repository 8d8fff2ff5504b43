package control

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"openimds/internal/instance"
	"openimds/internal/state"
)

// Change is one value that a call sets, for the audit log: what it was when the
// call was let through, and what it is to be. User data, secrets and other
// things of no use to who reads the log are none.
type Change struct {
	Resource, Field, From, To string
}

// setting is a value that the audit log names.
type setting struct{ field, value string }

// differences lists the settings of a resource that are to be others.
func differences(resource string, from, to []setting) []Change {
	was := map[string]string{}
	for _, s := range from {
		was[s.field] = s.value
	}
	var all []Change
	for _, s := range to {
		if was[s.field] != s.value {
			all = append(all, Change{resource, s.field, was[s.field], s.value})
		}
	}
	return all
}

// optionSettings are the metadata options of an instance.
func optionSettings(o instance.MetadataOptions) []setting {
	hops := ""
	if o.HTTPPutResponseHopLimit != 0 {
		hops = strconv.Itoa(o.HTTPPutResponseHopLimit)
	}
	return []setting{
		{"httpTokens", o.HTTPTokens}, {"httpEndpoint", o.HTTPEndpoint}, {"httpPutResponseHopLimit", hops},
		{"httpProtocolIpv6", o.HTTPProtocolIPv6}, {"instanceMetadataTags", o.InstanceMetadataTags},
	}
}

// optionChanges are what laying change over the options of an instance changes.
func optionChanges(resource string, in *state.Instance, change instance.MetadataOptions) []Change {
	next := in.Spec.Metadata
	merge(&next, change)
	return differences(resource, optionSettings(in.Spec.Metadata), optionSettings(next))
}

// defaultSettings are an account's defaults.
func defaultSettings(d state.Defaults) []setting {
	return append(optionSettings(instance.MetadataOptions{
		HTTPTokens: d.HTTPTokens, HTTPEndpoint: d.HTTPEndpoint, HTTPPutResponseHopLimit: d.HopLimit, InstanceMetadataTags: d.InstanceMetadataTags,
	}), setting{"httpTokensEnforced", d.HTTPTokensEnforced})
}

// roleOf is the name of an instance's role, empty if it has none.
func roleOf(in *state.Instance) string {
	if in.Spec.Role == nil {
		return ""
	}
	return in.Spec.Role.Name
}

// settings are what the audit log tells of a record; nil: nothing.
func settings(record any) []setting {
	yes := strconv.FormatBool
	list := func(names []string) string { return strings.Join(names, " ") }
	if v := reflect.ValueOf(record); v.Kind() == reflect.Pointer && v.IsNil() {
		return nil
	}
	switch r := record.(type) {
	case *state.Instance:
		// Completed, as it will be: what is shared is not touched.
		spec := instance.Instance{Dialect: r.Spec.Dialect, State: r.Spec.State, Metadata: r.Spec.Metadata}
		instance.Normalize(&spec)
		return append(optionSettings(spec.Metadata), setting{"state", spec.State}, setting{"role", roleOf(r)})
	case *state.Image:
		return []setting{{"imdsSupport", yes(r.ImdsSupport)}}
	case *state.AccessKey:
		return []setting{{"account", r.Account}, {"user", r.User}, {"policies", list(r.Policies)}, {"disabled", yes(r.Disabled)}}
	case *state.Policy:
		return []setting{{"guard", yes(r.Guard)}, {"document", r.Document}}
	case *state.Role:
		return []setting{
			{"policies", list(r.Policies)}, {"trust", list(r.Trust)}, {"trustNoInstances", yes(r.TrustNoInstances)}, {"maxSession", fmt.Sprint(r.MaxSession)},
		}
	case *state.Defaults:
		return defaultSettings(*r)
	}
	return nil
}
