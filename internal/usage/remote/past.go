package remote

import (
	"context"
	"fmt"
	"slices"
	"time"

	"openimds/internal/fault"
	"openimds/internal/usage/history"
	"openimds/internal/usage/series"
)

// PastConfig is what a Past is made of. File, Query and Delivered are required.
type PastConfig struct {
	// File has what is not there, or not there yet.
	File *history.File
	// Query is the place's HTTP API: what stands before /api/v1.
	Query Access
	// Labels are those of what was written.
	Labels map[string]string
	// Delivered is the newest minute that is not on its way any more.
	Delivered func() int64
	// Visible is how old a minute is when the place shows it for sure. Default: 2 min.
	Visible time.Duration
	Now     func() time.Time
}

// Past reads what instances did from a place that speaks PromQL; what is not
// there, or not for sure, from the file. Its figures are those that the file
// has. What other writers with the same labels wrote there is added: a control
// plane whose state was lost has its past back. Errors are fault.Unavailable
// and say for people what is wrong.
type Past struct {
	cfg    PastConfig
	q      *querier
	labels []label
}

// NewPast returns a reader.
func NewPast(cfg PastConfig) (*Past, error) {
	if cfg.Visible <= 0 {
		cfg.Visible = 2 * time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	q, err := newQuerier(cfg.Query)
	if err != nil {
		return nil, err
	}
	return &Past{cfg, q, sortedLabels(cfg.Labels)}, nil
}

// Queries returns how many questions were answered, and how many not.
func (p *Past) Queries() (answered, failed uint64) { return p.q.ok.Load(), p.q.failed.Load() }

// mostPoints is how many steps one question may span: Prometheus answers 11,000.
const mostPoints = 10_000

// mostSegments is how many stretches of a window are asked for; where more are
// broken by minutes that were dropped, the file has the shorter ones.
const mostSegments = 8

// shipped is what the place has.
type shipped struct {
	history.Shipping
	upTo int64 // newest minute
}

func (p *Past) shipped() (s shipped, err error) {
	s.upTo = min(p.cfg.Delivered(), p.cfg.Now().Add(-p.cfg.Visible).Unix()/60-1)
	var known bool
	if s.Shipping, known, err = p.cfg.File.Shipping(); err != nil {
		return s, err
	}
	if !known {
		return s, fault.New(fault.Unavailable, "nothing was ever written to the place that usage is read from")
	}
	s.upTo = min(s.upTo, s.Frozen)
	return s, nil
}

// has reports whether the place has all minutes of a step, both in Unix
// seconds.
func (s shipped) has(start, step int64) bool {
	first, last := start/60, (start+step)/60-1
	if first < s.Begin || last > s.upTo {
		return false
	}
	return !slices.ContainsFunc(s.Dropped, func(m history.Minutes) bool { return m.First <= last && m.Last >= first })
}

// own tells what is this file's, now or of before, from what is of others.
func (s shipped) own(writer string) (own, now bool) {
	return slices.Contains(s.Writers, writer), writer == s.Writer()
}

func (p *Past) unavailable(err error) error {
	if fault.KindOf(err) != fault.Internal {
		return err
	}
	return fault.New(fault.Unavailable, "usage could not be read from where it is kept: %v", err)
}

// Range is history.File.Range.
func (p *Past) Range(ctx context.Context, instance string, from, to time.Time, r series.Resolution) ([]series.Point, error) {
	step := int64(r.Step / time.Second)
	first, last := from.Unix()/step*step, to.Unix()/step*step
	// Nobody has written what is to come.
	last = min(last, (p.cfg.Now().Unix()+3600)/step*step+step)
	if first >= last {
		return nil, nil
	}
	s, err := p.shipped()
	if err != nil {
		return nil, err
	}
	at := map[int64]*series.Counts{}
	of := func(start int64) *series.Counts {
		if at[start] == nil {
			at[start] = &series.Counts{}
		}
		return at[start]
	}
	local, err := p.cfg.File.Range(instance, from, time.Unix(last, 0), r)
	if err != nil {
		return nil, err
	}
	for _, l := range local {
		if !s.has(l.Start.Unix(), step) {
			of(l.Start.Unix()).Add(l.Counts)
		}
	}
	for begin := first; begin < last; begin += mostPoints * step {
		end := min(last, begin+mostPoints*step)
		if err := p.remoteRange(ctx, instance, s, begin, end, step, of); err != nil {
			return nil, p.unavailable(err)
		}
	}
	err = p.cfg.File.Corrections(instance, history.Minutes{First: first / 60, Last: last/60 - 1}, func(_ string, minute int64, m history.Moved) {
		if start := minute * 60 / step * step; s.has(start, step) {
			correct(of(start), m)
		}
	})
	if err == nil {
		err = checkCounts(at)
	}
	if err != nil {
		return nil, p.unavailable(err)
	}
	var points []series.Point
	for start, counts := range at {
		if !counts.Zero() {
			points = append(points, series.Point{Start: time.Unix(start, 0).UTC(), Counts: *counts})
		}
	}
	slices.SortFunc(points, func(a, b series.Point) int { return a.Start.Compare(b.Start) })
	return points, nil
}

// remoteRange adds what the place has of an instance.
func (p *Past) remoteRange(ctx context.Context, instance string, s shipped, first, last, step int64, of func(int64) *series.Counts) error {
	span := time.Duration(step) * time.Second
	expr := "(" + rise(selector(Counters, p.labels, label{labelInstance, instance}), span) + ") or " +
		covered(selector(Minutes, p.labels, label{labelWriter, s.Writer()}), span)
	all, err := p.q.steps(ctx, expr, first+step, last, step)
	if err != nil {
		return err
	}
	written := map[int64]uint64{}
	for _, f := range all {
		own, now := s.own(f.writer)
		for _, v := range f.points {
			start := v.at - step
			switch {
			case start%step != 0 || start < first || start >= last:
				return fmt.Errorf("it has a point at %d, which was not asked for", v.at)
			case f.coverage:
				written[start] = v.value
			case f.instance != instance:
				return fmt.Errorf("it has instance %.64q, which was not asked for", f.instance)
			case !own || now && s.has(start, step):
				of(start)[f.kind] += v.value
			}
		}
	}
	for start := first; start < last; start += step {
		if s.has(start, step) && written[start] < uint64(step/60) { //nolint:gosec // not negative
			return missing(written[start], step/60, start)
		}
	}
	return nil
}

func missing(have uint64, want, from int64) error {
	return fmt.Errorf("it has %d of %d minutes that were written there from %s on: what it lost, or keeps no longer, cannot be read", have, want, time.Unix(from, 0).UTC().Format(time.RFC3339))
}

// correct adds a correction. What is below zero is so for a while: a correction
// may come before what it corrects.
func correct(c *series.Counts, m history.Moved) {
	for k, n := range m {
		c[k] += uint64(n) //nolint:gosec // it wraps around, and back
	}
}

// negative reports whether a count is below zero after all.
func negative(c series.Counts) bool {
	return slices.ContainsFunc(c[:], func(n uint64) bool { return n > 1<<60 })
}

func checkCounts(at map[int64]*series.Counts) error {
	for start, c := range at {
		if negative(*c) {
			return fmt.Errorf("it has less than was written there from %s on", time.Unix(start, 0).UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// segment is a stretch of steps, in Unix seconds; end is not included.
type segment struct{ start, end int64 }

// segments parts a window into what the place has and what the file has.
func (s shipped) segments(first, last, step int64) (there, here []segment) {
	extend := func(all []segment, start int64) []segment {
		if n := len(all); n > 0 && all[n-1].end == start {
			all[n-1].end = start + step
			return all
		}
		return append(all, segment{start, start + step})
	}
	for start := first; start < last; start += step {
		if s.has(start, step) {
			there = extend(there, start)
		} else {
			here = extend(here, start)
		}
	}
	slices.SortStableFunc(there, func(a, b segment) int { return int(b.end - b.start - a.end + a.start) })
	if len(there) > mostSegments {
		here, there = append(here, there[mostSegments:]...), there[:mostSegments]
	}
	return there, here
}

// Totals is history.File.Totals.
func (p *Past) Totals(ctx context.Context, from, to time.Time, yield func(instance string, total history.Total)) error {
	r := p.cfg.File.Resolution(from, to)
	step := int64(r.Step / time.Second)
	first, last := from.Unix()/step*step, (to.Unix()+step-1)/step*step
	s, err := p.shipped()
	if err != nil {
		return err
	}
	// What is ahead of the clock nobody has written; the file may have it.
	ahead := (p.cfg.Now().Unix()+3600)/step*step + step
	all := map[string]*history.Total{}
	of := func(id string) *history.Total {
		if all[id] == nil {
			all[id] = &history.Total{}
		}
		return all[id]
	}
	// The file knows when; of how much, the place has most.
	err = p.cfg.File.TotalsIn(from, to, r, func(id string, t history.Total) {
		of(id).First, of(id).Last = t.First, t.Last
	})
	if err != nil {
		return err
	}
	there, here := s.segments(first, min(last, ahead), step)
	if last > ahead {
		here = append(here, segment{ahead, last})
	}
	for _, g := range here {
		err := p.cfg.File.TotalsIn(time.Unix(g.start, 0), time.Unix(g.end, 0), r, func(id string, t history.Total) { of(id).Counts.Add(t.Counts) })
		if err != nil {
			return err
		}
	}
	for _, g := range there {
		err := p.remoteTotals(ctx, s, g, of)
		if err == nil {
			err = p.cfg.File.Corrections("", history.Minutes{First: g.start / 60, Last: g.end/60 - 1}, func(id string, _ int64, m history.Moved) {
				correct(&of(id).Counts, m)
			})
		}
		if err != nil {
			return p.unavailable(err)
		}
	}
	if err := p.others(ctx, s, segment{first, min(last, ahead)}, step, of); err != nil {
		return p.unavailable(err)
	}
	for id, t := range all {
		if negative(t.Counts) {
			return p.unavailable(fmt.Errorf("it has less of instance %q than was written there", id))
		}
		if !t.Counts.Zero() {
			yield(id, *t)
		}
	}
	return nil
}
