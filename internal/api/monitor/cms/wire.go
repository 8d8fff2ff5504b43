package cms

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"openimds/internal/api/alisign"
	"openimds/internal/control"
	"openimds/internal/fault"
)

// wantsJSON tells the form of the answer: the parameter Format, or else the
// header Accept; XML if both are silent.
func wantsJSON(r *http.Request, body []byte) bool {
	format := r.URL.Query().Get("Format")
	if format == "" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		form, _ := url.ParseQuery(string(body)) // what can be read is enough
		format = form.Get("Format")
	}
	if format == "" {
		return strings.HasPrefix(r.Header.Get("Accept"), "application/json")
	}
	return strings.EqualFold(format, "JSON")
}

func send(w http.ResponseWriter, asJSON bool, status int, root string, reply any) {
	contentType := "application/json;charset=utf-8"
	var b bytes.Buffer
	if asJSON {
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(reply) // what replies are made of always encodes
	} else {
		contentType = "text/xml;charset=utf-8"
		b.WriteString(xml.Header)
		_ = xml.NewEncoder(&b).EncodeElement(reply, xml.StartElement{Name: xml.Name{Local: root}})
	}
	body := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // nobody is left to tell
}

// result is what every reply begins with (ECS-CMS-03).
type result struct {
	RequestId string //nolint:staticcheck // name of the wire
	Success   bool
	Code      string
	Message   string `json:",omitempty" xml:",omitempty"`
}

func (c *call) ok() result { return result{RequestId: c.id, Success: true, Code: "200"} }

// failure is an error as the client sees it.
type failure struct {
	status        int
	code, message string
}

// Error returns the code alone: a message may repeat the request.
func (f *failure) Error() string { return f.code }

func refuse(status int, code, message string) error { return &failure{status, code, message} }

func missing(name string) error {
	return refuse(http.StatusBadRequest, "MissingParameter", "The parameter "+name+" is required.")
}

func invalid(name, problem string) error {
	return refuse(http.StatusBadRequest, "InvalidParameterValue", "The parameter "+name+" is invalid: "+problem+".")
}

type errorReply struct {
	RequestId, HostId string //nolint:staticcheck // names of the wire
	Code, Message     string
	Success           bool
	Recommend         string
}

func failed(f *failure, id, host string) errorReply {
	return errorReply{id, host, f.code, f.message, false,
		"https://api.alibabacloud.com/troubleshoot?q=" + url.QueryEscape(f.code) + "&product=Cms&requestId=" + id}
}

// signatureStatus has the codes of a signature that are not 400.
var signatureStatus = map[string]int{
	alisign.UnsupportedHTTPMethod: http.StatusForbidden,
	alisign.UnknownAccessKey:      http.StatusNotFound,
	alisign.DisabledAccessKey:     http.StatusForbidden,
}

// explain puts an error into the vendor's words (ECS-CMS-09), and logs what
// cannot be expected.
func (s *server) explain(err error, action, id string) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if e, ok := errors.AsType[*alisign.Error](err); ok {
		status := signatureStatus[e.Code]
		if status == 0 {
			status = http.StatusBadRequest
		}
		return &failure{status, e.Code, e.Message}
	}
	if e, ok := errors.AsType[*control.Error](err); ok {
		switch e.Reason {
		case control.Denied:
			return &failure{http.StatusForbidden, "Forbidden.RAM", "User not authorized to operate on the specified resource, or this API doesn't support RAM."}
		case control.AlarmNotFound:
			return &failure{http.StatusNotFound, "ResourceNotFound", "The specified resource is not found."}
		case control.TooManyAlarms:
			return &failure{http.StatusPaymentRequired, "LimitExceeded", "The quota for this customer had been reached."}
		case control.InvalidValue:
			text := "The parameter " + e.Subject + " is invalid."
			if e.Err != nil {
				text = fmt.Sprintf("The parameter %s is invalid: %v.", e.Subject, e.Err)
			}
			return &failure{http.StatusBadRequest, "InvalidParameterValue", text}
		}
	}
	switch fault.KindOf(err) {
	case fault.Conflict, fault.Unavailable:
		return &failure{http.StatusServiceUnavailable, "ServiceUnavailable", "The request has failed due to a temporary failure of the server."}
	}
	s.Logger.Error("a CloudMonitor call went wrong", "action", action, "request_id", id, "err", err)
	return &failure{http.StatusInternalServerError, "InternalError", "The request processing has failed due to some unknown error."}
}
