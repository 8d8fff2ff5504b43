// Package meter turns a node's counters into reports, one a minute and a few
// more at once where requests are refused because they have no token, and
// brings them to where usage is kept: each at least once, in spite of restarts
// and of a control plane that is away.
package meter

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	// Overlaps: another process of the node hands over to this one, and reports its last while this one has begun.
	Overlaps bool
	Now      func() time.Time
	// Logger hears of reports that are late, or lost.
	Logger *slog.Logger
}

// Meter reports what a node counts. Its methods are safe for concurrent use.
type Meter struct {
	cfg  Config
	boot string

	nudged chan string

	mu       sync.Mutex // held while counters are read, and reports made and sent
	last     map[string]usage.Report
	sequence uint64
	until    time.Time // To of the newest report
	ended    bool
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
	return &Meter{cfg: cfg, boot: rand.Text(), nudged: make(chan string, 64), last: map[string]usage.Report{}, until: cfg.Now(), pending: pending}, nil
}

// Bounds of reports between minutes.
const (
	// together is how long a report that does not wait for its minute waits for what else is counted.
	together = 50 * time.Millisecond
	// retry is how often reports are sent again that were not taken.
	retry = 2 * time.Second
	// mostEager is how many of them an instance may cause in a minute.
	mostEager = 10
)

// Nudge makes what an instance did be reported at once. It does not block, and
// is for what cannot wait: a request that was refused because it had no token.
// An instance that causes too many reports waits for the minute's.
func (m *Meter) Nudge(instance string) {
	select {
	case m.nudged <- instance:
	default: // it is reported with those that are waiting
	}
}

// Run reports at once, and at the end of each minute until ctx is done, and then
// once more. A meter is over with it: whoever flushes it after that reports no
// more.
func (m *Meter) Run(ctx context.Context) {
	m.report(ctx, beat)
	eager := map[string]int{}
	now := m.cfg.Now()
	minute := time.NewTimer(now.Truncate(time.Minute).Add(time.Minute).Sub(now))
	defer minute.Stop()
	again := time.NewTicker(retry)
	defer again.Stop()
	for {
		select {
		case <-again.C:
			if m.waits() {
				m.report(ctx, resend)
			}
		case <-minute.C:
			clear(eager)
			m.report(ctx, beat)
			now = m.cfg.Now()
			minute.Reset(now.Truncate(time.Minute).Add(time.Minute).Sub(now))
		case id := <-m.nudged:
			if eager[id]++; eager[id] > mostEager {
				continue
			}
			select {
			case <-time.After(together):
			case <-ctx.Done():
			}
			m.drain(eager)
			m.report(ctx, counted)
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			m.report(end, final)
			cancel()
			return
		}
	}
}

// drain takes the nudges that one report answers.
func (m *Meter) drain(eager map[string]int) {
	for {
		select {
		case id := <-m.nudged:
			if eager[id] == 0 {
				eager[id] = 1
			}
		default:
			return
		}
	}
}

// why a report is made.
type why int

const (
	counted why = iota // only if anything was counted
	beat               // also to say that nothing was
	final              // it is the run's last
	resend             // none is made: those that wait are sent
)

// waits reports whether there are reports that were not taken.
func (m *Meter) waits() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.pending.waiting) > 0
}

// report flushes, and logs where that does not succeed for the first time, and
// where it does again.
func (m *Meter) report(ctx context.Context, w why) {
	err := m.flush(ctx, w)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err != nil && ctx.Err() != nil && w != final:
		return // it was broken off, and the last report is next
	case err != nil && !m.late:
		m.cfg.Logger.Warn("usage could not be reported; it is kept and sent later", "err", err)
	case err == nil && m.late:
		m.cfg.Logger.Info("usage is reported again")
	}
	m.late = err != nil
}

// Flush reports what was counted until now. When it returns nil, all of it is
// where usage is kept.
func (m *Meter) Flush(ctx context.Context) error { return m.flush(ctx, counted) }

func (m *Meter) flush(ctx context.Context, w why) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w == beat || w == final {
		if err := m.pending.adopt(m.boot); err != nil {
			m.cfg.Logger.Error("what another run left to report cannot be read", "err", err)
		}
	}
	if r, ok := m.count(w); ok {
		dropped, err := m.pending.add(r, m.cfg.Now())
		if err != nil {
			m.cfg.Logger.Error("a usage report is in memory only", "err", err)
		}
		if dropped {
			m.cfg.Logger.Error("the oldest usage report was dropped: the control plane has been away for too long")
		}
	}
	return m.pending.drain(m.cfg.Now(), func(r series.Report) error {
		err := m.cfg.Record(ctx, r)
		if fault.KindOf(err) == fault.Invalid && err != nil {
			m.cfg.Logger.Error("a usage report was refused for good", "err", err)
			return nil
		}
		return err
	})
}

// count makes the next report of what was counted since the one before. It is
// false when there is none to make.
func (m *Meter) count(w why) (series.Report, bool) {
	if m.ended || w == resend {
		return series.Report{}, false
	}
	now := m.cfg.Now()
	// What was counted belongs to the minute that is ending, or has just ended.
	at := now.Add(-time.Second).Unix() / 60
	r := series.Report{Node: m.cfg.Node, Boot: m.boot, Sequence: m.sequence + 1, From: m.until.UTC(), To: now.UTC(), Final: w == final, Overlaps: m.cfg.Overlaps && m.sequence == 0}
	next := make(map[string]usage.Report, len(m.last))
	for _, a := range m.cfg.Harvest() {
		before, known := m.last[a.Instance]
		counts := since(a.Report, before)
		if a.Departed {
			delete(m.last, a.Instance)
			r.Ended = append(r.Ended, a.Instance)
		} else {
			next[a.Instance] = a.Report
			if !known {
				r.Began = append(r.Began, a.Instance)
			}
		}
		if !counts.Zero() {
			r.Samples = append(r.Samples, series.Sample{Instance: a.Instance, Minute: at, Counts: counts})
		}
		for _, c := range a.Callers {
			r.Callers = append(r.Callers, series.Caller{Instance: a.Instance, Caller: c})
		}
	}
	r.Ended = slices.DeleteFunc(r.Ended, func(id string) bool { _, back := next[id]; return back })
	m.last = next
	if w == counted && m.sequence > 0 && len(r.Samples)+len(r.Callers)+len(r.Began)+len(r.Ended) == 0 {
		return r, false
	}
	m.sequence++
	m.until, m.ended = now, w == final
	return r, true
}

// since is what was counted between two reports of one instance's counters.
// Counters that are behind have begun anew.
func since(now, before usage.Report) series.Counts {
	c, b := countsOf(now), countsOf(before)
	for k := range c {
		if c[k] >= b[k] {
			c[k] -= b[k]
		}
	}
	return c
}

func countsOf(r usage.Report) series.Counts {
	return series.Counts{
		series.TokenFree: r.TokenFreeServed + r.TokenFreeAbsent,
		series.Rejected:  r.TokenFreeRejected,
		series.Tokened:   r.TokenedServed + r.TokenedAbsent,
		series.BadToken:  r.BadToken,
		series.Minted:    r.TokensMinted,
		series.Throttled: r.Throttled,
		series.Suspects:  r.HopLimitSuspects,
	}
}

var errSpool = errors.New("keep usage reports")

func spoolError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errSpool, err)
}
