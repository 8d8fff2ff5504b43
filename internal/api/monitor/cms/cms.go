// Package cms serves the CloudMonitor API, version 2019-01-01, as far as it is
// about the metrics of the metadata service and alarm rules on them: RPC style,
// signatures V1 and V3, answers in JSON or XML.
package cms

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"openimds/internal/api/alisign"
	"openimds/internal/control"
	"openimds/internal/fault"
	"openimds/internal/metric"
	"openimds/internal/usage/history"
	"openimds/internal/usage/series"
)

// Version of the API.
const Version = "2019-01-01"

const (
	dialect = "ecs"
	maxBody = 1 << 20
	// maxNonces bounds the memory of used nonces.
	maxNonces = 1 << 18
)

// DefaultNamespace is ours: the vendor shows these metrics in a console and
// does not publish what they are called (ECS-CMS-02).
const DefaultNamespace = "openimds_ecs_metadata"

// defaultNames are ours, too.
var defaultNames = [series.Kinds]string{
	series.TokenFree: "normal_success",
	series.Rejected:  "normal_rejected",
	series.Tokened:   "hardened_success",
	series.BadToken:  "hardened_rejected",
	series.Minted:    "token_success",
	series.Throttled: "throttled",
	series.Suspects:  "hop_limit_suspects",
}

// Names are what the metrics are called.
type Names struct {
	namespace string
	kinds     [series.Kinds]string
}

var validName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// NewNames returns the names of metrics: the default ones, but for the
// namespace, if it is not empty, and for those that others has by the default
// name. Two metrics must not have one name.
func NewNames(namespace string, others map[string]string) (Names, error) {
	n := Names{DefaultNamespace, defaultNames}
	if namespace != "" {
		n.namespace = namespace
	}
	left := maps.Clone(others)
	seen := map[string]bool{}
	for k, name := range n.kinds {
		if other, ok := others[name]; ok {
			n.kinds[k] = other
			delete(left, name)
		}
		if !validName.MatchString(n.kinds[k]) || seen[n.kinds[k]] {
			return n, fault.New(fault.Invalid, "metric name %.40q: found a name that is used twice, or not one of letters, digits and _ . -", n.kinds[k])
		}
		seen[n.kinds[k]] = true
	}
	for name := range left {
		return n, fault.New(fault.Invalid, "metric name %.40q: found another name for a metric that does not exist, expected one of %s", name, strings.Join(defaultNames[:], ", "))
	}
	if !validName.MatchString(n.namespace) {
		return n, fault.New(fault.Invalid, "namespace %.40q: expected letters, digits and _ . -", n.namespace)
	}
	return n, nil
}

// Measure returns a metric by its names; false: there is none.
func (n Names) Measure(namespace, name string) (metric.Measure, bool) {
	if namespace != n.namespace {
		return nil, false
	}
	for k, is := range n.kinds {
		if is == name {
			return metric.Count(series.Kind(k)), true //nolint:gosec // there are few
		}
	}
	return nil, false
}

// History is what instances did, as history.File has it.
type History interface {
	Range(instance string, from, to time.Time, r series.Resolution) ([]series.Point, error)
	Totals(from, to time.Time, yield func(instance string, total history.Total)) error
}

// Config is what the API is made of. Control, History and Names are required.
type Config struct {
	Control *control.Control
	// History has what instances did.
	History History
	// Flush makes the history current. Nil: it is.
	Flush func(context.Context) error
	Names Names
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

// New returns the API as a handler.
func New(cfg Config) http.Handler {
	if cfg.Flush == nil {
		cfg.Flush = func(context.Context) error { return nil }
	}
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

// call is one verified call.
type call struct {
	*server
	ctx    context.Context
	caller control.Caller
	params parameters
	id     string
}

// actions are what the API can do.
var actions = map[string]func(*call) (any, error){
	"DescribeMetricList":     (*call).describeMetricList,
	"DescribeMetricLast":     (*call).describeMetricLast,
	"DescribeMetricMetaList": (*call).describeMetricMetaList,
	"PutResourceMetricRule":  (*call).putResourceMetricRule,
	"DescribeMetricRuleList": (*call).describeMetricRuleList,
	"DeleteMetricRules":      (*call).deleteMetricRules,
	"EnableMetricRules":      (*call).enableMetricRules,
	"DisableMetricRules":     (*call).disableMetricRules,
}

// policyActions are what policies call actions that have another name there
// (ECS-CMS-10).
var policyActions = map[string]string{
	"DescribeMetricList": "QueryMetricList",
	"DescribeMetricLast": "QueryMetricLast",
}

// ServeHTTP answers one call.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := s.requestID()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	asJSON := wantsJSON(r, body)
	var name string
	var reply any
	if err != nil {
		err = refuse(http.StatusRequestEntityTooLarge, "InvalidParameter", "The request body exceeds 1 MiB or could not be read.")
	} else {
		name, reply, err = s.call(r, body, id)
	}
	if err != nil {
		f := s.explain(err, name, id)
		send(w, asJSON, f.status, "Error", failed(f, id, r.Host))
		return
	}
	send(w, asJSON, http.StatusOK, name+"Response", reply)
}

func (s *server) call(r *http.Request, body []byte, id string) (string, any, error) {
	caller, signed, err := s.verify(r, body)
	if err != nil {
		return "", nil, err
	}
	if signed.Version != Version {
		return "", nil, refuse(http.StatusBadRequest, "InvalidVersion", "Specified parameter Version is not valid.")
	}
	act, ok := actions[signed.Action]
	if !ok {
		return "", nil, refuse(http.StatusNotFound, "InvalidAction.NotFound", "Specified api is not found, please check your url and method.")
	}
	caller.Action, caller.RequestID, caller.UserAgent, caller.Region = signed.Action, id, r.UserAgent(), s.Region
	if other, ok := policyActions[signed.Action]; ok {
		caller.Action = other
	}
	if from, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		caller.SourceIP = from.Addr().Unmap()
	}
	reply, err := act(&call{s, r.Context(), caller, signed.Params, id})
	return signed.Action, reply, err
}

// verify finds out who calls.
func (s *server) verify(r *http.Request, body []byte) (control.Caller, alisign.Request, error) {
	var caller control.Caller
	signed, err := alisign.Verify(r, body, alisign.Config{
		Now: s.Now(), Nonces: s.nonces,
		Lookup: func(id, token string) (alisign.Credentials, error) {
			secret, found, err := s.Control.Principal(dialect, id, token)
			if refused, ok := errors.AsType[*control.Error](err); ok && refused.Reason == control.SessionExpired {
				return alisign.Credentials{}, &alisign.Error{Code: alisign.ExpiredSecurityToken, Message: "Specified SecurityToken is expired."}
			}
			if err != nil && fault.KindOf(err) == fault.Unauthenticated {
				return alisign.Credentials{}, alisign.ErrUnknownKey
			}
			caller = found
			k := alisign.Credentials{AccessKeyID: id, AccessKeySecret: secret}
			if found.Session != nil {
				k.SecurityToken = token // the key was found in it
			}
			return k, err
		},
	})
	return caller, signed, err
}

// flush makes the history current, as far as it can.
func (c *call) flush() {
	if err := c.Flush(c.ctx); err != nil {
		c.Logger.WarnContext(c.ctx, "the counts of the last minute are not in an answer", "action", c.caller.Action, "err", err)
	}
}

func (s *server) requestID() string {
	var b [16]byte
	if _, err := io.ReadFull(s.Random, b[:]); err != nil {
		panic("cms: no random numbers: " + err.Error()) // crypto/rand never fails
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	d := strings.ToUpper(hex.EncodeToString(b[:]))
	return strings.Join([]string{d[:8], d[8:12], d[12:16], d[16:20], d[20:]}, "-")
}
