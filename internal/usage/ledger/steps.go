package ledger

import (
	"context"
	"time"

	"openimds/internal/fault"
	"openimds/internal/usage/series"
)

// mostSteps is how many steps one answer may span.
const mostSteps = 50_000

// Series returns what an instance did from a time on and before another, in
// steps of any whole number of minutes; a step of 0 is the finest that is kept
// of that time. Steps without any counts are left out. Times are rounded down
// to steps.
func (l *Ledger) Series(ctx context.Context, instance string, from, to time.Time, step time.Duration, now time.Time) ([]series.Point, time.Duration, error) {
	finest := series.Finest(from, now)
	if step == 0 {
		step = finest.Step
	}
	switch {
	case !to.After(from):
		return nil, 0, fault.New(fault.Invalid, "the range ends before it begins: from %s to %s", from.Format(time.RFC3339), to.Format(time.RFC3339))
	case step < finest.Step || step%finest.Step != 0:
		return nil, 0, fault.New(fault.Invalid, "step: found %v, expected a multiple of %v, which is kept of that time", step, finest.Step)
	case to.Sub(from)/step > mostSteps:
		return nil, 0, fault.New(fault.Invalid, "the range has more than %d steps: choose a longer step, or a shorter range", mostSteps)
	}
	best := finest
	for _, r := range series.Resolutions() {
		if r.Step > best.Step && step%r.Step == 0 {
			best = r
		}
	}
	size := int64(step / time.Second)
	down := func(t time.Time) time.Time { return time.Unix(t.Unix()/size*size, 0).UTC() }
	points, err := l.Range(ctx, instance, down(from), down(to.Add(step-time.Second)), best)
	if err != nil {
		return nil, 0, err
	}
	var all []series.Point
	for _, p := range points {
		start := down(p.Start)
		if n := len(all); n > 0 && all[n-1].Start.Equal(start) {
			all[n-1].Counts.Add(p.Counts)
			continue
		}
		all = append(all, series.Point{Start: start, Counts: p.Counts})
	}
	return all, step, nil
}
