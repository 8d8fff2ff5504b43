package control

import (
	"context"
	"errors"
	"fmt"

	"openimds/internal/instance"
	"openimds/internal/state"
)

// manyPerCommit is how many instances one commit of a change of many puts, to
// stay within the store's bounds with the largest user data.
const manyPerCommit = 100

// OptionsResult is what SetOptions did to one instance.
type OptionsResult struct {
	ID string
	// Options it has now.
	Options instance.MetadataOptions
	// Changed: they were others before. Pending: they are in force when it is started.
	Changed, Pending bool
	// Err is why its options stayed; nil: they did not.
	Err error
}

// SetOptions changes the metadata options of instances; empty members keep
// their value. What can be done is done, to each instance by itself.
func (c *Control) SetOptions(ctx context.Context, caller Caller, target Target, change instance.MetadataOptions) ([]OptionsResult, error) {
	if change == (instance.MetadataOptions{}) {
		return nil, invalid("no option is given: give at least one of httpTokens, httpEndpoint, httpPutResponseHopLimit, httpProtocolIpv6, instanceMetadataTags")
	}
	if err := checkOptions(change); err != nil {
		return nil, err
	}
	ids, err := c.find(target, alive)
	if err != nil {
		return nil, err
	}
	a := about(ids)
	for i, id := range ids {
		if in, ok := c.db.Instances.Get(id); ok {
			a.changes = append(a.changes, optionChanges(a.resources[i], in, change)...)
		}
	}
	if err := c.permit(caller, a); err != nil {
		return nil, err
	}
	var done []OptionsResult
	for len(ids) > 0 {
		part := ids[:min(manyPerCommit, len(ids))]
		ids = ids[len(part):]
		var results []OptionsResult
		err := c.update(ctx, func(tx *state.Tx) error {
			results = nil
			for _, id := range part {
				r, err := c.setOptions(tx, id, change)
				if err != nil {
					return err
				}
				results = append(results, r)
			}
			return nil
		})
		if err != nil && len(done) == 0 {
			return nil, err
		}
		if err != nil {
			// Those before are committed: whoever asked is to know which.
			for _, id := range append(part, ids...) {
				done = append(done, OptionsResult{ID: id, Err: err})
			}
			return done, nil
		}
		done = append(done, results...)
	}
	return done, nil
}

func (c *Control) setOptions(tx *state.Tx, id string, change instance.MetadataOptions) (OptionsResult, error) {
	r := OptionsResult{ID: id}
	in, ok, err := state.Load(tx, c.db.Instances, id)
	switch {
	case err != nil:
		return r, err
	case !ok:
		r.Err = noResource(KindInstances, id)
		return r, nil
	}
	before := in.Spec.Metadata
	owner := Caller{Dialect: in.Spec.Dialect, Account: in.Spec.Account, Region: in.Spec.Region}
	if err := c.changeOptions(owner, in, change); err != nil {
		r.Options, r.Err = before, err
		return r, nil
	}
	r.Options, r.Pending, r.Changed = in.Spec.Metadata, in.OptionsPending, in.Spec.Metadata != before
	if !r.Changed {
		return r, nil
	}
	return r, state.Save(tx, c.db.Instances, id, in)
}

// checkOptions refuses values that no instance can have.
func checkOptions(o instance.MetadataOptions) error {
	var wrong problems
	wrong.oneOf("httpTokens", o.HTTPTokens, instance.Optional, instance.Required)
	for key, value := range map[string]string{
		"httpEndpoint": o.HTTPEndpoint, "httpProtocolIpv6": o.HTTPProtocolIPv6, "instanceMetadataTags": o.InstanceMetadataTags,
	} {
		wrong.oneOf(key, value, instance.Enabled, instance.Disabled)
	}
	if n := o.HTTPPutResponseHopLimit; n < 0 || n > instance.MaxHopLimit {
		wrong.addf("httpPutResponseHopLimit: found %d, expected a hop limit from 1 to %d", n, instance.MaxHopLimit)
	}
	return wrong.err()
}

// about asks about instances, by the operator's names.
func about(ids []string) ask {
	a := ask{}
	for _, id := range ids {
		a.on(string(KindInstances)+"/"+id, nil)
	}
	return a
}

// Explain says for the operator why something was refused.
func Explain(err error) string {
	refused, ok := errors.AsType[*Error](err)
	if !ok {
		return err.Error()
	}
	switch refused.Reason {
	case TokensEnforced:
		return "the account's defaults enforce required tokens (imds describe defaults ACCOUNT/REGION)"
	case InvalidTagKey:
		return fmt.Sprintf("the tag key %.200q cannot be shown as metadata: it may have letters, digits and - _ + = , . @ : only", refused.Subject)
	case IncorrectState:
		return "it is " + refused.Detail
	case DeletionProtected:
		return refused.Subject + " is protected from deletion: switch that off through the cloud's API first"
	}
	return refused.Error()
}
