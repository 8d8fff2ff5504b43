// Package admin is the operator's HTTP interface: health, metrics, the usage of
// instances, and everything that the control plane knows, to read and to
// change. Its routes stand in one table, of which the handlers and the OpenAPI
// description are made.
package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"openimds/internal/audit"
	"openimds/internal/control"
	"openimds/internal/feed/hub"
	"openimds/internal/node"
	"openimds/internal/readiness/survey"
	"openimds/internal/usage/ledger"
)

// Config is what a Handler is made of. Node, Metrics, Logger, Ready and Control
// are required.
type Config struct {
	Node    *node.Node
	Metrics prometheus.Gatherer
	Logger  *slog.Logger
	// Ready reports whether every listener accepts.
	Ready func() bool
	// Control carries out what is asked for.
	Control *control.Control
	// CheckTemplate checks the parameters of a launch template as the API that they are of does. Nil: they are not checked before a launch.
	CheckTemplate func(parameters map[string]string) error
	// Audit is queried; nil: nothing is recorded.
	Audit *audit.Log
	// Token is what a caller must bring, as a bearer token, for everything below /v1. Empty: nothing, as on a loopback address.
	Token string
	// Nodes returns those of the fleet; nil: there is no fleet.
	Nodes func() []hub.Node
	// Usage of instances in the course of time; nil: it is not kept.
	Usage *ledger.Ledger
	// Survey judges instances, and Hardener switches them; nil: neither is done.
	Survey   *survey.Survey
	Hardener *control.Hardener
	// TraceToken is what tracers may bring, for their findings alone, where a Token is asked for. Empty: they bring that.
	TraceToken string
	// Certificates of identity documents; nil: none are signed here.
	Certificates Certificates
	// Backup, if the store has one.
	Backup Backup
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// New returns the handler of all routes; docs/reference/openapi.json describes
// them.
//
// It refuses requests whose Host is a name other than localhost, so that a web
// page cannot read it by making its own name point here.
func New(cfg Config) http.Handler {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	h := &handler{Config: cfg, mux: http.NewServeMux(), token: sha256.Sum256([]byte(cfg.Token)), trace: sha256.Sum256([]byte(cfg.TraceToken))}
	for _, r := range routes() {
		h.mux.HandleFunc(r.method+" "+r.path, h.handle(r))
	}
	return guard(h)
}

type handler struct {
	Config
	mux   *http.ServeMux
	token [sha256.Size]byte
	trace [sha256.Size]byte
}

// ServeHTTP answers a request; what is no route gets an answer in JSON, too.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, pattern := h.mux.Handler(r); pattern == "" {
		h.noRoute(w, r)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// authorized reports whether a request brings the token, or, for what tracers
// may do, theirs. Digests are compared, so that the time it takes says nothing
// about the token.
func (h *handler) authorized(r *http.Request, reporter bool) bool {
	if h.Token == "" {
		return true
	}
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(given)))
	good := subtle.ConstantTimeCompare(sum[:], h.token[:])
	if reporter && h.TraceToken != "" {
		good |= subtle.ConstantTimeCompare(sum[:], h.trace[:])
	}
	return good == 1 && strings.EqualFold(scheme, "Bearer")
}

// guard refuses what only a browser on somebody else's page would send.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !literal(r.Host) || r.Header.Get("Origin") != "" {
			text(w, http.StatusForbidden, "refused: use an IP address or localhost as the host, from a program that is not a browser's page")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// literal reports whether a Host header names an IP address or localhost.
func literal(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	_, err := netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}
