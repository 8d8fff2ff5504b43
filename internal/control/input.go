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
	// Min and Max are how many instances to launch, at least 1: Max, or as many as there are addresses for, but not fewer than Min.
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
	// Interfaces to have, the primary one first; none: a plain one.
	Interfaces []NewInterface
	// Disks, without ids. One with the device name of the root disk stands for that one, which there is in any case; RootName is its name (ECS).
	Disks       []instance.Disk
	RootName    string
	Placement   instance.Placement
	Hibernation bool
	Monitoring  bool
	Spot        bool
	// Attributes are kept to be shown again.
	Attributes map[string]string
	// ClientToken makes the call idempotent. Sum is a digest of its parameters.
	ClientToken, Sum string
	// Stopped leaves the instances stopped (ECS CreateInstance).
	Stopped bool
	// DeletionProtection refuses their termination.
	DeletionProtection bool
	// From is the launch template that the call names, Overridden the kinds of resources that the call says itself (EC2).
	From       *state.Template
	Overridden map[string]bool
}

// NewInterface is a network interface to make, or one that exists to launch
// with.
type NewInterface struct {
	// Existing is the id of one that exists; all but Device, Card and Keep is its own then.
	Existing string
	Device   int
	Card     *int
	// Subnet id; empty: the place's.
	Subnet string
	// SecurityGroups are ids; none: the place's.
	SecurityGroups []string
	NewAddresses
	// Keep: it outlives the instance.
	Keep        bool
	Description string
	Tags        map[string]string
	// ClientToken makes the call idempotent that makes the interface alone. Sum is a digest of its parameters.
	ClientToken, Sum string
}

// NewAddresses are addresses for an interface. Those that are counted are any
// that are free.
type NewAddresses struct {
	// IPv4, the primary one first if the interface is new; invalid: any.
	IPv4 []netip.Addr
	// MoreIPv4 counts further ones; a new interface has a primary one in any case.
	MoreIPv4     int
	IPv6         []netip.Addr
	MoreIPv6     int
	IPv4Prefixes []netip.Prefix
	IPv6Prefixes []netip.Prefix
	// MoreIPv4Prefixes (of 28 bits) and MoreIPv6Prefixes (of 80) count delegated blocks.
	MoreIPv4Prefixes, MoreIPv6Prefixes int
	// Public asks for a public address that is mapped to the primary one, if the place has any.
	Public bool
	// Reassign takes addresses away from other interfaces of the caller.
	Reassign bool
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
	// Err is why it was left as it is, where a call goes on with the others.
	Err error
}

// Outcome is what a call that names several instances did to one of them.
type Outcome struct {
	ID string
	// Before and After the change; nil where there is no such instance, or no change.
	Before, After *state.Instance
	// Err is why it was left as it is, where a call goes on with the others.
	Err error
}

// Attribute is what a call changes of a resource, by the API's name, a
// condition key of EC2; Value, if it may be told to policies.
type Attribute struct{ Name, Value string }

// TagChange is one change of a resource's tags.
type TagChange struct {
	// Put adds tags or replaces their values.
	Put map[string]string
	// Remove takes tags away: those whose value is equal, or whatever it is where the value is nil.
	Remove map[string]*string
	// RemoveAll takes all away.
	RemoveAll bool
}
