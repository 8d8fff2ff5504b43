// Package fault is the one error type that every layer speaks. A layer says
// what kind of trouble it met; only a dialect or an API turns the kind into a
// status code and a body.
package fault

import (
	"errors"
	"fmt"
)

// Kind is the class of an error.
type Kind uint8

// The ten kinds. The zero value is Internal, so that an error nobody
// classified is never mistaken for the caller's mistake.
const (
	Internal        Kind = iota // a defect or a broken invariant on our side
	Invalid                     // the input is malformed or out of range
	NotFound                    // the named thing does not exist
	Exists                      // the named thing exists already
	Conflict                    // the state does not permit it, or two inputs contradict
	Denied                      // the caller is known and may not
	Unauthenticated             // the caller is not known
	Throttled                   // too many requests; the same call may succeed later
	Unavailable                 // a dependency is away; the same call may succeed later
	Unsupported                 // understood, and not offered here
)

var names = [...]string{
	"internal", "invalid", "not found", "exists", "conflict",
	"denied", "unauthenticated", "throttled", "unavailable", "unsupported",
}

// String returns the kind in words.
func (k Kind) String() string {
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Error is an error with a kind. Msg is written for the person who caused it
// and may be shown to a client; Err is the cause and never leaves the process
// except in a log.
type Error struct {
	Kind Kind
	Msg  string
	Err  error
}

// New returns an error of kind k whose message is made as fmt.Sprintf does.
func New(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...)}
}

// Wrap is New with a cause.
func Wrap(k Kind, err error, format string, args ...any) *Error {
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...), Err: err}
}

// Error returns the message and the cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Msg
	}
	return e.Msg + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first Error in err's chain, and Internal when
// there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}
