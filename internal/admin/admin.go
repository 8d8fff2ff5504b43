// Package admin is the operator's HTTP interface: health, metrics and the
// usage of instances.
package admin

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"openimds/internal/fault"
	"openimds/internal/node"
	"openimds/internal/usage"
)

// Config is what a Handler is made of. All fields are required.
type Config struct {
	Node    *node.Node
	Metrics prometheus.Gatherer
	Logger  *slog.Logger
	// Ready reports whether every listener accepts.
	Ready func() bool
}

// New returns the handler:
//
//	GET /healthz                 200 while the process runs
//	GET /readyz                  200 once every listener accepts, 503 before
//	GET /metrics                 Prometheus text format
//	GET /v1/usage                usage of all instances: {"usage": [Report, …]}
//	GET /v1/usage?instance=ID    usage of one instance: Report; 404 when there is none
//
// It refuses requests whose Host is a name other than localhost, so that a web
// page cannot read it by making its own name point here.
func New(cfg Config) http.Handler {
	h := &handler{cfg}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", h.ready)
	mux.HandleFunc("GET /v1/usage", h.usage)
	mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Metrics, promhttp.HandlerOpts{}))
	return guard(mux)
}

type handler struct{ Config }

func (h *handler) ready(w http.ResponseWriter, _ *http.Request) {
	if !h.Ready() {
		text(w, http.StatusServiceUnavailable, "not ready")
		return
	}
	text(w, http.StatusOK, "ready")
}

// allUsage is the answer when no instance was named.
type allUsage struct {
	Usage []usage.Report `json:"usage"`
}

func (h *handler) usage(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if !q.Has("instance") {
		h.reply(w, allUsage{h.Node.Usages()})
		return
	}
	report, err := h.Node.Usage(q.Get("instance"))
	if err != nil {
		h.refuse(w, err)
		return
	}
	h.reply(w, report)
}

func (h *handler) reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		h.Logger.Debug("the client of the admin API went away", "err", err)
	}
}

// problem is the body of an error.
type problem struct {
	Error   string `json:"error"`
	Message string `json:"message"`
}

// statuses of error kinds; the rest is 500.
var statuses = map[fault.Kind]int{
	fault.Invalid: http.StatusBadRequest, fault.NotFound: http.StatusNotFound, fault.Exists: http.StatusConflict,
	fault.Conflict: http.StatusConflict, fault.Denied: http.StatusForbidden, fault.Unauthenticated: http.StatusUnauthorized,
	fault.Throttled: http.StatusTooManyRequests, fault.Unavailable: http.StatusServiceUnavailable,
	fault.Unsupported: http.StatusNotImplemented,
}

func (h *handler) refuse(w http.ResponseWriter, err error) {
	kind := fault.KindOf(err)
	status, ok := statuses[kind]
	if !ok {
		status = http.StatusInternalServerError
		h.Logger.Error("admin API", "err", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(problem{kind.String(), err.Error()}); err != nil {
		h.Logger.Debug("the client of the admin API went away", "err", err)
	}
}

func text(w http.ResponseWriter, status int, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(s + "\n"))
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
