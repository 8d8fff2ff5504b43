// Package cloudwatch serves the CloudWatch API, version 2010-08-01, as far as
// it is about the metrics of the metadata service and alarms on them: in the
// Query, the JSON 1.0 and the RPC v2 CBOR protocol, of which a request's own is
// answered. What each action takes and gives are plain structs, whose members
// have the names of the wire.
package cloudwatch

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"openimds/internal/api/sigv4"
	"openimds/internal/control"
	"openimds/internal/fault"
	"openimds/internal/usage/history"
	"openimds/internal/usage/series"
)

// Version is the version of the API.
const Version = "2010-08-01"

const (
	dialect = "ec2"
	// maxBody is the largest body that is read, in bytes.
	maxBody = 1 << 20
)

// History is what instances did, as history.File has it.
type History interface {
	Range(instance string, from, to time.Time, r series.Resolution) ([]series.Point, error)
	Totals(from, to time.Time, yield func(instance string, total history.Total)) error
}

// Config is what the API is made of. Control and History are required.
type Config struct {
	Control *control.Control
	// History has what instances did.
	History History
	// Flush makes the history current. Nil: it is.
	Flush func(context.Context) error
	// Now is the clock that signatures are held against. Default: time.Now.
	Now    func() time.Time
	Logger *slog.Logger
	// Random makes request ids. Default: crypto/rand.
	Random io.Reader
}

type handler struct{ Config }

// New returns the API.
func New(cfg Config) http.Handler {
	if cfg.Flush == nil {
		cfg.Flush = func(context.Context) error { return nil }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	return &handler{cfg}
}

// call is one request on its way through an action.
type call struct {
	*handler
	ctx    context.Context
	caller control.Caller
}

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := h.requestID()
	p := protocolOf(r)
	name, out, err := h.serve(w, r, p, id)
	if err == nil {
		if err = p.reply(w, name, id, out); err == nil {
			return
		}
	}
	p.refuse(w, h.explain(r, name, err, id), id)
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request, p protocol, id string) (name string, out any, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return "", nil, &failure{http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The request is larger than 1048576 bytes, or could not be read."}
	}
	caller, err := h.authenticate(r, body)
	if err != nil {
		return "", nil, err
	}
	name, input, err := p.parse(r, body)
	if err != nil {
		return name, nil, err
	}
	do, known := actions[name]
	if !known {
		return "", nil, &failure{http.StatusBadRequest, "InvalidAction", "Could not find operation " + clip(name) + " for version " + Version}
	}
	caller.Action, caller.RequestID, caller.UserAgent = name, id, r.UserAgent()
	if from, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		caller.SourceIP = from.Addr().Unmap()
	}
	out, err = do(&call{h, r.Context(), caller}, input)
	return name, out, err
}

// authenticate finds whose signature the request carries.
func (h *handler) authenticate(r *http.Request, body []byte) (control.Caller, error) {
	var caller control.Caller
	identity, err := sigv4.Verify(r, body, sigv4.Config{
		Now: h.Now(), Services: []string{"monitoring"},
		Lookup: func(accessKeyID, token string) (sigv4.Credentials, error) {
			secret, found, err := h.Control.Principal(dialect, accessKeyID, token)
			if refused, ok := errors.AsType[*control.Error](err); ok && refused.Reason == control.SessionExpired {
				return sigv4.Credentials{}, &sigv4.Error{Code: sigv4.ExpiredToken, Message: "The security token included in the request is expired"}
			}
			if err != nil && fault.KindOf(err) == fault.Unauthenticated {
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

// action decodes the input of one call, carries it out and returns its output.
type action func(c *call, input any) (any, error)

// does makes an action of a function that takes a decoded input.
func does[In, Out any](run func(*call, In) (Out, error)) action {
	return func(c *call, input any) (any, error) {
		var in In
		if err := decode(input, &in); err != nil {
			return nil, err
		}
		return run(c, in)
	}
}

// actions is the table of what the API can do.
var actions = map[string]action{
	"ListMetrics":             does(listMetrics),
	"GetMetricStatistics":     does(getMetricStatistics),
	"GetMetricData":           does(getMetricData),
	"PutMetricAlarm":          does(putMetricAlarm),
	"DescribeAlarms":          does(describeAlarms),
	"DescribeAlarmsForMetric": does(describeAlarmsForMetric),
	"DescribeAlarmHistory":    does(describeAlarmHistory),
	"DeleteAlarms":            does(deleteAlarms),
	"SetAlarmState":           does(setAlarmState),
	"EnableAlarmActions":      does(enableAlarmActions),
	"DisableAlarmActions":     does(disableAlarmActions),
	"ListTagsForResource":     does(listTagsForResource),
}

// nothing is the output of actions that have none.
type nothing struct{}

func (h *handler) requestID() string {
	var b [16]byte
	if _, err := io.ReadFull(h.Random, b[:]); err != nil {
		panic("cloudwatch: no random numbers: " + err.Error()) // crypto/rand never fails
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	d := hex.EncodeToString(b[:])
	return strings.Join([]string{d[:8], d[8:12], d[12:16], d[16:20], d[20:]}, "-")
}
