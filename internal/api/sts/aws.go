package sts

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"openimds/internal/api/sigv4"
	"openimds/internal/control"
	"openimds/internal/fault"
)

const (
	versionAWS = "2011-06-15"
	namespace  = "https://sts.amazonaws.com/doc/" + versionAWS + "/"
)

type aws struct{ Config }

// NewAWS returns the API of AWS STS.
func NewAWS(cfg Config) http.Handler {
	cfg.complete("us-east-1")
	return &aws{cfg}
}

// ServeHTTP answers one call.
func (h *aws) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := h.requestID()
	action, result, err := h.serve(w, r, id)
	if err == nil {
		var b bytes.Buffer
		b.WriteString(xml.Header)
		e := xml.NewEncoder(&b)
		e.Indent("", "  ")
		reply := struct {
			Result any
			ID     string `xml:"ResponseMetadata>RequestId"`
		}{result, id}
		root := xml.StartElement{Name: xml.Name{Local: action + "Response"}, Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: namespace}}}
		if err = e.EncodeElement(reply, root); err == nil {
			sendXML(w, http.StatusOK, b.Bytes())
			return
		}
	}
	f := h.explain(err, action, id)
	kind := "Sender"
	if f.status >= http.StatusInternalServerError {
		kind = "Receiver"
	}
	body, _ := xml.Marshal(struct { // strings always encode
		XMLName xml.Name `xml:"ErrorResponse"`
		Space   string   `xml:"xmlns,attr"`
		Type    string   `xml:"Error>Type"`
		Code    string   `xml:"Error>Code"`
		Message string   `xml:"Error>Message"`
		ID      string   `xml:"RequestId"`
	}{Space: namespace, Type: kind, Code: f.code, Message: f.message, ID: id})
	sendXML(w, f.status, append([]byte(xml.Header), body...))
}

func sendXML(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("Cache-Control", "no-cache, no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // whoever went away needs no answer
}

func (h *aws) serve(w http.ResponseWriter, r *http.Request, id string) (action string, result any, err error) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return "", nil, &failure{http.StatusBadRequest, "InvalidRequest", "Use GET or POST."}
	}
	body, err := readBody(w, r)
	if err != nil {
		return "", nil, &failure{http.StatusBadRequest, "InvalidRequest", "The request is too large or could not be read."}
	}
	caller, err := h.authenticate(r, body)
	if err != nil {
		return "", nil, err
	}
	values := url.Values{}
	for _, text := range []string{r.URL.RawQuery, string(body)} {
		some, err := url.ParseQuery(text)
		if err != nil {
			return "", nil, &failure{http.StatusBadRequest, "MalformedQueryString", "The query string contains a syntax error."}
		}
		for name, v := range some {
			if values.Has(name) || len(v) > 1 {
				return "", nil, &failure{http.StatusBadRequest, "InvalidParameterCombination", "A parameter must not be repeated."}
			}
			values[name] = v
		}
	}
	action = values.Get("Action")
	if v := values.Get("Version"); v != versionAWS {
		return "", nil, &failure{http.StatusBadRequest, "InvalidAction", "Could not find operation for version " + clip(v)}
	}
	caller = from(r, caller, action, id)
	switch action {
	case "GetCallerIdentity":
		result, err = h.identity(caller)
	case "AssumeRole":
		result, err = h.assume(r, caller, values)
	default:
		return "", nil, &failure{http.StatusBadRequest, "InvalidAction", "Could not find operation " + clip(action) + " for version " + versionAWS}
	}
	return action, result, err
}

// authenticate finds whose signature the request carries.
func (h *aws) authenticate(r *http.Request, body []byte) (control.Caller, error) {
	var caller control.Caller
	identity, err := sigv4.Verify(r, body, sigv4.Config{
		Now: h.Now(), Services: []string{"sts"},
		Lookup: func(id, token string) (sigv4.Credentials, error) {
			secret, found, err := h.Control.Principal("ec2", id, token)
			switch {
			case isExpired(err):
				return sigv4.Credentials{}, &sigv4.Error{Code: sigv4.ExpiredToken, Message: "The security token included in the request is expired"}
			case err != nil && fault.KindOf(err) == fault.Unauthenticated:
				return sigv4.Credentials{}, sigv4.ErrUnknownKey
			case err != nil:
				return sigv4.Credentials{}, err
			}
			caller = found
			k := sigv4.Credentials{AccessKeyID: id, SecretKey: secret}
			if found.Session != nil {
				k.SessionToken = token // the key was found in it
			}
			return k, nil
		},
	})
	caller.Region = identity.Region
	return caller, err
}

func (h *aws) identity(caller control.Caller) (any, error) {
	id, err := h.Control.Identity(caller)
	if err != nil {
		return nil, err
	}
	return struct {
		XMLName xml.Name `xml:"GetCallerIdentityResult"`
		Arn     string   `xml:"Arn"`
		UserID  string   `xml:"UserId"`
		Account string   `xml:"Account"`
	}{Arn: id.ARN, UserID: id.UserID, Account: id.Account}, nil
}

// notOffered are parameters of AssumeRole that change what the session may do
// and are not kept: a request with one is refused rather than misunderstood.
var notOffered = []string{"ExternalId", "SerialNumber", "TokenCode", "SourceIdentity", "PolicyArns.", "Tags.", "TransitiveTagKeys.", "ProvidedContexts."}

func (h *aws) assume(r *http.Request, caller control.Caller, p url.Values) (any, error) {
	life, ok := seconds(p.Get("DurationSeconds"))
	if !ok {
		return nil, validation("durationSeconds", "is not a number of seconds")
	}
	for name := range p {
		for _, no := range notOffered {
			if name == no || strings.HasSuffix(no, ".") && strings.HasPrefix(name, no) {
				return nil, &failure{http.StatusBadRequest, "InvalidParameterValue", "The parameter " + clip(name) + " is not offered here."}
			}
		}
	}
	made, err := h.Control.AssumeRole(r.Context(), caller, control.Assume{
		RoleARN: p.Get("RoleArn"), SessionName: p.Get("RoleSessionName"), Life: life, Policy: p.Get("Policy"),
	})
	if err != nil {
		return nil, err
	}
	type user struct {
		AssumedRoleID string `xml:"AssumedRoleId"`
		Arn           string
	}
	type keys struct{ AccessKeyId, SecretAccessKey, SessionToken, Expiration string } //nolint:staticcheck // names of the wire
	k := made.Credentials
	return struct {
		XMLName xml.Name `xml:"AssumeRoleResult"`
		User    user     `xml:"AssumedRoleUser"`
		Keys    keys     `xml:"Credentials"`
		Packed  *int     `xml:"PackedPolicySize"`
	}{
		User: user{made.ID, made.ARN},
		Keys: keys{k.AccessKeyID, k.AccessKeySecret, k.SessionToken, k.Expires.UTC().Format(time.RFC3339)},
		Packed: func() *int {
			if made.PolicyShare == 0 {
				return nil
			}
			return &made.PolicyShare
		}(),
	}, nil
}

func validation(parameter, problem string) *failure {
	return &failure{http.StatusBadRequest, "ValidationError", "1 validation error detected: Value at '" + parameter + "' " + problem}
}

// clip keeps messages short.
func clip(s string) string {
	if len(s) > 64 {
		s = strings.ToValidUTF8(s[:64], "") + "..."
	}
	return s
}
