package main

import (
	"cmp"
	"context"
	"slices"
	"time"

	"openimds/internal/control"
	"openimds/internal/readiness"
	"openimds/internal/readiness/survey"
	"openimds/internal/state"
	"openimds/internal/trace/finding"
	"openimds/internal/usage"
	"openimds/internal/usage/series"
)

// evidence judges instances and switches them; where no usage is kept, both
// are nil.
type evidence struct {
	survey   *survey.Survey
	hardener *control.Hardener
}

// newEvidence makes both of a plane whose usage is kept.
func newEvidence(p *plane) evidence {
	book := p.usage
	if book.Ledger == nil {
		return evidence{}
	}
	s := survey.New(survey.Config{DB: p.db, Ledger: book.Ledger})
	h := p.control.NewHardener(control.HardenConfig{
		Judge: func(ctx context.Context, ids []string, window time.Duration, rules readiness.Rules) ([]readiness.Result, error) {
			return s.Judge(ctx, survey.Ask{Instances: ids, Window: window, Rules: rules})
		},
		Rejected: book.rejectedSince, Rejecters: book.rejecters, Heard: book.heard,
	})
	book.OnReport(func(r series.Report) {
		rejected := map[string]uint64{}
		for _, s := range r.Samples {
			if n := s.Counts[series.Rejected]; n > 0 {
				rejected[s.Instance] += n
			}
		}
		if len(rejected) > 0 {
			h.Reported(rejected)
		}
	})
	return evidence{s, h}
}

// run carries out guarded switches until ctx is done.
func (e evidence) run(ctx context.Context) {
	if e.hardener != nil {
		e.hardener.Run(ctx)
	}
}

// rejectedSince counts the requests of an instance that were refused for want
// of a token in the minute of a time, and after it.
func (b *usageBook) rejectedSince(ctx context.Context, id string, since time.Time) (uint64, error) {
	var n uint64
	points, err := b.Range(ctx, id, since, since.Add(15*24*time.Hour), series.Resolutions()[0])
	for _, p := range points {
		n += p.Counts[series.Rejected]
	}
	return n, err
}

// rejecters names who was refused since a time, with the process where a tracer
// has seen one ask for the same without a token.
func (b *usageBook) rejecters(id string, since time.Time) ([]state.HardenedCaller, error) {
	since = since.Truncate(time.Second)
	callers, err := b.Kept().Callers(id, since)
	if err != nil {
		return nil, err
	}
	found, err := b.Kept().Findings(id, since.Add(-time.Minute))
	if err != nil {
		return nil, err
	}
	var all []state.HardenedCaller
	for _, c := range callers {
		if c.Access != usage.AskedRejected {
			continue
		}
		h := state.HardenedCaller{Agent: c.Agent, Item: c.Item, Last: c.Last, Count: c.Count}
		if c.Source.IsValid() {
			h.Source = c.Source.String()
		}
		for _, f := range found {
			if f.Mode == finding.TokenFree && f.UserAgent == c.Agent {
				h.Process = survey.Process(f).String()
				break
			}
		}
		all = append(all, h)
	}
	slices.SortStableFunc(all, func(x, y state.HardenedCaller) int { return cmp.Compare(y.Last.Unix(), x.Last.Unix()) })
	return all, nil
}

// heard tells until when what a node counted is known. What was counted here is
// brought in.
func (b *usageBook) heard(ctx context.Context, node string) (time.Time, error) {
	if node != "" {
		return b.Kept().Heard(node)
	}
	now := time.Now()
	return now, b.Flush(ctx)
}
