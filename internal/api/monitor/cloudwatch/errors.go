package cloudwatch

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"openimds/internal/api/sigv4"
	"openimds/internal/control"
	"openimds/internal/fault"
)

// failure is an error as the client sees it, with the code of the Query
// protocol.
type failure struct {
	status        int
	code, message string
}

// Error returns the code alone: a message may repeat the request.
func (f *failure) Error() string { return f.code }

// shapes are the names that the newer protocols have for codes (EC2-CW-05); a
// code without one is its own.
var shapes = map[string]string{
	"MissingParameter":            "MissingRequiredParameterException",
	"InvalidParameterValue":       "InvalidParameterValueException",
	"InvalidParameterCombination": "InvalidParameterCombinationException",
	"LimitExceeded":               "LimitExceededFault",
	"InternalServiceError":        "InternalServiceFault",
	"AccessDenied":                "AccessDeniedException",
	"InvalidClientTokenId":        "UnrecognizedClientException",
	"SignatureDoesNotMatch":       "InvalidSignatureException",
	"ExpiredToken":                "ExpiredTokenException",
	"MissingAuthenticationToken":  "MissingAuthenticationTokenException",
	"IncompleteSignature":         "IncompleteSignatureException",
	"ValidationError":             "ValidationException",
	"InvalidAction":               "UnknownOperationException",
	"MalformedInput":              "SerializationException",
	"ServiceUnavailable":          "ServiceUnavailableException",
}

func (f *failure) shape() string {
	if name, ok := shapes[f.code]; ok {
		return name
	}
	return f.code
}

func (f *failure) fault() string {
	if f.status >= http.StatusInternalServerError {
		return "Receiver"
	}
	return "Sender"
}

func missing(parameter string) error {
	return &failure{http.StatusBadRequest, "MissingParameter", "The parameter " + parameter + " is required."}
}

func badValue(format string, args ...any) error {
	return &failure{http.StatusBadRequest, "InvalidParameterValue", fmt.Sprintf(format, args...)}
}

func badCombination(format string, args ...any) error {
	return &failure{http.StatusBadRequest, "InvalidParameterCombination", fmt.Sprintf(format, args...)}
}

func validation(format string, args ...any) error {
	return &failure{http.StatusBadRequest, "ValidationError", fmt.Sprintf(format, args...)}
}

func malformed(format string, args ...any) error {
	return &failure{http.StatusBadRequest, "MalformedInput", fmt.Sprintf(format, args...)}
}

func badToken() error {
	return &failure{http.StatusBadRequest, "InvalidNextToken", "The next token specified is invalid."}
}

// clip keeps messages short.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// signatures are the statuses of what package sigv4 refuses.
var signatures = map[string]int{
	sigv4.MissingAuthenticationToken: http.StatusForbidden,
	sigv4.InvalidClientTokenID:       http.StatusForbidden,
	sigv4.ExpiredToken:               http.StatusForbidden,
	sigv4.SignatureDoesNotMatch:      http.StatusForbidden,
}

// explain turns any error into what the client is told, and logs what it is
// not.
func (h *handler) explain(r *http.Request, action string, err error, id string) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if e, ok := errors.AsType[*sigv4.Error](err); ok {
		status := signatures[e.Code]
		if status == 0 {
			status = http.StatusBadRequest
		}
		return &failure{status, e.Code, e.Message}
	}
	if e, ok := errors.AsType[*control.Error](err); ok {
		switch e.Reason {
		case control.Denied:
			return &failure{http.StatusForbidden, "AccessDenied", "User is not authorized to perform: " + e.Subject}
		case control.AlarmNotFound:
			return &failure{http.StatusNotFound, "ResourceNotFound", "Alarm " + clip(e.Subject) + " does not exist"}
		case control.TooManyAlarms:
			return &failure{http.StatusBadRequest, "LimitExceeded", "The quota for alarms for this customer has already been reached."}
		case control.InvalidValue:
			text := "The value " + clip(e.Detail) + " for parameter " + e.Subject + " is not valid."
			if e.Err != nil {
				text += " It is expected that " + e.Err.Error() + "."
			}
			return &failure{http.StatusBadRequest, "InvalidParameterValue", text}
		}
	}
	switch fault.KindOf(err) {
	case fault.Conflict, fault.Unavailable:
		h.Logger.WarnContext(r.Context(), "a CloudWatch call could not be done now", "action", action, "request", id, "err", err)
		return &failure{http.StatusServiceUnavailable, "ServiceUnavailable", "The service is unavailable. Please try again shortly."}
	}
	if r.Context().Err() == nil {
		h.Logger.ErrorContext(r.Context(), "a CloudWatch call went wrong", "action", action, "request", id, "err", err)
	}
	return &failure{http.StatusInternalServerError, "InternalServiceError", "Request processing has failed because of an unknown error, exception or failure."}
}
