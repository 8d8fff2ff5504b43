// Package ecsrpc is the ECS API, version 2014-05-26, RPC style: flat parameters
// in query and form, signatures V1 and V3, answers in JSON or XML. It decodes
// into the use cases of package control and encodes what they return.
package ecsrpc

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"openimds/internal/api/alisign"
	"openimds/internal/control"
)

// Version of the API.
const Version = "2014-05-26"

const (
	maxBody = 1 << 20
	// maxNonces bounds the memory of used nonces to a few tens of megabytes.
	maxNonces = 1 << 20
)

// Config is what the handler is made of. Control is required.
type Config struct {
	Control *control.Control
	// Now is the clock that signatures are held against.
	Now func() time.Time
	// Region is meant where a request names none. Default: cn-hangzhou.
	Region string
	Logger *slog.Logger
	// Random gives request ids.
	Random io.Reader
}

type server struct {
	Config
	nonces *alisign.Nonces
}

// New returns the API as a handler. It answers every path: its parameters
// alone say what a request means.
func New(cfg Config) http.Handler {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Region == "" {
		cfg.Region = "cn-hangzhou"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	return &server{cfg, alisign.NewNonces(alisign.NonceWindow, maxNonces)}
}

// ServeHTTP answers one call.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := answer{w: w, host: r.Host, requestID: s.requestID(), json: wantsJSON(r, nil)}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		out.fail(&wireError{http.StatusRequestEntityTooLarge, "InvalidParameter", "The request body exceeds 1 MiB or could not be read."})
		return
	}
	out.json = wantsJSON(r, body)
	reply, action, err := s.call(r, body, out.requestID)
	if err != nil {
		refused, known := toWire(err)
		if !known {
			s.Logger.Error("an ECS API call failed", "action", action, "request_id", out.requestID, "err", err)
		}
		out.fail(refused)
		return
	}
	out.succeed(action, reply)
}

// call verifies, decodes and runs a request.
func (s *server) call(r *http.Request, body []byte, requestID string) (reply any, name string, err error) {
	caller, signed, err := s.verify(r, body)
	if err != nil {
		return nil, "", err
	}
	if signed.Version != Version {
		return nil, "", invalid("Version")
	}
	act, ok := actions[signed.Action]
	if !ok {
		return nil, "", &wireError{http.StatusForbidden, "InvalidAction", "Specified action is not valid."}
	}
	caller.Action, caller.RequestID, caller.UserAgent = signed.Action, requestID, r.UserAgent()
	if from, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		caller.SourceIP = from.Addr().Unmap()
	}
	if caller.Region = signed.Params["RegionId"]; caller.Region == "" {
		caller.Region = s.Region
	} else if !regionID.MatchString(caller.Region) {
		return nil, "", &wireError{http.StatusNotFound, "InvalidRegionId.NotFound", "The RegionId provided does not exist in our records."}
	}
	if err := decode(signed.Params, &struct {
		DryRun *bool `p:"DryRun"`
	}{&caller.DryRun}); err != nil {
		return nil, "", err
	}
	reply, err = act(r.Context(), &request{s, caller, signed.Params, r.Host})
	return reply, signed.Action, err
}

// regionID keeps what goes into resource names and keys harmless.
var regionID = regexp.MustCompile(`^[a-z][a-z0-9-]{1,62}$`)

// verify finds out who calls.
func (s *server) verify(r *http.Request, body []byte) (control.Caller, alisign.Request, error) {
	var caller control.Caller
	signed, err := alisign.Verify(r, body, alisign.Config{
		Now: s.Now(), Nonces: s.nonces,
		Lookup: func(id, token string) (alisign.Credentials, error) {
			secret, found, err := s.Control.Principal("ecs", id, token)
			if err != nil {
				if isReason(err, control.SessionExpired) {
					return alisign.Credentials{}, &alisign.Error{Code: alisign.ExpiredSecurityToken, Message: "Specified SecurityToken is expired."}
				}
				if isUnauthenticated(err) {
					return alisign.Credentials{}, alisign.ErrUnknownKey
				}
				return alisign.Credentials{}, err
			}
			caller = found
			k := alisign.Credentials{AccessKeyID: id, AccessKeySecret: secret}
			if found.Session != nil {
				k.SecurityToken = token // the key was found in it
			}
			return k, nil
		},
	})
	return caller, signed, err
}

// request is one verified call.
type request struct {
	*server
	caller control.Caller
	params map[string]string
	host   string // as the client called us
}

// sum is a digest of the parameters that make two calls the same.
func (r *request) sum() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(r.params)) {
		if name != "ClientToken" && name != "Format" {
			fmt.Fprintf(h, "%q=%q\n", name, r.params[name])
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// action runs one API action: it decodes the parameters and returns what
// encode takes.
type action func(context.Context, *request) (any, error)

// does makes an action of a function of its typed input.
func does[In any](run func(context.Context, *request, In) (any, error)) action {
	return func(ctx context.Context, r *request) (any, error) {
		var in In
		if err := decode(r.params, &in); err != nil {
			return nil, err
		}
		return run(ctx, r, in)
	}
}

func (s *server) requestID() string {
	b := make([]byte, 16)
	if _, err := io.ReadFull(s.Random, b); err != nil {
		panic("ecsrpc: no random numbers: " + err.Error()) // crypto/rand never fails
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return strings.ToUpper(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
}
