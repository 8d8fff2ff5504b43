package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"openimds/internal/pki"
)

// warnBefore is how long before its end a certificate is warned of.
const warnBefore = 30 * 24 * time.Hour

// certificate watches when the node's certificate ends.
type certificate struct{ end atomic.Int64 } // Unix seconds; 0: it cannot be read

// watch looks at the certificate now and every few hours until ctx is done.
func (c *certificate) watch(ctx context.Context, files pki.Files, log *slog.Logger) {
	tick := time.NewTicker(6 * time.Hour)
	defer tick.Stop()
	for now := time.Now(); ; {
		c.look(files, now, log)
		select {
		case <-ctx.Done():
			return
		case now = <-tick.C:
		}
	}
}

func (c *certificate) look(files pki.Files, now time.Time, log *slog.Logger) {
	name, end, err := files.Own()
	if err != nil {
		c.end.Store(0)
		log.Error("the node's certificate cannot be read: the control plane will not be reached", "err", err)
		return
	}
	c.end.Store(end.Unix())
	if left := end.Sub(now); left < warnBefore {
		log.Warn("the node's certificate ends soon, and with it the control plane's changes: issue another with imds fleet certificate, and replace the files",
			"node", name, "file", files.Certificate, "ends", end.UTC(), "days", int(left.Hours()/24))
	}
}

// ends returns when the certificate ends; zero: it cannot be read.
func (c *certificate) ends() time.Time {
	if end := c.end.Load(); end != 0 {
		return time.Unix(end, 0).UTC()
	}
	return time.Time{}
}
