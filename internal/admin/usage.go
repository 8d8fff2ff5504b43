package admin

import (
	"time"

	"openimds/internal/fault"
	"openimds/internal/usage"
	"openimds/internal/usage/history"
	"openimds/internal/usage/ledger"
)

var seriesParams = []param{
	{name: "instance", doc: "identifier of the instance"},
	{name: "from", doc: "from this time on: RFC 3339, or how long ago, such as 24h; an hour ago if it is not given"},
	{name: "to", doc: "before this time, written in the same way; now if it is not given"},
	{name: "step", doc: "how long a step is, such as 5m; as short as it is kept if it is not given"},
}

var callersParams = []param{
	{name: "instance", doc: "identifier of the instance"},
	{name: "since", doc: "those that asked since this time: RFC 3339, or how long ago, such as 24h; all that are known if it is not given"},
}

// UsageSeries is what an instance did in the course of time.
type UsageSeries struct {
	// Identifier of the instance.
	Instance string `json:"instance"`
	// When the first step begins.
	From time.Time `json:"from"`
	// When the last step ends, or a little before.
	To time.Time `json:"to"`
	// How long a step is.
	Step string `json:"step"`
	// Steps in which anything was counted, in order.
	Points []UsagePoint `json:"points"`
	// Times of which a part may be missing, because what counted was killed, or has not reported.
	Gaps []UsageGap `json:"gaps"`
}

// UsagePoint is what an instance did in one step.
type UsagePoint struct {
	// When the step begins.
	Start time.Time `json:"start"`
	UsageCounts
}

// UsageCounts are requests by how they were made, and what came of them.
type UsageCounts struct {
	// Requests without a token that were answered (IMDSv1).
	TokenFree uint64 `json:"tokenFree,omitempty"`
	// Requests without a token that were refused because tokens are required.
	Rejected uint64 `json:"rejected,omitempty"`
	// Requests with a good token that were answered (IMDSv2).
	Tokened uint64 `json:"tokened,omitempty"`
	// Requests whose token was not good.
	BadToken uint64 `json:"badToken,omitempty"`
	// Session tokens given out.
	Minted uint64 `json:"minted,omitempty"`
	// Requests over the instance's rate.
	Throttled uint64 `json:"throttled,omitempty"`
	// Tokens given out whose packets nobody acknowledged: a client beyond the hop limit.
	Suspects uint64 `json:"suspects,omitempty"`
}

// UsageGap is a time of which usage may be missing.
type UsageGap struct {
	// Node that lost it; empty: the control plane's own data plane.
	Node string `json:"node,omitempty"`
	// Since when.
	From time.Time `json:"from"`
	// Until when.
	To time.Time `json:"to"`
}

// UsageCallers are who asked of an instance.
type UsageCallers struct {
	// Identifier of the instance.
	Instance string `json:"instance"`
	// Callers: those without a token first, the newest first.
	Callers []usage.Caller `json:"callers"`
}

// kept is the ledger.
func (c *call) kept() (*ledger.Ledger, error) {
	if c.Usage == nil {
		return nil, fault.New(fault.Unsupported, "usage is not kept here: the disk was read-only when the server started")
	}
	return c.Usage, nil
}

// instance is the parameter of that name, which must be an instance.
func (c *call) instance() (string, error) {
	id := c.query.Get("instance")
	if id == "" {
		return "", fault.New(fault.Invalid, "instance: is required: the identifier of an instance")
	}
	_, err := c.Control.Find(c.caller, id)
	if fault.KindOf(err) == fault.NotFound {
		// What is gone has left its usage.
		if l, lerr := c.kept(); lerr == nil {
			if s, serr := l.Kept().Served(id); serr == nil && !s.Since.IsZero() {
				return id, nil
			}
		}
		return "", fault.New(fault.NotFound, "there is no instance %.64q", id)
	}
	return id, err
}

func (c *call) usageSeries() (UsageSeries, error) {
	out := UsageSeries{Points: []UsagePoint{}, Gaps: []UsageGap{}}
	l, err := c.kept()
	if err != nil {
		return out, err
	}
	if out.Instance, err = c.instance(); err != nil {
		return out, err
	}
	if out.From, err = c.ago("from"); err != nil {
		return out, err
	}
	if out.To, err = c.ago("to"); err != nil {
		return out, err
	}
	now := c.Now()
	if out.To.IsZero() {
		out.To = now
	}
	if out.From.IsZero() {
		out.From = out.To.Add(-time.Hour)
	}
	step, err := c.span("step", 0)
	if err != nil {
		return out, err
	}
	points, step, err := l.Series(c.Context(), out.Instance, out.From, out.To, step, now)
	if err != nil {
		return out, err
	}
	gaps, err := gapsOf(l, out.Instance, out.From, out.To)
	size := int64(step / time.Second)
	out.From, out.To, out.Step = time.Unix(out.From.Unix()/size*size, 0).UTC(), out.To.UTC().Truncate(time.Second), step.String()
	for _, p := range points {
		out.Points = append(out.Points, UsagePoint{p.Start, countsOf(p.Counts)})
	}
	for _, g := range gaps {
		out.Gaps = append(out.Gaps, UsageGap{g.Node, g.From, g.To})
	}
	return out, err
}

// gapsOf returns the gaps of the nodes of an instance.
func gapsOf(l *ledger.Ledger, instance string, from, to time.Time) ([]history.Gap, error) {
	served, err := l.Kept().Served(instance)
	if err != nil {
		return nil, err
	}
	gaps, err := l.Kept().Gaps(from, to)
	return served.Of(gaps), err
}

func (c *call) usageCallers() (UsageCallers, error) {
	out := UsageCallers{Callers: []usage.Caller{}}
	l, err := c.kept()
	if err != nil {
		return out, err
	}
	if out.Instance, err = c.instance(); err != nil {
		return out, err
	}
	since, err := c.ago("since")
	if err != nil {
		return out, err
	}
	found, err := l.Callers(c.Context(), out.Instance, since)
	out.Callers = append(out.Callers, found...)
	return out, err
}

// span reads a duration.
func (c *call) span(name string, missing time.Duration) (time.Duration, error) {
	text := c.query.Get(name)
	if text == "" {
		return missing, nil
	}
	return spanOf(name, text)
}
