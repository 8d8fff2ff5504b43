package sts

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"openimds/internal/api/alisign"
	"openimds/internal/control"
	"openimds/internal/fault"
)

const (
	versionAliyun = "2015-04-01"
	// maxNonces bounds the memory of used nonces.
	maxNonces = 1 << 18
)

type aliyun struct {
	Config
	nonces *alisign.Nonces
}

// NewAliyun returns the API of Alibaba Cloud STS.
func NewAliyun(cfg Config) http.Handler {
	cfg.complete("cn-hangzhou")
	return &aliyun{cfg, alisign.NewNonces(alisign.NonceWindow, maxNonces)}
}

// ServeHTTP answers one call.
func (h *aliyun) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := strings.ToUpper(h.requestID())
	body, err := readBody(w, r)
	asJSON := wantsJSON(r, body)
	var action string
	var reply any
	if err != nil {
		err = &failure{http.StatusRequestEntityTooLarge, "InvalidParameter", "The request body exceeds 1 MiB or could not be read."}
	} else {
		action, reply, err = h.serve(r, body, id)
	}
	if err != nil {
		f := h.explain(err, action, id)
		send(w, asJSON, f.status, "Error", struct {
			RequestId, HostId, Code, Message string //nolint:staticcheck // names of the wire
			Recommend                        string
		}{id, r.Host, f.code, f.message, "https://api.alibabacloud.com/troubleshoot?q=" + url.QueryEscape(f.code) + "&product=Sts&requestId=" + id})
		return
	}
	send(w, asJSON, http.StatusOK, action+"Response", reply)
}

// wantsJSON tells the form of the answer, as the vendor's APIs do: the
// parameter Format, or else the header Accept; XML if both are silent.
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
		_ = json.NewEncoder(&b).Encode(reply) // strings always encode
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

func (h *aliyun) serve(r *http.Request, body []byte, id string) (action string, reply any, err error) {
	var caller control.Caller
	signed, err := alisign.Verify(r, body, alisign.Config{
		Now: h.Now(), Nonces: h.nonces,
		Lookup: func(key, token string) (alisign.Credentials, error) {
			secret, found, err := h.Control.Principal("ecs", key, token)
			switch {
			case isExpired(err):
				return alisign.Credentials{}, &alisign.Error{Code: alisign.ExpiredSecurityToken, Message: "Specified SecurityToken is expired."}
			case err != nil && fault.KindOf(err) == fault.Unauthenticated:
				return alisign.Credentials{}, alisign.ErrUnknownKey
			case err != nil:
				return alisign.Credentials{}, err
			}
			caller = found
			k := alisign.Credentials{AccessKeyID: key, AccessKeySecret: secret}
			if found.Session != nil {
				k.SecurityToken = token // the key was found in it
			}
			return k, nil
		},
	})
	if err != nil {
		return "", nil, err
	}
	if signed.Version != versionAliyun {
		return "", nil, &failure{http.StatusBadRequest, "InvalidVersion", "Specified parameter Version is not valid."}
	}
	caller = from(r, caller, signed.Action, id)
	caller.Region = h.Region
	switch signed.Action {
	case "GetCallerIdentity":
		reply, err = h.identity(caller, id)
	case "AssumeRole":
		reply, err = h.assume(r, caller, signed.Params, id)
	default:
		return "", nil, &failure{http.StatusNotFound, "InvalidAction.NotFound", "Specified api is not found, please check your url and method."}
	}
	return signed.Action, reply, err
}

// identity answers as ECS-STS-02 says.
func (h *aliyun) identity(caller control.Caller, id string) (any, error) {
	who, err := h.Control.Identity(caller)
	if err != nil {
		return nil, err
	}
	reply := struct {
		IdentityType string
		AccountId    string //nolint:staticcheck // names of the wire
		RequestId    string //nolint:staticcheck // name of the wire
		PrincipalId  string //nolint:staticcheck // name of the wire
		UserId       string `json:",omitempty" xml:",omitempty"` //nolint:staticcheck // name of the wire
		Arn          string
		RoleId       string `json:",omitempty" xml:",omitempty"` //nolint:staticcheck // name of the wire
	}{IdentityType: "RAMUser", AccountId: who.Account, RequestId: id, PrincipalId: who.UserID, Arn: who.ARN, RoleId: who.RoleID}
	if who.RoleID != "" {
		reply.IdentityType = "AssumedRoleUser"
	} else {
		reply.UserId = who.UserID
	}
	return reply, nil
}

func (h *aliyun) assume(r *http.Request, caller control.Caller, p map[string]string, id string) (any, error) {
	life, ok := seconds(p["DurationSeconds"])
	if !ok {
		return nil, &failure{http.StatusBadRequest, "InvalidParameter.DurationSeconds", "The parameter DurationSeconds is wrongly formed."}
	}
	if p["ExternalId"] != "" {
		return nil, &failure{http.StatusBadRequest, "InvalidParameter.ExternalId", "The parameter ExternalId is not offered here."}
	}
	made, err := h.Control.AssumeRole(r.Context(), caller, control.Assume{RoleARN: p["RoleArn"], SessionName: p["RoleSessionName"], Life: life, Policy: p["Policy"]})
	if err != nil {
		return nil, err
	}
	type user struct {
		AssumedRoleId string //nolint:staticcheck // names of the wire
		Arn           string
	}
	type keys struct {
		SecurityToken, AccessKeyId, AccessKeySecret, Expiration string //nolint:staticcheck // name of the wire
	}
	k := made.Credentials
	return struct {
		RequestId       string //nolint:staticcheck // name of the wire
		AssumedRoleUser user
		Credentials     keys
	}{id, user{made.ID, made.ARN}, keys{k.SessionToken, k.AccessKeyID, k.AccessKeySecret, k.Expires.UTC().Format("2006-01-02T15:04:05Z")}}, nil
}

// explain puts an error into the vendor's words (ECS-STS-04).
func (h *aliyun) explain(err error, action, id string) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if e, ok := errors.AsType[*alisign.Error](err); ok {
		status := http.StatusBadRequest
		if e.Code == alisign.UnknownAccessKey {
			status = http.StatusNotFound
		}
		return &failure{status, e.Code, e.Message}
	}
	if e, ok := errors.AsType[*control.Error](err); ok {
		if f := aliyunReason(e); f != nil {
			return f
		}
	}
	if fault.KindOf(err) == fault.Unavailable {
		return &failure{http.StatusServiceUnavailable, "ServiceUnavailable", "The request has failed due to a temporary failure of the server."}
	}
	h.Logger.Error("an STS call went wrong", "action", action, "request_id", id, "err", err)
	return &failure{http.StatusInternalServerError, "InternalError", "STS Server Internal Error happened, please send the RequestId to us."}
}

func aliyunReason(e *control.Error) *failure {
	switch e.Reason {
	case control.Denied, control.RoleNotFound:
		return &failure{http.StatusForbidden, "NoPermission", "You are not authorized to do this action. You should be authorized by RAM."}
	case control.MissingValue:
		return &failure{http.StatusBadRequest, "MissingParameter." + e.Subject, "The input parameter " + e.Subject + " that is mandatory for processing this request is not supplied."}
	case control.InvalidValue:
		return &failure{http.StatusBadRequest, "InvalidParameter." + e.Subject, "The parameter " + e.Subject + " is wrongly formed or out of range."}
	case control.PolicyMalformed:
		return &failure{http.StatusBadRequest, "InvalidParameter.PolicyGrammar", "The parameter Policy has not passed grammar check: " + cause(e)}
	case control.PolicyTooLarge:
		return &failure{http.StatusBadRequest, "InvalidParameter.PolicySize", "The size of Policy must be smaller than 2048 bytes."}
	}
	return nil
}
