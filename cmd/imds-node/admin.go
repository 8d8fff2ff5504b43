package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"openimds/internal/fault"
	"openimds/internal/feed"
	"openimds/internal/node"
	"openimds/internal/telemetry"
	"openimds/internal/usage"
)

// view is what the admin address shows.
type view struct {
	node     *node.Node
	feed     func() feedReport
	serving  func() bool
	sources  []telemetry.Source
	problems func(err error) // of a client that went away
}

// feedReport is how the node stands to its control plane.
type feedReport struct {
	feed.Status
	// URL of the control plane.
	URL string `json:"url"`
	// HeldBack is how many instances are not served, because they contradict others.
	HeldBack int `json:"heldBack,omitempty"`
	// CertificateEnds is when the node's certificate ends; absent if it cannot be read.
	CertificateEnds time.Time `json:"certificateEnds,omitzero"`
}

// metrics is what the metrics say of it.
func (r feedReport) metrics() telemetry.FeedStatus {
	return telemetry.FeedStatus{
		Connected: r.Connected, Contact: r.Contact, Revision: r.Revision, Unsaved: r.Unsaved, HeldBack: r.HeldBack, CertificateEnd: r.CertificateEnds,
	}
}

// handler answers health, metrics, usage and the state of the feed. It refuses
// requests whose Host is a name other than localhost, so that a web page cannot
// read it by making its own name point here.
func (v *view) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", v.ready)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", telemetry.ContentType)
		if err := telemetry.WriteText(w, v.sources...); err != nil {
			v.problems(err)
		}
	})
	mux.HandleFunc("GET /v1/usage", v.usage)
	mux.HandleFunc("GET /v1/feed", func(w http.ResponseWriter, _ *http.Request) { v.json(w, http.StatusOK, v.feed()) })
	mux.HandleFunc("GET /v1/interfaces", func(w http.ResponseWriter, _ *http.Request) {
		v.json(w, http.StatusOK, map[string]any{"interfaces": v.node.Interfaces()})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !literal(r.Host) || r.Header.Get("Origin") != "" {
			text(w, http.StatusForbidden, "refused: use an IP address or localhost as the host, from a program that is not a browser's page")
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (v *view) ready(w http.ResponseWriter, _ *http.Request) {
	switch {
	case !v.serving():
		text(w, http.StatusServiceUnavailable, "not ready: it is ending")
	case v.feed().Revision == 0:
		text(w, http.StatusServiceUnavailable, "not ready: the control plane was never reached, and there is no last good state")
	default:
		text(w, http.StatusOK, "ready")
	}
}

func (v *view) usage(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("instance")
	if id == "" {
		v.json(w, http.StatusOK, struct {
			Usage []usage.Report `json:"usage"`
		}{v.node.Usages()})
		return
	}
	report, err := v.node.Usage(id)
	if err != nil {
		v.json(w, http.StatusNotFound, map[string]string{"error": fault.KindOf(err).String(), "message": err.Error()})
		return
	}
	v.json(w, http.StatusOK, report)
}

func (v *view) json(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		v.problems(err)
	}
}

func text(w http.ResponseWriter, status int, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(s + "\n"))
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
