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
	// Given is a digest of what an instances file says of it, which owns it; empty: it was launched.
	Given string `json:"given,omitempty"`
	// DeletionProtection refuses termination.
	DeletionProtection bool `json:"deletionProtection,omitempty"`
	// Attributes are what the APIs keep of an instance only to show it again, by their own names.
	Attributes map[string]string `json:"attributes,omitempty"`
	// Restart is what takes effect when the instance starts the next time (ECS).
	Restart *Restart `json:"restart,omitempty"`
	// Expiring are events that end by themselves.
	Expiring []Expiring `json:"expiring,omitempty"`
	// Sealed are the credentials of Spec as they are stored; a record that was read has none.
	Sealed []byte `json:"sealed,omitempty"`
}

// Expiring is when an event of an instance is over.
type Expiring struct {
	// Type is spot, rebalance, maintenance or system; ID that of the last two.
	Type string    `json:"type"`
	ID   string    `json:"id,omitempty"`
	At   time.Time `json:"at"`
}

// Restart is what was changed of a running instance and is not in force before
// it restarts. What is nil was not changed.
type Restart struct {
	UserData *[]byte             `json:"userData,omitempty"`
	Hostname *string             `json:"hostname,omitempty"`
	KeyPairs *[]instance.KeyPair `json:"keyPairs,omitempty"`
}

// Restarted puts in force what waited for the instance to restart.
func (in *Instance) Restarted() {
	r := in.Restart
	if r == nil {
		return
	}
	if r.UserData != nil {
		in.Spec.UserData = *r.UserData
	}
	if r.Hostname != nil {
		in.Spec.Hostname = *r.Hostname
	}
	if r.KeyPairs != nil {
		in.Spec.KeyPairs = *r.KeyPairs
	}
	in.Restart = nil
}

// AtRestart changes what an instance restarts with. What is changed of one that
// does not run is in force at once: nobody is served it before.
func (in *Instance) AtRestart(change func(*Restart)) {
	if in.Restart == nil {
		in.Restart = &Restart{}
	}
	change(in.Restart)
	if in.Spec.State != "running" {
		in.Restarted()
	}
}

// UserData is the one that was set last, in force or not.
func (in *Instance) UserData() []byte {
	if r := in.Restart; r != nil && r.UserData != nil {
		return *r.UserData
	}
	return in.Spec.UserData
}

// Hostname is the one that was set last, in force or not.
func (in *Instance) Hostname() string {
	if r := in.Restart; r != nil && r.Hostname != nil {
		return *r.Hostname
	}
	return in.Spec.Hostname
}

// Interface is what is known of a network interface beside what an instance
// says of it (EC2). Only those that were made by themselves, or were detached,
// have one.
type Interface struct {
	// Spec is the interface itself while no instance has it; while one has, it is as it was when it was attached.
	Spec instance.Interface `json:"spec"`
	// Instance that it is attached to; empty: none.
	Instance string `json:"instance,omitempty"`
	Dialect  string `json:"dialect"`
	Account  string `json:"account"`
	Region   string `json:"region"`
	Zone     string `json:"zone"`
	// Network in which its addresses are unique.
	Network     string            `json:"network"`
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Created     time.Time         `json:"created"`
	// Keep: it outlives the instance that it is attached to.
	Keep bool `json:"keep,omitempty"`
}

// Serial is read and written by every change of its kind, so that of two that
// are made at once one is made after the other: those that take addresses in a
// network, or a name that must be given once.
type Serial struct {
	Count uint64 `json:"count"`
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
	// Sealed are static credentials to serve in place of sessions, sealed.
	Sealed []byte `json:"sealed,omitempty"`
	// Policies are names of the policies attached to it: what its sessions may do.
	Policies []string `json:"policies,omitempty"`
	// Trust says who may have sessions of it besides instances: account ids, and ARNs of users, roles and sessions, with wildcards. TrustNoInstances leaves only those.
	Trust            []string `json:"trust,omitempty"`
	TrustNoInstances bool     `json:"trustNoInstances,omitempty"`
	// MaxSession bounds what AssumeRole gives; 0: an hour.
	MaxSession time.Duration `json:"maxSession,omitempty"`
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
