package main

import (
	"context"
	"path/filepath"

	"openimds/internal/feed"
	"openimds/internal/usage/meter"
	"openimds/internal/usage/series"
)

// usageFolder is where reports wait in the state folder while the control plane
// is away.
const usageFolder = "usage"

// count begins to count for reports what the node does. It has no instances
// yet.
func (h *host) count(name string, calls *feed.Calls) error {
	var err error
	h.meter, err = meter.New(meter.Config{
		Node: name, Harvest: h.node.Harvest, Spool: filepath.Join(h.settings.State, usageFolder), Overlaps: h.inherited != "", Logger: h.log,
		Record: func(ctx context.Context, r series.Report) error { return calls.Usage(ctx, r) },
	})
	return err
}

// rejected hears of requests that were refused for want of a token: who
// switched an instance to required tokens is to know at once.
func (h *host) rejected(instance string) {
	if h.meter != nil {
		h.meter.Nudge(instance)
	}
}

// report begins to report to the control plane. What it returns ends that, with
// a last report, once nobody is served any more.
func (h *host) report(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.meter.Run(ctx)
	}()
	return func() { cancel(); <-done }
}
