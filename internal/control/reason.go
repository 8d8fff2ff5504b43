package control

import (
	"fmt"

	"openimds/internal/fault"
)

// Reason says which rule a call broke. An API has a code, a status and a text
// for each.
type Reason string

// Reasons.
const (
	DryRun              Reason = "dry run"               // everything was permitted and valid, nothing was done
	Denied              Reason = "denied"                // by a policy; Subject: what decided
	InstanceNotFound    Reason = "instance not found"    // Subject: the id
	ImageNotFound       Reason = "image not found"       // Subject: the id
	ImageExists         Reason = "image exists"          // Subject: the name, Detail: the id of the one that has it
	KeyPairNotFound     Reason = "key pair not found"    // Subject: the name
	KeyPairExists       Reason = "key pair exists"       // Subject: the name
	KeyPairOnWindows    Reason = "key pair on windows"   // ECS: Windows instances have none; Subject: the instance
	RoleNotFound        Reason = "role not found"        // Subject: the name
	RoleAttached        Reason = "role attached"         // the instance has one; Subject: the instance
	TemplateNotFound    Reason = "template not found"    // Subject: the id or name
	TemplateExists      Reason = "template exists"       // Subject: the name
	InterfaceNotFound   Reason = "interface not found"   // Subject: the id
	InterfaceInUse      Reason = "interface in use"      // Subject: the id
	AttachmentNotFound  Reason = "attachment not found"  // Subject: the id
	PrimaryInterface    Reason = "primary interface"     // it cannot be detached; Subject: the id
	PrimaryAddress      Reason = "primary address"       // it cannot be taken away; Subject: the address
	AddressNotAssigned  Reason = "address not assigned"  // Subject: the address, Detail: the interface
	DeviceInUse         Reason = "device in use"         // Subject: the instance, Detail: the device index
	SubnetWithoutIPv6   Reason = "subnet without IPv6"   // Subject: the subnet
	ResourceNotFound    Reason = "resource not found"    // of a tag; Subject: the id
	AssociationNotFound Reason = "association not found" // Subject: the id
	IncorrectState      Reason = "incorrect state"       // Subject: the instance, Detail: its state
	DeletionProtected   Reason = "deletion protected"    // Subject: the instance
	StopProtected       Reason = "stop protected"        // Subject: the instance
	SpotOnce            Reason = "spot once"             // a spot instance that cannot be stopped; Subject: the instance
	HibernationOff      Reason = "hibernation off"       // the instance cannot hibernate; Subject: the instance
	InvalidValue        Reason = "invalid value"         // Subject: the parameter, Detail: the value
	MissingValue        Reason = "missing value"         // Subject: the parameter
	InvalidTagKey       Reason = "invalid tag key"       // Subject: the key
	TooManyTags         Reason = "too many tags"         // Subject: the resource
	TokensEnforced      Reason = "tokens enforced"       // the account's defaults forbid optional tokens
	ImageWithoutSupport Reason = "image without support" // tokens required of an image that cannot do without normal mode
	WindowsWithTokens   Reason = "windows with tokens"   // ECS: tokens required of a Windows image
	SupportIrreversible Reason = "support irreversible"  // an image's support cannot be taken back
	UserDataTooLarge    Reason = "user data too large"
	IdempotencyMismatch Reason = "idempotency mismatch" // a client token with other parameters
	AddressInUse        Reason = "address in use"       // Subject: the address
	NoAddressLeft       Reason = "no address left"
	SessionExpired      Reason = "session expired"  // of a session's key; Subject: its id
	SessionRevoked      Reason = "session revoked"  // or its role is gone; Subject: the key's id
	PolicyMalformed     Reason = "policy malformed" // of a session; Err says what is wrong
	PolicyTooLarge      Reason = "policy too large" // of a session
	AlarmNotFound       Reason = "alarm not found"  // Subject: the name
	TooManyAlarms       Reason = "too many alarms"  // Subject: the name
	Unavailable         Reason = "unavailable"      // the store cannot write now
)

// Error is why a use case refused. It is a fault to the layers that do not
// know reasons.
type Error struct {
	Reason  Reason
	Subject string
	Detail  string
	Err     error
}

func refuse(r Reason, subject string) *Error { return &Error{Reason: r, Subject: subject} }

// Error says what was refused and why.
func (e *Error) Error() string {
	s := string(e.Reason)
	if e.Subject != "" {
		s += ": " + e.Subject
	}
	if e.Detail != "" {
		s += fmt.Sprintf(" (%s)", e.Detail)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the fault of the reason's kind.
func (e *Error) Unwrap() error {
	return &fault.Error{Kind: e.kind(), Msg: string(e.Reason), Err: e.Err}
}

func (e *Error) kind() fault.Kind {
	switch e.Reason {
	case Denied:
		return fault.Denied
	case InstanceNotFound, ImageNotFound, KeyPairNotFound, RoleNotFound, TemplateNotFound, InterfaceNotFound, AttachmentNotFound, ResourceNotFound, AssociationNotFound, AlarmNotFound:
		return fault.NotFound
	case ImageExists, KeyPairExists, TemplateExists, RoleAttached:
		return fault.Exists
	case Unavailable:
		return fault.Unavailable
	case SessionExpired, SessionRevoked:
		return fault.Unauthenticated
	case InterfaceInUse, PrimaryInterface, PrimaryAddress, DeviceInUse, StopProtected, SpotOnce, HibernationOff:
		return fault.Conflict
	case IncorrectState, DeletionProtected, TokensEnforced, SupportIrreversible, IdempotencyMismatch, AddressInUse, NoAddressLeft, DryRun:
		return fault.Conflict
	}
	return fault.Invalid
}
