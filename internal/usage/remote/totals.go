package remote

import (
	"context"
	"fmt"
	"strings"
	"time"

	"openimds/internal/usage/history"
	"openimds/internal/usage/series"
)

const (
	hour = 3600 // seconds
	day  = 24 * hour
	// mostOdd is how many instances are asked for one by one.
	mostOdd = 200
)

// tally collects totals by instance.
type tally func(instance string) *history.Total

// remoteTotals adds what this writer has written of a segment. Whole hours are
// the difference of the counters at their ends, which are written there for that
// purpose; what is left of the segment is read sample by sample, which for weeks
// of a large fleet would take minutes.
func (p *Past) remoteTotals(ctx context.Context, s shipped, g segment, of tally) error {
	own := label{labelWriter, s.Writer()}
	found, err := p.q.instant(ctx, covered(selector(Minutes, p.labels, own), span(g.end-g.start)), g.end)
	if err != nil {
		return err
	}
	var minutes uint64
	for _, f := range found {
		minutes = max(minutes, f.points[0].value)
	}
	if want := (g.end - g.start) / 60; minutes < uint64(want) { //nolint:gosec // not negative
		return missing(minutes, want, g.start)
	}
	hours := segment{(g.start + hour - 1) / hour * hour, g.end / hour * hour}
	if hours.start/60 > s.Begin && !s.has(hours.start-60, 60) {
		hours.start += hour // its begin was not written
	}
	counters := selector(Counters, p.labels, own)
	if hours.end-hours.start < 2*hour {
		return p.rises(ctx, counters, g, of)
	}
	for _, part := range []segment{{g.start, hours.start}, {hours.end, g.end}} {
		if err := p.rises(ctx, counters, part, of); err != nil {
			return err
		}
	}
	return p.differences(ctx, s, counters, hours, of)
}

func span(seconds int64) time.Duration { return time.Duration(seconds) * time.Second }

// rises adds what counters have risen by in a segment, some of it at a time.
func (p *Past) rises(ctx context.Context, counters string, g segment, of tally) error {
	for start := g.start; start < g.end; start += day {
		end := min(start+day, g.end)
		found, err := p.q.instant(ctx, rise(counters, span(end-start)), end)
		if err != nil {
			return err
		}
		for _, f := range found {
			if f.coverage {
				return fmt.Errorf("it has a series of writer %.64q, which was not asked for", f.writer)
			}
			of(f.instance).Counts[f.kind] += f.points[0].value
		}
	}
	return nil
}

// differences adds by how much counters differ at the ends of whole hours. An
// instance that had gone, or had not come, by one of them, is not there; what
// its counter was is told by the file, or else its samples are read.
func (p *Past) differences(ctx context.Context, s shipped, counters string, g segment, of tally) error {
	before, err := p.valuesAt(ctx, counters, g.start)
	if err != nil {
		return err
	}
	after, err := p.valuesAt(ctx, counters, g.end)
	if err != nil {
		return err
	}
	known := map[string]history.Counter{}
	if err := p.cfg.File.Counters(func(c history.Counter) { known[c.Instance] = c }); err != nil {
		return err
	}
	var odd []string
	done := map[string]bool{}
	each := func(id string) error {
		if done[id] {
			return nil
		}
		done[id] = true
		a, wasThere := before[id]
		b, isThere := after[id]
		c, has := known[id]
		switch {
		case has && (c.First*60 >= g.end || c.Last*60 < g.start):
			return nil
		case !isThere && has && c.Last*60 < g.end:
			b, isThere = c.Total, true
		}
		if !wasThere && has && c.First*60 >= g.start {
			wasThere = true // it was zero
		}
		if !wasThere || !isThere {
			odd = append(odd, id)
			return nil
		}
		for k := range b {
			if b[k] < a[k] {
				return fmt.Errorf("its counters of instance %q go back", id)
			}
			if b[k] > a[k] {
				of(id).Counts[k] += b[k] - a[k]
			}
		}
		return nil
	}
	for _, ids := range []map[string]series.Counts{before, after} {
		for id := range ids {
			if err := each(id); err != nil {
				return err
			}
		}
	}
	for id := range known {
		if err := each(id); err != nil {
			return err
		}
	}
	return p.oddOnes(ctx, s, counters, g, odd, of)
}

// oddOnes adds what some instances have risen by.
func (p *Past) oddOnes(ctx context.Context, s shipped, counters string, g segment, ids []string, of tally) error {
	if len(ids) > mostOdd {
		wanted := map[string]bool{}
		for _, id := range ids {
			wanted[id] = true
		}
		var other history.Total
		return p.rises(ctx, counters, g, func(id string) *history.Total {
			if wanted[id] {
				return of(id)
			}
			return &other
		})
	}
	for _, id := range ids {
		one := selector(Counters, p.labels, label{labelWriter, s.Writer()}, label{labelInstance, id})
		if err := p.rises(ctx, one, g, of); err != nil {
			return err
		}
	}
	return nil
}

// valuesAt returns what counters are at a time.
func (p *Past) valuesAt(ctx context.Context, counters string, at int64) (map[string]series.Counts, error) {
	found, err := p.q.instant(ctx, fmt.Sprintf("max by (%s, %s, %s) (%s)", labelInstance, labelKind, labelWriter, counters), at)
	if err != nil {
		return nil, err
	}
	all := make(map[string]series.Counts, len(found))
	for _, f := range found {
		if f.coverage {
			return nil, fmt.Errorf("it has a series of writer %.64q, which was not asked for", f.writer)
		}
		c := all[f.instance]
		c[f.kind] = f.points[0].value
		all[f.instance] = c
	}
	return all, nil
}

// others adds what other writers have written of a window.
func (p *Past) others(ctx context.Context, s shipped, g segment, step int64, of tally) error {
	// Names of writers are letters and digits.
	not := labelWriter + "!~" + quoted(strings.Join(s.Writers, "|")) + "}"
	theirs := strings.TrimSuffix(selector(Counters, p.labels), "}")
	if len(p.labels) > 0 {
		theirs += ","
	}
	theirs += not
	for start := g.start; start < g.end; start += day {
		part := segment{start, min(start+day, g.end)}
		has := false
		err := p.rises(ctx, theirs, part, func(id string) *history.Total {
			has = true
			return of(id)
		})
		if err == nil && has {
			err = p.when(ctx, theirs, part, step, of)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// when adds when counters rose first and last, by the step.
func (p *Past) when(ctx context.Context, counters string, g segment, step int64, of tally) error {
	steps := fmt.Sprintf("((%s) * 0 + time())[%s:%s]", rise(counters, span(step)), seconds(span(g.end-g.start-step+1)), seconds(span(step)))
	for _, end := range []string{"min", "max"} {
		found, err := p.q.instant(ctx, fmt.Sprintf("%s by (%s, %s, %s) (%s_over_time(%s))", end, labelInstance, labelKind, labelWriter, end, steps), g.end)
		if err != nil {
			return err
		}
		for _, f := range found {
			t := of(f.instance)
			at := time.Unix(int64(f.points[0].value)-step, 0).UTC() //nolint:gosec // a time
			if t.First.IsZero() || at.Before(t.First) {
				t.First = at
			}
			if at.After(t.Last) {
				t.Last = at
			}
		}
	}
	return nil
}
