// Package survey gathers what is known of instances and has it judged.
package survey

import (
	"context"
	"errors"
	"time"

	"openimds/internal/fault"
	"openimds/internal/readiness"
	"openimds/internal/state"
	"openimds/internal/trace/finding"
	"openimds/internal/usage"
	"openimds/internal/usage/history"
	"openimds/internal/usage/ledger"
	"openimds/internal/usage/series"
)

// Config is what a Survey is made of.
type Config struct {
	DB     *state.DB
	Ledger *ledger.Ledger
	Now    func() time.Time
}

// Survey judges instances.
type Survey struct{ cfg Config }

// New returns a survey.
func New(cfg Config) *Survey {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Survey{cfg}
}

// Ask is what is asked about instances.
type Ask struct {
	Instances []string
	// Window is how far back evidence is to reach.
	Window time.Duration
	Rules  readiness.Rules
}

// ahead is how far into the future evidence is looked for: a clock may have
// been ahead when it was kept.
const ahead = 455 * 24 * time.Hour

// Judge returns a result for each instance that is asked about and exists, in
// that order.
func (s *Survey) Judge(ctx context.Context, ask Ask) ([]readiness.Result, error) {
	now := s.cfg.Now().UTC()
	from := now.Add(-ask.Window)
	recent := map[string]series.Counts{}
	last := map[string]time.Time{}
	keep := func(id string, t history.Total) { recent[id], last[id] = t.Counts, t.Last }
	unread := ""
	err := s.cfg.Ledger.Totals(ctx, from, now.Add(ahead), keep)
	if errors.Is(err, ledger.ErrPast) && ctx.Err() == nil {
		// What is here says whom to call not ready, and nobody is called ready.
		unread = reason(err)
		err = s.cfg.Ledger.Kept().Totals(from, now.Add(ahead), keep)
	}
	if err != nil {
		return nil, err
	}
	gaps, err := s.cfg.Ledger.Kept().Gaps(time.Time{}, now)
	if err != nil {
		return nil, err
	}
	var all []readiness.Result
	for _, id := range ask.Instances {
		in, ok := s.cfg.DB.Instances.Get(id)
		if !ok {
			continue
		}
		e := s.known(in)
		e.Now, e.Window, e.Unread = now, ask.Window, unread
		e.Recent = counts(recent[id], last[id])
		if err := s.gather(ctx, &e, from, gaps); err != nil {
			return nil, err
		}
		all = append(all, readiness.Judge(e, ask.Rules))
	}
	return all, nil
}

// reason is what an error says for people.
func reason(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Msg
	}
	return "usage could not be read"
}

// known is what the state says of an instance.
func (s *Survey) known(in *state.Instance) readiness.Evidence {
	spec := &in.Spec
	e := readiness.Evidence{
		Instance: spec.ID, Dialect: spec.Dialect, Platform: spec.Platform, Started: spec.Started,
		Required: spec.Metadata.TokensRequired(), Disabled: spec.Metadata.EndpointDisabled(),
		HopLimit: spec.Metadata.HTTPPutResponseHopLimit, Image: readiness.Image{ID: spec.Image.ID},
	}
	if e.HopLimit == 0 && e.Dialect == "ec2" {
		e.HopLimit = 1 // EC2-HOP-01
	}
	if image, ok := s.cfg.DB.Images.Get(spec.Image.ID); ok {
		e.Image.Known, e.Image.Supports = true, image.ImdsSupport
	}
	return e
}

// gather adds what is kept of an instance.
func (s *Survey) gather(ctx context.Context, e *readiness.Evidence, from time.Time, gaps []history.Gap) error {
	kept := s.cfg.Ledger.Kept()
	served, err := kept.Served(e.Instance)
	if err != nil {
		return err
	}
	e.Observed = served.Since
	for _, g := range served.Of(gaps) {
		e.Gaps = append(e.Gaps, readiness.Gap{From: g.From, To: g.To})
	}
	since, boot := from, time.Time{} // until when it was started
	if !e.Started.IsZero() && e.Started.Before(from) {
		since, boot = e.Started, e.Started.Add(readiness.BootSpan)
		read := s.cfg.Ledger.Past(ctx).Range
		if e.Unread != "" {
			read = kept.Range
		}
		points, err := read(e.Instance, e.Started, boot.Add(time.Hour), series.Finest(e.Started, e.Now))
		if errors.Is(err, ledger.ErrPast) && ctx.Err() == nil {
			e.Unread = reason(err)
			points, err = kept.Range(e.Instance, e.Started, boot.Add(time.Hour), series.Finest(e.Started, e.Now))
		}
		if err != nil {
			return err
		}
		for _, p := range points {
			if !p.Start.After(boot) {
				e.Boot = more(e.Boot, counts(p.Counts, p.Start))
			}
		}
	}
	counts := func(t time.Time) bool { return !t.Before(from) || !t.After(boot) }
	callers, err := kept.Callers(e.Instance, since)
	if err != nil {
		return err
	}
	for _, c := range callers {
		if c.Access != usage.AskedTokened && counts(c.Last) {
			e.Free = append(e.Free, readiness.Caller{Agent: c.Agent, Item: c.Item, Source: c.Source, Last: c.Last, Rejected: c.Access == usage.AskedRejected, Count: c.Count})
		}
	}
	found, err := kept.Findings(e.Instance, since)
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.Mode == finding.TokenFree && counts(f.Time) {
			e.Processes = append(e.Processes, Process(f))
		}
	}
	return nil
}

// Process is who a finding is about.
func Process(f finding.Finding) readiness.Process {
	p := f.Process
	return readiness.Process{
		Name: p.Comm, Exe: p.Exe, Unit: p.Unit, Container: p.Container[:min(12, len(p.Container))], PID: p.PID,
		Agent: f.UserAgent, Path: f.Path, Last: f.Time, Count: f.Count,
	}
}

// counts takes of what was counted what bears on a verdict. Last is the start
// of the last step of any kind: near enough where nobody is named.
func counts(c series.Counts, last time.Time) readiness.Counts {
	out := readiness.Counts{
		TokenFree: c[series.TokenFree], Rejected: c[series.Rejected], Tokened: c[series.Tokened], Minted: c[series.Minted], Suspects: c[series.Suspects],
	}
	if out.TokenFree+out.Rejected > 0 {
		out.Last = last
	}
	return out
}

func more(a, b readiness.Counts) readiness.Counts {
	a.TokenFree += b.TokenFree
	a.Rejected += b.Rejected
	a.Tokened += b.Tokened
	a.Minted += b.Minted
	a.Suspects += b.Suspects
	if b.Last.After(a.Last) {
		a.Last = b.Last
	}
	return a
}
