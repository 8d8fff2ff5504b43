package sts

import (
	"errors"
	"net/http"
	"strings"

	"openimds/internal/api/sigv4"
	"openimds/internal/control"
	"openimds/internal/fault"
)

// signatureStatus are the statuses of what package sigv4 refuses (EC2-STS-04).
var signatureStatus = map[string]int{
	sigv4.MissingAuthenticationToken: http.StatusForbidden,
	sigv4.IncompleteSignature:        http.StatusBadRequest,
	sigv4.MalformedQueryString:       http.StatusBadRequest,
	sigv4.RequestExpired:             http.StatusForbidden,
	sigv4.InvalidClientTokenID:       http.StatusForbidden,
	sigv4.ExpiredToken:               http.StatusForbidden,
	sigv4.SignatureDoesNotMatch:      http.StatusForbidden,
}

// explain puts an error into the vendor's words, and logs what is not the
// client's mistake.
func (h *aws) explain(err error, action, id string) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if e, ok := errors.AsType[*sigv4.Error](err); ok {
		code := e.Code
		if code == sigv4.RequestExpired {
			code = sigv4.SignatureDoesNotMatch // STS has no other code for a clock that is wrong
		}
		return &failure{signatureStatus[e.Code], code, e.Message}
	}
	if e, ok := errors.AsType[*control.Error](err); ok {
		if f := awsReason(e, action); f != nil {
			return f
		}
	}
	if fault.KindOf(err) == fault.Unavailable {
		return &failure{http.StatusServiceUnavailable, "ServiceUnavailable", "The request has failed due to a temporary failure of the server."}
	}
	h.Logger.Error("an STS call went wrong", "action", action, "request_id", id, "err", err)
	return &failure{http.StatusInternalServerError, "InternalFailure", "The request processing has failed because of an unknown error, exception or failure."}
}

// members are the parameters of AssumeRole as messages name them.
var members = map[string]string{"RoleArn": "roleArn", "RoleSessionName": "roleSessionName", "DurationSeconds": "durationSeconds"}

func awsReason(e *control.Error, action string) *failure {
	switch e.Reason {
	case control.Denied:
		return &failure{http.StatusForbidden, "AccessDenied", "The caller is not authorized to perform: " + clip(e.Subject) + ", or the role may not be assumed."}
	case control.MissingValue:
		return validation(members[e.Subject], "failed to satisfy constraint: Member must not be null")
	case control.InvalidValue:
		if e.Subject == "DurationSeconds" && strings.HasPrefix(e.Detail, "between") {
			return &failure{http.StatusBadRequest, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role, or is less than 900: it must be " + e.Detail + "."}
		}
		if e.Subject == "RoleArn" {
			return &failure{http.StatusBadRequest, "ValidationError", clip(e.Detail) + " is invalid"}
		}
		return validation(members[e.Subject], "failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]* and have length between 2 and 64")
	case control.PolicyMalformed:
		return &failure{http.StatusBadRequest, "MalformedPolicyDocument", "The policy is not valid: " + cause(e)}
	case control.PolicyTooLarge:
		return &failure{http.StatusBadRequest, "PackedPolicyTooLarge", "The session policy is longer than 2048 characters."}
	case control.RoleNotFound:
		return &failure{http.StatusForbidden, "AccessDenied", "The caller is not authorized to perform: sts:" + clip(action) + ", or the role may not be assumed."}
	}
	return nil
}

// cause is what is wrong with a policy that the client sent itself.
func cause(e *control.Error) string {
	if e.Err == nil {
		return "it cannot be read"
	}
	line, _, _ := strings.Cut(e.Err.Error(), "\n")
	return line
}
