// Package meter turns a node's counters into reports, one a minute, and brings
// them to where usage is kept: each at least once, in spite of restarts and of
// a control plane that is away.
package meter

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"openimds/internal/fault"
	"openimds/internal/node"
	"openimds/internal/usage"
	"openimds/internal/usage/series"
)

// Config is what a Meter is made of. Harvest and Record are required.
type Config struct {
	// Harvest reads the counters of a node.
	Harvest func() []node.Activity
	// Record takes a report. An error means that it is to be sent again, but for fault.Invalid.
	Record func(context.Context, series.Report) error
	// Node is the name of the node.
	Node string
	// Spool is a folder for reports that could not be sent. Empty: they are kept in memory.
	Spool string
	Now   func() time.Time
	// Logger hears of reports that are late, or lost.
	Logger *slog.Logger
}

// Meter reports what a node counts. Its methods are safe for concurrent use.
type Meter struct {
	cfg  Config
	boot string

	mu       sync.Mutex // held while counters are read, and reports made and sent
	last     map[string]usage.Report
	sequence uint64
	pending  *spool
	late     bool
}

// New returns a meter. Reports of an earlier run that were not sent are in its
// spool.
func New(cfg Config) (*Meter, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	pending, err := openSpool(cfg.Spool)
	if err != nil {
		return nil, err
	}
	return &Meter{cfg: cfg, boot: rand.Text(), last: map[string]usage.Report{}, pending: pending}, nil
}

// Run reports at the end of each minute until ctx is done, and then once more.
func (m *Meter) Run(ctx context.Context) {
	for {
		now := m.cfg.Now()
		t := time.NewTimer(now.Truncate(time.Minute).Add(time.Minute).Sub(now))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			m.report(end)
			cancel()
			return
		}
		m.report(ctx)
	}
}

// report flushes, and logs where that does not succeed for the first time, and
// where it does again.
func (m *Meter) report(ctx context.Context) {
	err := m.Flush(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err != nil && !m.late:
		m.cfg.Logger.Warn("usage could not be reported; it is kept and sent later", "err", err)
	case err == nil && m.late:
		m.cfg.Logger.Info("usage is reported again")
	}
	m.late = err != nil
}

// Flush reports what was counted until now. When it returns nil, all of it is
// where usage is kept.
func (m *Meter) Flush(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, ok := m.count(); ok {
		if dropped, err := m.pending.add(r); err != nil {
			m.cfg.Logger.Error("a usage report is in memory only", "err", err)
		} else if dropped {
			m.cfg.Logger.Error("the oldest usage report was dropped: the control plane has been away for too long")
		}
	}
	return m.pending.drain(func(r series.Report) error {
		err := m.cfg.Record(ctx, r)
		if fault.KindOf(err) == fault.Invalid && err != nil {
			m.cfg.Logger.Error("a usage report was refused for good", "err", err)
			return nil
		}
		return err
	})
}

// count makes the next report of what was counted since the one before. It is
// false when nothing was.
func (m *Meter) count() (series.Report, bool) {
	// What was counted belongs to the minute that is ending, or has just ended.
	at := m.cfg.Now().Add(-time.Second).Unix() / 60
	r := series.Report{Node: m.cfg.Node, Boot: m.boot, Sequence: m.sequence + 1}
	for _, a := range m.cfg.Harvest() {
		counts := since(a.Report, m.last[a.Instance])
		if a.Departed {
			delete(m.last, a.Instance)
		} else {
			m.last[a.Instance] = a.Report
		}
		if !counts.Zero() {
			r.Samples = append(r.Samples, series.Sample{Instance: a.Instance, Minute: at, Counts: counts})
		}
		for _, c := range a.Callers {
			r.Callers = append(r.Callers, series.Caller{Instance: a.Instance, Caller: c})
		}
	}
	if len(r.Samples)+len(r.Callers) == 0 {
		return r, false
	}
	m.sequence++
	return r, true
}

// since is what was counted between two reports of one instance's counters.
func since(now, before usage.Report) series.Counts {
	return series.Counts{
		series.TokenFree: now.TokenFreeServed + now.TokenFreeAbsent - before.TokenFreeServed - before.TokenFreeAbsent,
		series.Rejected:  now.TokenFreeRejected - before.TokenFreeRejected,
		series.Tokened:   now.TokenedServed + now.TokenedAbsent - before.TokenedServed - before.TokenedAbsent,
		series.BadToken:  now.BadToken - before.BadToken,
		series.Minted:    now.TokensMinted - before.TokensMinted,
		series.Throttled: now.Throttled - before.Throttled,
		series.Suspects:  now.HopLimitSuspects - before.HopLimitSuspects,
	}
}

var errSpool = errors.New("keep usage reports")

func spoolError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errSpool, err)
}
