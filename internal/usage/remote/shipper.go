package remote

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"openimds/internal/usage/history"
	"openimds/internal/usage/series"
)

// ShipperConfig is what a Shipper is made of. File and Write are required.
type ShipperConfig struct {
	// File has what is to be written, and how far that has come.
	File *history.File
	// Write is where to.
	Write Access
	// Labels are added to every series.
	Labels map[string]string
	// Settle is how long after its end a minute is written: the reports of nodes have come by then. Default: 20 s.
	Settle time.Duration
	// Together is how many samples a request has at most. Default: 2000.
	Together int
	Now      func() time.Time
	Logger   *slog.Logger
}

// Shipper writes what a history has to a place that speaks remote write 1.0: in
// order, each minute once it has settled, and again until it is taken or refused
// for good. It holds one minute in memory, whatever waits.
type Shipper struct {
	cfg    ShipperConfig
	to     *endpoint
	labels []label
	id     string

	before map[string]bool // instances in the batch that was delivered last, if it was the one before

	begin     atomic.Int64 // first minute of this writer
	delivered atomic.Int64 // newest minute that was delivered or dropped
	sent      atomic.Uint64
	dropped   atomic.Uint64
	failed    atomic.Uint64
}

// Stats are what a shipper has done since it was started.
type Stats struct {
	// Lag is the age of what waits longest; 0: nothing does.
	Lag time.Duration
	// Sent and Dropped are samples that the place took, and refused for good; Failed are requests that are tried again.
	Sent, Dropped, Failed uint64
}

// NewShipper returns a shipper that goes on where the file says.
func NewShipper(cfg ShipperConfig) (*Shipper, error) {
	if cfg.Settle <= 0 {
		cfg.Settle = 20 * time.Second
	}
	if cfg.Together <= 0 {
		cfg.Together = 2000
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	to, err := newEndpoint(cfg.Write)
	if err != nil {
		return nil, err
	}
	s := &Shipper{cfg: cfg, to: to, labels: sortedLabels(cfg.Labels), id: identity(cfg.Write.URL, cfg.Labels)}
	_, err = s.begins()
	return s, err
}

// begins begins, or goes on.
func (s *Shipper) begins() (history.Shipping, error) {
	at, err := s.cfg.File.ShipTo(s.id, strings.ToLower(rand.Text()[:12]), s.cfg.Now().Unix()/60)
	if err == nil && s.begin.Swap(at.Begin) != at.Begin {
		// Of what this writer has written, the frozen minute may not have arrived.
		s.before = nil
		s.delivered.Store(max(at.Frozen, at.Begin) - 1)
	}
	return at, err
}

// Stats returns what was done so far.
func (s *Shipper) Stats() Stats {
	st := Stats{Sent: s.sent.Load(), Dropped: s.dropped.Load(), Failed: s.failed.Load()}
	next := max(s.delivered.Load()+1, s.begin.Load())
	if due := s.due(next); s.cfg.Now().After(due) {
		st.Lag = s.cfg.Now().Sub(due)
	}
	return st
}

// Delivered is the newest minute that is not on its way any more.
func (s *Shipper) Delivered() int64 { return s.delivered.Load() }

// due is when a minute is written.
func (s *Shipper) due(minute int64) time.Time {
	return time.Unix((minute+1)*60, 0).Add(s.cfg.Settle)
}

// pause is how long to wait after an error of the file.
const pause = 5 * time.Second

// Run writes until ctx is done.
func (s *Shipper) Run(ctx context.Context) {
	for {
		next, err := s.Catch(ctx)
		if ctx.Err() != nil {
			return
		}
		after := min(max(next.Sub(s.cfg.Now()), 0), time.Minute) // the clock may be set
		if err != nil {
			s.cfg.Logger.Error("usage cannot be handed on; trying again", "err", err)
			after = pause
		}
		if !sleep(ctx, after) {
			return
		}
	}
}

// Catch writes what is due, and returns when the next minute is. The error is
// that of the file, or ctx's: whatever the place says, it is tried again, or
// given up.
func (s *Shipper) Catch(ctx context.Context) (next time.Time, err error) {
	for {
		at, err := s.begins()
		if err != nil {
			return next, err
		}
		var b history.FrozenMinute
		if at.Frozen >= at.Begin && s.delivered.Load() < at.Frozen {
			b, err = s.cfg.File.Refrozen(Idle)
		} else {
			minute := max(at.Frozen+1, s.cfg.File.Oldest())
			if next = s.due(minute); next.After(s.cfg.Now()) {
				return next, nil
			}
			b, err = s.cfg.File.Freeze(minute, Idle)
		}
		if err == nil {
			err = s.deliver(ctx, b)
		}
		if err != nil {
			return next, err
		}
	}
}

// deliver sends a frozen minute, until it is taken or refused. In each request
// no series has more than one sample, and all samples of a minute's requests are
// of one time: so the same request again is the same to whoever has taken it
// before, and none is out of order.
func (s *Shipper) deliver(ctx context.Context, b history.FrozenMinute) error {
	end := (b.Frozen + 1) * 60_000
	whole := true
	follows := s.before != nil && s.delivered.Load() == b.Frozen-1
	if !b.Before {
		var before []sample
		for _, c := range b.Changed {
			for k, n := range c.Delta {
				// What was zero was not sent; what was sent with the minute before is there.
				if n > 0 && (c.Total[k] == n || !follows || !s.before[c.Instance]) {
					before = append(before, s.sample(b, c.Instance, k, c.Total[k]-n, end-60_000))
				}
			}
		}
		ok, err := s.send(ctx, before)
		if err != nil {
			return err
		}
		whole = ok
		if len(b.Changed) > 0 { // also where none was sent: after a restart it is not known which were not needed
			if err := s.cfg.File.SentBefore(); err != nil {
				return err
			}
		}
	}
	var all []sample
	now := make(map[string]bool, len(b.Changed)+len(b.Idle))
	for _, counters := range [][]history.Counter{b.Changed, b.Idle} {
		for _, c := range counters {
			now[c.Instance] = true
			for k, n := range c.Total {
				if n > 0 {
					all = append(all, s.sample(b, c.Instance, k, n, end))
				}
			}
		}
	}
	// The last one says that the minute is whole.
	all = append(all, sample{s.sorted([]label{{"__name__", Minutes}, {labelWriter, b.Writer()}}), uint64(b.Frozen - b.Begin + 1), end}) //nolint:gosec // not negative
	ok, err := s.send(ctx, all)
	if err != nil {
		return err
	}
	s.before = now
	if !ok || !whole {
		s.before = nil
		if err := s.cfg.File.Dropped(); err != nil {
			return err
		}
	}
	s.delivered.Store(b.Frozen)
	return nil
}

func (s *Shipper) sample(b history.FrozenMinute, instance string, kind int, n uint64, at int64) sample {
	return sample{s.sorted([]label{{"__name__", Counters}, {labelInstance, strings.ToValidUTF8(instance, "?")}, {labelKind, kinds[series.Kind(kind)]}, {labelWriter, b.Writer()}}), n, at} //nolint:gosec // there are few
}

// sorted adds the operator's labels to ours, in the order of the names.
func (s *Shipper) sorted(own []label) []label {
	out := make([]label, 0, len(own)+len(s.labels))
	theirs := s.labels
	for _, l := range own {
		for len(theirs) > 0 && theirs[0].name < l.name {
			out, theirs = append(out, theirs[0]), theirs[1:]
		}
		out = append(out, l)
	}
	return append(out, theirs...)
}

// send sends samples, some at a time. It is false when some were refused for
// good. The error is ctx's.
func (s *Shipper) send(ctx context.Context, all []sample) (bool, error) {
	whole := true
	for len(all) > 0 {
		n := min(len(all), s.cfg.Together)
		ok, err := s.sendSome(ctx, all[:n])
		if err != nil {
			return false, err
		}
		whole = whole && ok
		all = all[n:]
	}
	return whole, nil
}

func (s *Shipper) sendSome(ctx context.Context, some []sample) (bool, error) {
	body := encode(some)
	for try := 1; ; try++ {
		err := s.to.write(ctx, body, s.cfg.Now())
		if err == nil {
			s.sent.Add(uint64(len(some)))
			if try > 1 {
				s.cfg.Logger.Info("usage is handed on again", "tries", try)
			}
			return true, nil
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if refused, ok := errors.AsType[*refusal](err); ok {
			s.dropped.Add(uint64(len(some)))
			s.cfg.Logger.Error("usage was refused for good, and is not there by the minute; the counters have it from the next minute on that is taken", "samples", len(some), "from", time.UnixMilli(some[0].at).UTC(), "err", refused)
			return false, nil
		}
		s.failed.Add(1)
		after := wait(try, err)
		if try == 1 {
			s.cfg.Logger.Warn("usage could not be handed on; it is kept, and tried again", "err", err, "after", after)
		}
		if !sleep(ctx, after) {
			return false, ctx.Err()
		}
	}
}
