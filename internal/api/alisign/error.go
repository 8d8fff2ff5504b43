package alisign

import (
	"errors"
	"strings"
)

// Codes of an Error, in the vendor's words.
const (
	MissingParameter      = "MissingParameter"
	InvalidParameter      = "InvalidParameter"
	InvalidScheme         = "InvalidParamater" // [sic] of a method or version of signature that is not offered
	UnsupportedHTTPMethod = "UnsupportedHTTPMethod"
	IncompleteSignature   = "IncompleteSignature" // it is signed in a form that cannot be read
	IllegalTimestamp      = "IllegalTimestamp"    // its timestamp cannot be read
	TimestampExpired      = "InvalidTimeStamp.Expired"
	UnknownAccessKey      = "InvalidAccessKeyId.NotFound"
	DisabledAccessKey     = "Forbidden.AccessKeyDisabled" // for a Lookup to say
	SignatureDoesNotMatch = "SignatureDoesNotMatch"
	MissingSecurityToken  = "MissingSecurityToken"
	WrongSecurityToken    = "InvalidSecurityToken.MismatchWithAccessKey"
	ExpiredSecurityToken  = "InvalidSecurityToken.Expired" // for a Lookup to say
	NonceUsed             = "SignatureNonceUsed"
	Throttling            = "Throttling" // more requests than nonces can be remembered
)

// Error is why a request is refused.
type Error struct {
	// Code is one of the codes of this package.
	Code string
	// Message is for the client alone. When signatures do not match it repeats,
	// as the vendor's does, what the client should have signed, which in
	// version 1 is every parameter, the security token among them.
	Message string
}

// serverString is what the vendor's SDKs look for in a message: what follows
// must be the string to sign, and nothing else.
const serverString = " server string to sign is:"

// Error returns the code and what of the message may be logged.
func (e *Error) Error() string {
	line, _, _ := strings.Cut(e.Message, serverString)
	return e.Code + ": " + line
}

// ErrUnknownKey is what a Lookup returns for an access key that does not exist.
var ErrUnknownKey = errors.New("access key is not known")

func refuse(code, message string) *Error { return &Error{code, message} }

// incomplete says what does not conform.
func incomplete(why string) *Error {
	return refuse(IncompleteSignature, "The request signature does not conform to Aliyun standards. "+why)
}

func notSupplied(parameter string) string {
	return `The input parameter "` + parameter + `" that is mandatory for processing this request is not supplied.`
}

func notValid(parameter string) string {
	return `The specified parameter "` + show(parameter) + `" is not valid.`
}

// show returns a piece of the request for a message: printable, and short.
func show(s string) string {
	const longest = 64
	if len(s) > longest {
		s = s[:longest] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
