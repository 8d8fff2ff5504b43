package main

import (
	"context"
	"fmt"
	"time"

	"openimds/internal/config"
	"openimds/internal/fault"
	"openimds/internal/telemetry"
	"openimds/internal/usage/history"
	"openimds/internal/usage/ledger"
	"openimds/internal/usage/remote"
	"openimds/internal/usage/series"
)

// usageRemote is a place that usage is handed on to, and perhaps read from.
type usageRemote struct {
	shipper *remote.Shipper
	past    *remote.Past // nil: nothing is read from there
}

// handOn makes usage be handed on, where the settings say so. The place need not
// be there yet.
func (b *usageBook) handOn(c *config.RemoteUsage) error {
	if c == nil || b.Ledger == nil {
		return nil
	}
	at := remote.Access{
		URL: c.Write, TokenFile: c.TokenFile, User: c.User, PasswordFile: c.PasswordFile, Headers: c.Headers, HeaderFiles: c.HeaderFiles,
		CA: c.CA, Certificate: c.Certificate, Key: c.Key, Timeout: c.Timeout,
	}
	shipper, err := remote.NewShipper(remote.ShipperConfig{File: b.Kept(), Write: at, Labels: c.Labels, Logger: b.log})
	if err != nil {
		return usageError{fmt.Errorf("usage.remote: %w", err)}
	}
	b.remote = &usageRemote{shipper: shipper}
	if c.Query == "" {
		return nil
	}
	at.URL = c.Query
	b.remote.past, err = remote.NewPast(remote.PastConfig{File: b.Kept(), Query: at, Labels: c.Labels, Delivered: shipper.Delivered})
	if err != nil {
		return usageError{fmt.Errorf("usage.remote: %w", err)}
	}
	b.ReadFrom(b.remote.past)
	return nil
}

// sources are the metrics of handing on, where usage is.
func (b *usageBook) sources() []telemetry.Source {
	if b == nil || b.remote == nil {
		return nil
	}
	r := b.remote
	return []telemetry.Source{telemetry.Remote(func() telemetry.RemoteUsage {
		s := r.shipper.Stats()
		out := telemetry.RemoteUsage{Lag: s.Lag, Sent: s.Sent, Dropped: s.Dropped, Failed: s.Failed}
		if r.past != nil {
			out.Answered, out.Unanswered = r.past.Queries()
		}
		return out
	})}
}

// monitored is what the monitoring APIs read: the past as it is kept, wherever
// that is. To their clients, what cannot be read is an error inside; the log
// tells more.
type monitored struct{ l *ledger.Ledger }

func (b *usageBook) monitored() monitored { return monitored{b.Ledger} }

// Range is history.File.Range.
func (m monitored) Range(instance string, from, to time.Time, r series.Resolution) ([]series.Point, error) {
	points, err := m.l.Past(context.Background()).Range(instance, from, to, r) // ends with the time of a request
	return points, inside(err)
}

// Totals is history.File.Totals.
func (m monitored) Totals(from, to time.Time, yield func(instance string, total history.Total)) error {
	return inside(m.l.Past(context.Background()).Totals(from, to, yield))
}

func inside(err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(fault.Internal, err, "read usage")
}
