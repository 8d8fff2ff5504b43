package admin

import (
	"time"

	"openimds/internal/instance"
)

// Instance is an instance: everything that its metadata says, as in the
// instances file.
type Instance struct {
	// `instances`.
	Kind string `json:"kind"`
	instance.Instance
	// User data, served as it is: text, or `data:;base64,` and base64.
	UserData string `json:"userData,omitempty"`
	// Vendor data (ECS), written in the same way.
	VendorData string `json:"vendorData,omitempty"`
	// What is known besides; it is passed over when an instance is put.
	Status InstanceStatus `json:"status"`
}

// InstanceStatus is what is known of an instance besides its metadata.
type InstanceStatus struct {
	// When it was launched the first time.
	Created time.Time `json:"created"`
	// When it was terminated.
	Ended time.Time `json:"ended,omitzero"`
	// It stands in an instances file, whose changes replace it.
	Given bool `json:"given,omitempty"`
	// Its metadata options take effect when it is started (EC2).
	OptionsPending bool `json:"optionsPending,omitempty"`
	// It cannot be deleted.
	DeletionProtection bool `json:"deletionProtection,omitempty"`
	// Description a person gave it (ECS).
	Description string `json:"description,omitempty"`
}

// Image is what instances are launched from.
type Image struct {
	// `images`.
	Kind string `json:"kind"`
	// Identifier, such as `ami-0123456789abcdef0`.
	ID string `json:"id"`
	// `ecs` or `ec2`.
	Dialect string `json:"dialect"`
	// Account that it belongs to.
	Account string `json:"account,omitempty"`
	// Region that it is in.
	Region string `json:"region,omitempty"`
	// Name. Default: the identifier.
	Name string `json:"name,omitempty"`
	// Description a person gave it.
	Description string `json:"description,omitempty"`
	// Operating system: `linux` (default) or `windows`.
	Platform string `json:"platform,omitempty"`
	// Processor architecture: `x86_64` (default), `arm64` or `i386`.
	Architecture string `json:"architecture,omitempty"`
	// Instances launched from it can live with session tokens alone (EC2 `v2.0`, ECS `v2`).
	ImdsSupport bool `json:"imdsSupport"`
	// Device name of its root disk (EC2). Default: `/dev/xvda`.
	RootDevice string `json:"rootDevice,omitempty"`
	// Tags, by key.
	Tags map[string]string `json:"tags,omitempty"`
	// Instance that it was made of; read only.
	Source string `json:"source,omitempty"`
	// When it was made; read only.
	Created time.Time `json:"created,omitzero"`
}

// Key is an access key, which signs calls of a cloud's API.
type Key struct {
	// `keys`.
	Kind string `json:"kind"`
	// Access key id.
	ID string `json:"id"`
	// Whose API it may call: `ecs` or `ec2`.
	Dialect string `json:"dialect"`
	// Account that it belongs to.
	Account string `json:"account"`
	// User that it stands for.
	User string `json:"user"`
	// Names of the policies attached to it, of its dialect; without any it may do nothing.
	Policies []string `json:"policies,omitempty"`
	// It is not accepted.
	Disabled bool `json:"disabled,omitempty"`
	// Secret. It is never shown, but for one that was made here, once: in the answer to the request that made the key.
	// Without one, a key that exists keeps its own, and a new key gets a random one.
	Secret string `json:"secret,omitempty"`
	// When it was made; read only.
	Created time.Time `json:"created,omitzero"`
}

// Policy is a named policy document.
type Policy struct {
	// `policies`.
	Kind string `json:"kind"`
	// `ecs` (RAM's language) or `ec2` (IAM's).
	Dialect string `json:"dialect"`
	// Name, unique in its dialect.
	Name string `json:"name"`
	// It limits every caller, whatever the policies of his key allow (EC2: a service control policy).
	Guard bool `json:"guard,omitempty"`
	// The document: an object, or its text.
	Document PolicyText `json:"document"`
	// When it was made; read only.
	Created time.Time `json:"created,omitzero"`
}

// PolicyText is the text of a policy document. In JSON it is the object that
// the text is.
type PolicyText string

// MarshalJSON returns the text itself.
func (p PolicyText) MarshalJSON() ([]byte, error) { return []byte(p), nil }

// Role is a role that instances may have.
type Role struct {
	// `roles`.
	Kind string `json:"kind"`
	// `ecs` or `ec2`.
	Dialect string `json:"dialect"`
	// Account that it belongs to.
	Account string `json:"account"`
	// Name, unique in its account.
	Name string `json:"name"`
	// Identifier of the instance profile (EC2). Default: a random one.
	ProfileID string `json:"profileId,omitempty"`
	// Names of the policies that say what its sessions may do.
	Policies []string `json:"policies,omitempty"`
	// Who may have sessions of it besides instances: account ids, and ARNs of users, roles and sessions, with wildcards.
	Trust []string `json:"trust,omitempty"`
	// Instances may not have sessions of it.
	TrustNoInstances bool `json:"trustNoInstances,omitempty"`
	// How long its sessions last at most, such as `4h`. Default: `1h`.
	MaxSession string `json:"maxSession,omitempty"`
	// Credentials that instances get in place of sessions. Never shown; without any, those that it has stay.
	Credentials *instance.Credentials `json:"credentials,omitempty"`
	// It has such credentials; read only.
	Static bool `json:"static,omitempty"`
	// When it was made; read only.
	Created time.Time `json:"created,omitzero"`
}

// KeyPair is a public key that instances are launched with.
type KeyPair struct {
	// `key-pairs`.
	Kind string `json:"kind"`
	// `ecs` or `ec2`.
	Dialect string `json:"dialect"`
	// Account that it belongs to.
	Account string `json:"account"`
	// Region that it is in.
	Region string `json:"region"`
	// Name, unique in its account and region.
	Name string `json:"name"`
	// The public key, as a line of authorized_keys.
	PublicKey string `json:"publicKey"`
	// Tags, by key.
	Tags map[string]string `json:"tags,omitempty"`
	// Identifier; read only.
	ID string `json:"id,omitempty"`
	// Fingerprint, as the cloud shows it; read only.
	Fingerprint string `json:"fingerprint,omitempty"`
	// When it was made; read only.
	Created time.Time `json:"created,omitzero"`
}

// Template is a launch template (EC2).
type Template struct {
	// `templates`.
	Kind string `json:"kind"`
	// Account that it belongs to.
	Account string `json:"account"`
	// Region that it is in.
	Region string `json:"region"`
	// Name, unique in its account and region.
	Name string `json:"name"`
	// Number of the version that is meant where none is named. Default: 1.
	Default int `json:"default,omitempty"`
	// Versions, the oldest first.
	Versions []TemplateVersion `json:"versions"`
	// Tags, by key.
	Tags map[string]string `json:"tags,omitempty"`
	// Identifier, made of account, region and name; read only.
	ID string `json:"id,omitempty"`
	// When it was made; read only.
	Created time.Time `json:"created,omitzero"`
}

// TemplateVersion is one version of a launch template.
type TemplateVersion struct {
	// Number. Default: one more than that of the version before.
	Number int `json:"number,omitempty"`
	// Description a person gave it.
	Description string `json:"description,omitempty"`
	// Parameters of RunInstances, as they are on the wire, such as `MetadataOptions.HttpTokens`.
	Parameters map[string]string `json:"parameters"`
	// When it was made; read only.
	Created time.Time `json:"created,omitzero"`
}

// Defaults are an account's defaults of a region for new instances (EC2). An
// option that is left out has no default.
type Defaults struct {
	// `defaults`.
	Kind string `json:"kind"`
	// Account.
	Account string `json:"account"`
	// Region.
	Region string `json:"region"`
	// `optional` or `required`.
	HTTPTokens string `json:"httpTokens,omitempty"`
	// `enabled` or `disabled`.
	HTTPEndpoint string `json:"httpEndpoint,omitempty"`
	// Hop limit of a token's answer, 1 to 64.
	HopLimit int `json:"hopLimit,omitempty"`
	// `enabled` or `disabled`.
	InstanceMetadataTags string `json:"instanceMetadataTags,omitempty"`
	// `enabled` refuses whatever would end up with optional tokens.
	HTTPTokensEnforced string `json:"httpTokensEnforced,omitempty"`
}
