package sigv4

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
)

// Codes of an Error, in the vendor's words. An API that has another word for
// one of them translates: EC2 says AuthFailure for InvalidClientTokenId.
const (
	MissingAuthenticationToken = "MissingAuthenticationToken" // the request is not signed
	IncompleteSignature        = "IncompleteSignature"        // it is signed in a form that cannot be read
	MalformedQueryString       = "MalformedQueryString"       // the query has a wrong escape or too many parameters
	RequestExpired             = "RequestExpired"             // its date is too far from now
	InvalidClientTokenID       = "InvalidClientTokenId"       // its access key or session token is not known
	ExpiredToken               = "ExpiredToken"               // its session is over; for a Lookup to say
	SignatureDoesNotMatch      = "SignatureDoesNotMatch"      // it was signed with another secret, or changed since
)

// Error is why a request is refused.
type Error struct {
	// Code is one of the codes of this package.
	Code string
	// Message is for the client alone. When signatures do not match it repeats,
	// as the vendor's does, what the client should have signed, and with that
	// any session token and parameter that came with the request. It may hold
	// whatever bytes the client sent.
	Message string
}

// Error returns the code and the first line of the message, which says nothing
// that must not be logged.
func (e *Error) Error() string {
	line, _, _ := strings.Cut(e.Message, "\n")
	return e.Code + ": " + line
}

// ErrUnknownKey is what a Lookup returns for an access key that does not exist
// or must not be used.
var ErrUnknownKey = errors.New("access key is not known")

const unknownToken = "The security token included in the request is invalid."

func refuse(code, message string) *Error { return &Error{code, message} }

func mismatch(canonical, toSign string) *Error {
	return refuse(SignatureDoesNotMatch,
		"The request signature we calculated does not match the signature you provided. "+
			"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.\n\n"+
			"The Canonical String for this request should have been\n'"+canonical+"'\n\n"+
			"The String-to-Sign should have been\n'"+toSign+"'\n")
}

// mustBeSigned takes a header's name as the message is to show it.
func mustBeSigned(header string) *Error {
	return refuse(SignatureDoesNotMatch, header+" must be a 'SignedHeader' in the AWS Authorization.")
}

// digest stands for an Authorization header in a message: whoever sent it can
// compare, and nobody else can use it.
func digest(authorization string) string {
	sum := sha256.Sum256([]byte(authorization))
	return base64.StdEncoding.EncodeToString(sum[:])
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
