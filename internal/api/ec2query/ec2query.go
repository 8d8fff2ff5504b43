// Package ec2query serves the EC2 Query API, version 2016-11-15, over the use
// cases of the control plane: it verifies the signature, decodes parameters
// strictly, runs one action, and answers in the vendor's XML. What each action
// takes and gives stands in its own file; the table of actions is in actions.go
// and the table of errors in errors.go.
package ec2query

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"openimds/internal/api/sigv4"
	"openimds/internal/control"
	"openimds/internal/fault"
)

// Version is the version of the API.
const Version = "2016-11-15"

const (
	dialect   = "ec2"
	namespace = "http://ec2.amazonaws.com/doc/" + Version + "/"

	// maxBody is the largest body that is read, in bytes.
	maxBody = 1 << 20
)

// Config is what the API is made of. Control is required.
type Config struct {
	Control *control.Control
	// Now is the clock that signatures are held against. Default: time.Now.
	Now func() time.Time
	// Region is the one that is listed first; callers name their own in the
	// scope of their signature. Default: us-east-1.
	Region string
	Logger *slog.Logger
	// Random makes request ids and key pairs. Default: crypto/rand.
	Random io.Reader
}

type handler struct {
	cfg     Config
	actions map[string]action
}

// New returns the API.
func New(cfg Config) http.Handler {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	return &handler{cfg: cfg, actions: actions()}
}

// call is one request on its way through an action.
type call struct {
	*handler
	ctx    context.Context
	caller control.Caller
	// values are the parameters as sent, without those of the protocol.
	values url.Values
}

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, err := h.requestID()
	if err == nil {
		var name string
		var out response
		if name, out, err = h.serve(w, r, id); err == nil {
			out.stamp(id)
			if err = writeReply(w, name, out); err == nil {
				return
			}
		}
	}
	e := h.explain(r, err, id)
	writeError(w, e, id)
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request, id string) (string, response, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return "", nil, invalid("InvalidRequest", "The request method "+clip(r.Method)+" is not supported. Use GET or POST.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return "", nil, invalid("InvalidRequest", "The request is larger than the limit of 1048576 bytes.")
		}
		return "", nil, invalid("InvalidRequest", "The request body could not be read.")
	}
	caller, err := h.authenticate(r, body)
	if err != nil {
		return "", nil, err
	}
	values, err := parameters(r, body)
	if err != nil {
		return "", nil, err
	}
	caller.RequestID, caller.UserAgent = id, r.UserAgent()
	if from, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		caller.SourceIP = from.Addr().Unmap()
	}
	return h.dispatch(r.Context(), caller, values)
}

// authenticate finds whose signature the request carries.
func (h *handler) authenticate(r *http.Request, body []byte) (control.Caller, error) {
	var caller control.Caller
	identity, err := sigv4.Verify(r, body, sigv4.Config{
		Now: h.cfg.Now(), Services: []string{dialect},
		Lookup: func(accessKeyID, token string) (sigv4.Credentials, error) {
			secret, found, err := h.cfg.Control.Principal(dialect, accessKeyID, token)
			if refused, ok := errors.AsType[*control.Error](err); ok && refused.Reason == control.SessionExpired {
				return sigv4.Credentials{}, &sigv4.Error{Code: sigv4.ExpiredToken, Message: "Request has expired."}
			}
			if fault.KindOf(err) == fault.Unauthenticated && err != nil {
				return sigv4.Credentials{}, sigv4.ErrUnknownKey
			}
			caller = found
			k := sigv4.Credentials{AccessKeyID: accessKeyID, SecretKey: secret}
			if found.Session != nil {
				k.SessionToken = token // the key was found in it
			}
			return k, err
		},
	})
	caller.Region = identity.Region
	return caller, err
}

// dispatch runs the action that the parameters name.
func (h *handler) dispatch(ctx context.Context, caller control.Caller, values url.Values) (string, response, error) {
	name, version := values.Get("Action"), values.Get("Version")
	do, known := h.actions[name]
	switch {
	case name == "":
		return "", nil, invalid("MissingAction", "The request must contain the parameter Action")
	case version == "":
		return "", nil, missing("Version")
	case version != Version:
		return "", nil, invalid("NoSuchVersion", "The requested version ("+clip(version)+") of service AmazonEC2 does not exist")
	case !known:
		return "", nil, invalid("InvalidAction", "The action "+clip(name)+" is not valid for this web service.")
	}
	switch dry := values.Get("DryRun"); strings.ToLower(dry) {
	case "true":
		caller.DryRun = true
	case "false":
	default:
		if values.Has("DryRun") {
			return "", nil, badValue("DryRun", dry)
		}
	}
	caller.Action = name
	for _, own := range []string{"Action", "Version", "DryRun"} {
		values.Del(own)
	}
	tree, err := parseTree(values)
	if err != nil {
		return "", nil, err
	}
	out, err := do(&call{handler: h, ctx: ctx, caller: caller, values: values}, tree)
	return name, out, err
}

// parameters are those of the query and of a form in the body. Each may come
// once only; those of a presigned request are left out.
func parameters(r *http.Request, body []byte) (url.Values, error) {
	all := url.Values{}
	for _, text := range []string{r.URL.RawQuery, string(body)} {
		some, err := url.ParseQuery(text)
		if err != nil {
			return nil, invalid("MalformedQueryString", "The query string contains a syntax error.")
		}
		for name, values := range some {
			if strings.HasPrefix(name, "X-Amz-") {
				continue
			}
			if all.Has(name) || len(values) > 1 {
				return nil, invalid("InvalidParameterCombination", "The parameter "+clip(name)+" must not be repeated.")
			}
			if !writable(values[0]) {
				return nil, invalid("InvalidParameterValue", "The value of "+clip(name)+" holds bytes that are no UTF-8, or characters that XML cannot hold.")
			}
			all[name] = values
		}
	}
	return all, nil
}

// writable reports whether text can be answered as it came: what XML or the
// store had to replace would read back as something else.
func writable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
	})
}

// requestID returns a new UUID.
func (h *handler) requestID() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(h.cfg.Random, b[:]); err != nil {
		return "00000000-0000-4000-8000-000000000000", fault.Wrap(fault.Internal, err, "make a request id")
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	d := hex.EncodeToString(b[:])
	return strings.Join([]string{d[:8], d[8:12], d[12:16], d[16:20], d[20:]}, "-"), nil
}
