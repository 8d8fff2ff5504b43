package admin

import (
	"time"

	"openimds/internal/config"
	"openimds/internal/control"
	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/state"
)

// Each kind has three functions: the document of a record, what a record is
// filtered by, and the record of a document.

func viewInstance(in *state.Instance) any {
	spec := in.Spec
	if spec.Role != nil {
		role := *spec.Role
		role.Credentials = withoutSecrets(role.Credentials)
		spec.Role = &role
	}
	spec.Identity = withoutSecrets(spec.Identity)
	return Instance{
		Kind: string(control.KindInstances), Instance: spec,
		UserData: config.Bytes(spec.UserData), VendorData: config.Bytes(spec.VendorData),
		Status: InstanceStatus{
			Created: in.Created, Ended: in.Ended, Given: in.Given != "", OptionsPending: in.OptionsPending,
			DeletionProtection: in.DeletionProtection, Description: in.Description,
		},
	}
}

func withoutSecrets(k *instance.Credentials) *instance.Credentials {
	if k == nil {
		return nil
	}
	bare := *k
	bare.AccessKeySecret, bare.SessionToken = "", ""
	return &bare
}

func instanceTraits(in *state.Instance) traits {
	s := &in.Spec
	return traits{s.Dialect, s.Account, s.Region, s.State, s.Metadata.HTTPTokens, s.Metadata.HTTPEndpoint, s.Tags}
}

func instanceRecord(in *instance.Instance) (control.Resource, error) {
	return control.Resource{Record: &state.Instance{Spec: *in}}, nil
}

func viewImage(i *state.Image) any {
	return Image{
		Kind: string(control.KindImages), ID: i.ID, Dialect: i.Dialect, Account: i.Account, Region: i.Region, Name: i.Name, Description: i.Description,
		Platform: i.Platform, Architecture: i.Architecture, ImdsSupport: i.ImdsSupport, RootDevice: i.RootDevice, Tags: i.Tags, Source: i.Source, Created: i.Created,
	}
}

func imageTraits(i *state.Image) traits {
	return traits{dialect: i.Dialect, account: i.Account, region: i.Region, tags: i.Tags}
}

func (d *Image) record() (control.Resource, error) {
	return control.Resource{Record: &state.Image{
		ID: d.ID, Dialect: d.Dialect, Account: d.Account, Region: d.Region, Name: d.Name, Description: d.Description,
		Platform: d.Platform, Architecture: d.Architecture, ImdsSupport: d.ImdsSupport, RootDevice: d.RootDevice, Tags: d.Tags,
	}}, nil
}

func viewKey(k *state.AccessKey) any {
	return Key{Kind: string(control.KindKeys), ID: k.ID, Dialect: k.Dialect, Account: k.Account, User: k.User, Policies: k.Policies, Disabled: k.Disabled, Created: k.Created}
}

func keyTraits(k *state.AccessKey) traits { return traits{dialect: k.Dialect, account: k.Account} }

func (d *Key) record() (control.Resource, error) {
	return control.Resource{Secret: d.Secret, Record: &state.AccessKey{
		ID: d.ID, Dialect: d.Dialect, Account: d.Account, User: d.User, Policies: d.Policies, Disabled: d.Disabled,
	}}, nil
}

func viewPolicy(p *state.Policy) any {
	return Policy{Kind: string(control.KindPolicies), Dialect: p.Dialect, Name: p.Name, Guard: p.Guard, Document: PolicyText(p.Document), Created: p.Created}
}

func policyTraits(p *state.Policy) traits { return traits{dialect: p.Dialect} }

func (d *Policy) record() (control.Resource, error) {
	return control.Resource{Record: &state.Policy{Dialect: d.Dialect, Name: d.Name, Guard: d.Guard, Document: string(d.Document)}}, nil
}

func viewRole(r *state.Role) any {
	d := Role{
		Kind: string(control.KindRoles), Dialect: r.Dialect, Account: r.Account, Name: r.Name, ProfileID: r.ProfileID, Policies: r.Policies,
		Trust: r.Trust, TrustNoInstances: r.TrustNoInstances, Static: r.Sealed != nil, Created: r.Created,
	}
	if r.MaxSession != 0 {
		d.MaxSession = r.MaxSession.String()
	}
	return d
}

func roleTraits(r *state.Role) traits { return traits{dialect: r.Dialect, account: r.Account} }

func (d *Role) record() (control.Resource, error) {
	r := &state.Role{
		Dialect: d.Dialect, Account: d.Account, Name: d.Name, ProfileID: d.ProfileID, Policies: d.Policies, Trust: d.Trust, TrustNoInstances: d.TrustNoInstances,
	}
	if d.MaxSession != "" {
		span, err := time.ParseDuration(d.MaxSession)
		if err != nil {
			return control.Resource{}, fault.New(fault.Invalid, "maxSession: found %.40q, expected a duration such as 1h30m", d.MaxSession)
		}
		r.MaxSession = span
	}
	return control.Resource{Record: r, Credentials: d.Credentials}, nil
}

func viewKeyPair(k *state.KeyPair) any {
	return KeyPair{
		Kind: string(control.KindKeyPairs), Dialect: k.Dialect, Account: k.Account, Region: k.Region, Name: k.Name, PublicKey: k.PublicKey,
		Tags: k.Tags, ID: k.ID, Fingerprint: k.Fingerprint, Created: k.Created,
	}
}

func keyPairTraits(k *state.KeyPair) traits {
	return traits{dialect: k.Dialect, account: k.Account, region: k.Region, tags: k.Tags}
}

func (d *KeyPair) record() (control.Resource, error) {
	return control.Resource{Record: &state.KeyPair{
		Dialect: d.Dialect, Account: d.Account, Region: d.Region, Name: d.Name, PublicKey: d.PublicKey, Tags: d.Tags,
	}}, nil
}

func viewTemplate(t *state.Template) any {
	d := Template{
		Kind: string(control.KindTemplates), Account: t.Account, Region: t.Region, Name: t.Name, Default: t.Default, Tags: t.Tags, ID: t.ID, Created: t.Created,
		Versions: []TemplateVersion{},
	}
	for _, v := range t.Versions {
		d.Versions = append(d.Versions, TemplateVersion{v.Number, v.Description, v.Parameters, v.Created})
	}
	return d
}

func templateTraits(t *state.Template) traits {
	return traits{account: t.Account, region: t.Region, tags: t.Tags}
}

func (d *Template) record() (control.Resource, error) {
	t := &state.Template{Account: d.Account, Region: d.Region, Name: d.Name, Default: d.Default, Tags: d.Tags}
	for _, v := range d.Versions {
		t.Versions = append(t.Versions, state.TemplateVersion{Number: v.Number, Description: v.Description, Parameters: v.Parameters})
	}
	return control.Resource{Record: t}, nil
}

func viewDefaults(d *state.Defaults) any {
	return Defaults{
		Kind: string(control.KindDefaults), Account: d.Account, Region: d.Region, HTTPTokens: d.HTTPTokens, HTTPEndpoint: d.HTTPEndpoint,
		HopLimit: d.HopLimit, InstanceMetadataTags: d.InstanceMetadataTags, HTTPTokensEnforced: d.HTTPTokensEnforced,
	}
}

func defaultsTraits(d *state.Defaults) traits { return traits{account: d.Account, region: d.Region} }

func (d *Defaults) record() (control.Resource, error) {
	return control.Resource{Record: &state.Defaults{
		Account: d.Account, Region: d.Region, HTTPTokens: d.HTTPTokens, HTTPEndpoint: d.HTTPEndpoint,
		HopLimit: d.HopLimit, InstanceMetadataTags: d.InstanceMetadataTags, HTTPTokensEnforced: d.HTTPTokensEnforced,
	}}, nil
}
