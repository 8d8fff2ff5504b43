// Package state is what the control plane knows, as typed records over a
// store: instances, images, keys, policies, account defaults. It keeps a mirror
// of all records in memory, current with the store by its watch, from which
// every question is answered.
package state

import (
	"time"

	"openimds/internal/instance"
)

// Instance is an instance as the control plane knows it: what its metadata
// says, and what only the APIs show.
type Instance struct {
	// Spec is what the data plane serves. Its State is the instance's state.
	Spec instance.Instance `json:"spec"`
	// Created is when it was launched the first time.
	Created time.Time `json:"created"`
	// Ended is when it was terminated; it is shown for an hour after that.
	Ended time.Time `json:"ended,omitzero"`
	// OptionsPending: the metadata options were changed while the instance was not running (EC2).
	OptionsPending bool `json:"optionsPending,omitempty"`
	// KeyName is the key pair it was launched with.
	KeyName string `json:"keyName,omitempty"`
	// Description a person gave it (ECS).
	Description string `json:"description,omitempty"`
	// ClientToken of the launch.
	ClientToken string `json:"clientToken,omitempty"`
	// Association is the id of the instance profile's association (EC2).
	Association string `json:"association,omitempty"`
	// Given: it stands in an instances file, which owns it.
	Given bool `json:"given,omitempty"`
	// DeletionProtection refuses termination.
	DeletionProtection bool `json:"deletionProtection,omitempty"`
}

// Image is what instances are launched from.
type Image struct {
	ID           string    `json:"id"`
	Dialect      string    `json:"dialect"`
	Region       string    `json:"region"`
	Account      string    `json:"account"`
	Name         string    `json:"name"`
	Description  string    `json:"description,omitempty"`
	Platform     string    `json:"platform,omitempty"`
	Architecture string    `json:"architecture,omitempty"`
	Created      time.Time `json:"created"`
	// ImdsSupport: instances launched from it can live with tokens alone (EC2 `v2.0`, ECS `v2`).
	ImdsSupport bool `json:"imdsSupport,omitempty"`
	// Source is the instance it was made from.
	Source string `json:"source,omitempty"`
	// RootDevice is the device name of its root disk (EC2).
	RootDevice string            `json:"rootDevice,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
}

// Defaults are an account's defaults of a region (EC2). Empty members have no
// preference.
type Defaults struct {
	Account              string `json:"account"`
	Region               string `json:"region"`
	HTTPTokens           string `json:"httpTokens,omitempty"`
	HTTPEndpoint         string `json:"httpEndpoint,omitempty"`
	HopLimit             int    `json:"hopLimit,omitempty"`
	InstanceMetadataTags string `json:"instanceMetadataTags,omitempty"`
	// HTTPTokensEnforced refuses whatever would end up with optional tokens.
	HTTPTokensEnforced string `json:"httpTokensEnforced,omitempty"`
}

// AccessKey is a key that signs API calls.
type AccessKey struct {
	ID string `json:"id"`
	// Sealed is the secret, sealed under the service's key.
	Sealed []byte `json:"sealed"`
	// Dialect whose APIs the key may call.
	Dialect string `json:"dialect"`
	Account string `json:"account"`
	User    string `json:"user"`
	// Policies are names of the policies attached to it.
	Policies []string  `json:"policies,omitempty"`
	Disabled bool      `json:"disabled,omitempty"`
	Created  time.Time `json:"created"`
}

// Policy is a named policy document.
type Policy struct {
	Name string `json:"name"`
	// Dialect gives the language: ecs: RAM, ec2: IAM.
	Dialect string `json:"dialect"`
	// Guard applies it to every caller of the account, as a limit (EC2: a service control policy).
	Guard    bool      `json:"guard,omitempty"`
	Document string    `json:"document"`
	Created  time.Time `json:"created"`
}

// KeyPair is a public key that instances are launched with.
type KeyPair struct {
	Name        string            `json:"name"`
	ID          string            `json:"id"`
	Dialect     string            `json:"dialect"`
	Account     string            `json:"account"`
	Region      string            `json:"region"`
	Fingerprint string            `json:"fingerprint"`
	PublicKey   string            `json:"publicKey"`
	Created     time.Time         `json:"created"`
	Tags        map[string]string `json:"tags,omitempty"`
}

// Role is a role that instances may have. For EC2 it is reached through the
// instance profile of the same name.
type Role struct {
	Name      string    `json:"name"`
	Dialect   string    `json:"dialect"`
	Account   string    `json:"account"`
	ProfileID string    `json:"profileId,omitempty"`
	Created   time.Time `json:"created"`
	// Sealed are static credentials to serve, sealed; none: the document says that there are none.
	Sealed []byte `json:"sealed,omitempty"`
}

// Template is a launch template (EC2).
type Template struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Account  string            `json:"account"`
	Region   string            `json:"region"`
	Created  time.Time         `json:"created"`
	Default  int               `json:"default"`
	Versions []TemplateVersion `json:"versions"`
	Tags     map[string]string `json:"tags,omitempty"`
}

// TemplateVersion is one version of a launch template: the parameters of
// RunInstances that it stands for, as they are on the wire.
type TemplateVersion struct {
	Number      int               `json:"number"`
	Description string            `json:"description,omitempty"`
	Created     time.Time         `json:"created"`
	Parameters  map[string]string `json:"parameters"`
}

// Idempotent remembers the outcome of a call that carried a client token.
type Idempotent struct {
	Dialect string `json:"dialect"`
	Account string `json:"account"`
	Action  string `json:"action"`
	Token   string `json:"token"`
	// Sum of the parameters: the same token with others is a mistake.
	Sum     string    `json:"sum"`
	IDs     []string  `json:"ids"`
	Created time.Time `json:"created"`
}
