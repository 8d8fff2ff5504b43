package control

import (
	"net/netip"

	"openimds/internal/instance"
	"openimds/internal/state"
)

// Launch is what RunInstances and its kin ask for.
type Launch struct {
	// Image, Type and Zone; Zone may be empty.
	Image, Type, Zone string
	// Min and Max are how many instances to launch: all of Max, which is at least 1.
	Min, Max int
	// Options are the metadata options as asked for: an empty member was not given. Template are those of the launch template.
	Options, Template instance.MetadataOptions
	// KeyName, Role: names; empty: none.
	KeyName, Role string
	UserData      []byte
	Tags          map[string]string
	// Name, Hostname and Description (ECS).
	Name, Hostname, Description string
	// Names and Hostnames, by place in the batch, come before Name and Hostname.
	Names, Hostnames []string
	// Subnet id, and the private address to have, if any.
	Subnet  string
	Address netip.Addr
	// SecurityGroups are ids.
	SecurityGroups []string
	Spot           bool
	// ClientToken makes the call idempotent. Sum is a digest of its parameters.
	ClientToken, Sum string
	// Stopped leaves the instances stopped (ECS CreateInstance).
	Stopped bool
	// DeletionProtection refuses their termination.
	DeletionProtection bool
}

// Launched is the outcome of a Launch.
type Launched struct {
	Reservation string
	Instances   []*state.Instance
}

// Transition is what a start, stop or termination did to one instance.
type Transition struct {
	ID            string
	Before, After string // instance states
	Instance      *state.Instance
}

// TagChange is one change of a resource's tags.
type TagChange struct {
	// Put adds tags or replaces their values.
	Put map[string]string
	// Remove takes tags away: those whose value is equal, or whatever it is where the value is nil.
	Remove map[string]*string
	// RemoveAll takes all away.
	RemoveAll bool
}
