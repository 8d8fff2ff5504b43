package control

import (
	"reflect"
	"time"

	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/state"
)

// readyInstance takes of an instance that is put what its metadata says; what
// only the APIs show is kept.
func readyInstance(b *batch, next, old *state.Instance, _ Resource) (string, error) {
	spec, now := next.Spec, b.cfg.Now().UTC()
	*next = state.Instance{Created: spec.Started}
	if old != nil {
		*next = *old
		spec.Identity = keptSecrets(spec.Identity, old.Spec.Identity)
		if spec.Role != nil && old.Spec.Role != nil {
			role := *spec.Role
			role.Credentials = keptSecrets(role.Credentials, old.Spec.Role.Credentials)
			spec.Role = &role
		}
	}
	if next.Created.IsZero() {
		next.Created = now
	}
	instance.Normalize(&spec)
	next.Spec = spec
	var wrong problems
	for _, p := range instance.Validate(&spec) {
		wrong.addf("%s", p)
	}
	if err := wrong.err(); err != nil {
		return "", err
	}
	if old != nil && old.Spec.Dialect != spec.Dialect {
		return "", fault.New(fault.Conflict, "it is an instance of %s: delete it before it becomes one of %s", old.Spec.Dialect, spec.Dialect)
	}
	if err := b.enforced(&spec, old); err != nil {
		return "", err
	}
	b.attributes(next, old)
	if !alive(next) {
		if next.Ended.IsZero() {
			next.Ended = now
		}
		return "", nil
	}
	next.Ended = time.Time{}
	return "", b.claim(&spec)
}

// keptSecrets returns credentials with the secrets of the old ones where they
// were left out: whoever reads an instance and puts it again has not seen them.
func keptSecrets(next, old *instance.Credentials) *instance.Credentials {
	if next == nil || old == nil || next.AccessKeyID != old.AccessKeyID {
		return next
	}
	kept := *next
	if kept.AccessKeySecret == "" {
		kept.AccessKeySecret = old.AccessKeySecret
	}
	if kept.SessionToken == "" {
		kept.SessionToken = old.SessionToken
	}
	return &kept
}

// enforced refuses an instance that would newly do without tokens where the
// account's defaults enforce them.
func (b *batch) enforced(in *instance.Instance, old *state.Instance) error {
	d := b.defaults(Caller{Account: in.Account, Region: in.Region})
	was := old != nil && alive(old) && !old.Spec.Metadata.TokensRequired()
	if in.Dialect != instance.DialectEC2 || in.Metadata.TokensRequired() || was || d.HTTPTokensEnforced != instance.Enabled {
		return nil
	}
	return fault.New(fault.Conflict, "metadata.httpTokens: found optional, and the defaults %s/%s enforce required", in.Account, in.Region)
}

// attributes makes what the APIs show of an instance follow its metadata.
func (b *batch) attributes(next, old *state.Instance) {
	in, before := &next.Spec, &instance.Instance{}
	if old != nil {
		before = &old.Spec
	}
	if old == nil || old.Spec.Metadata != in.Metadata || in.State == stateRunning {
		next.OptionsPending = false
	}
	switch {
	case in.Role == nil:
		next.Association = ""
	case before.Role == nil || before.Role.Name != in.Role.Name || next.Association == "":
		next.Association = "iip-assoc-" + b.hex(17)
	}
	if !reflect.DeepEqual(in.KeyPairs, before.KeyPairs) {
		next.KeyName = ""
		if len(in.KeyPairs) > 0 {
			next.KeyName = in.KeyPairs[0].Name
		}
	}
	if !reflect.DeepEqual(in.Events, before.Events) {
		next.Expiring = nil
	}
	if !reflect.DeepEqual(in, before) {
		next.Restart = nil // what waits for a restart would replace what was put
	}
}

func freeInstance(in *state.Instance) error {
	if in.DeletionProtection && alive(in) {
		return refuse(DeletionProtected, in.Spec.ID)
	}
	return nil
}
