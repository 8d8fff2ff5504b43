// Package metric makes datapoints of usage, as the clouds' monitoring APIs and
// alarms want them: what was counted, put together by periods and statistics.
package metric

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"openimds/internal/usage/series"
)

// Read returns what an instance did from a time on and before another, in steps
// of a resolution and in order, without steps in which it did nothing.
type Read func(instance string, from, to time.Time, r series.Resolution) ([]series.Point, error)

// Measure is what a metric says of a step, if it says anything.
type Measure func(series.Counts) (value float64, ok bool)

// Count measures a kind, and says nothing of a step without it.
func Count(k series.Kind) Measure {
	return func(c series.Counts) (float64, bool) { return float64(c[k]), c[k] > 0 }
}

// Query asks for the datapoints of an instance from From on and before To. Each
// is of one Period, the first of which begins at From; it should be a full
// minute.
type Query struct {
	Instance string
	Measure  Measure
	From, To time.Time
	Period   time.Duration
}

// Run returns the datapoints that there are, in order. What is older is kept in
// longer steps (EC2-CW-09): it is left out where the period is not a multiple
// of them.
func (q Query) Run(read Read, now time.Time) ([]Datapoint, error) {
	var all []Datapoint
	to := q.To
	for _, r := range series.Resolutions() {
		if !q.From.Before(to) {
			break
		}
		from := q.From
		if kept := now.Add(-r.Keep); from.Before(kept) {
			// From the first period that is kept as a whole.
			from = from.Add((kept.Sub(from) + q.Period - 1) / q.Period * q.Period)
		}
		if from.After(to) {
			continue
		}
		some, err := q.part(read, from, to, r)
		if err != nil {
			return nil, err
		}
		all = append(some, all...)
		to = from
	}
	return all, nil
}

// part returns the datapoints of a stretch that is kept in one resolution.
func (q Query) part(read Read, from, to time.Time, r series.Resolution) ([]Datapoint, error) {
	if q.Period%r.Step != 0 || from.Unix()%int64(r.Step/time.Second) != 0 {
		return nil, nil
	}
	// To may lie within a step: what the step has is taken, as it cannot be parted.
	end := to.Truncate(r.Step)
	if end.Before(to) {
		end = end.Add(r.Step)
	}
	points, err := read(q.Instance, from, end, r)
	if err != nil {
		return nil, err
	}
	var all []Datapoint
	for _, p := range points {
		v, ok := q.Measure(p.Counts)
		if !ok {
			continue
		}
		start := q.From.Add(p.Start.Sub(q.From) / q.Period * q.Period)
		if len(all) == 0 || !all[len(all)-1].Start.Equal(start) {
			all = append(all, Datapoint{Start: start})
		}
		all[len(all)-1].add(v)
	}
	return all, nil
}

// Datapoint is a metric in one period.
type Datapoint struct {
	// Start of the period.
	Start         time.Time
	Sum, Min, Max float64
	// samples are the values of the steps.
	samples []float64
}

func (d *Datapoint) add(v float64) {
	if len(d.samples) == 0 {
		d.Min, d.Max = v, v
	}
	d.Sum, d.Min, d.Max = d.Sum+v, min(d.Min, v), max(d.Max, v)
	d.samples = append(d.samples, v)
}

// Names of statistics.
const (
	SampleCount = "SampleCount"
	Average     = "Average"
	Sum         = "Sum"
	Minimum     = "Minimum"
	Maximum     = "Maximum"
)

// Statistics returns the names of all statistics but percentiles.
func Statistics() []string { return []string{SampleCount, Average, Sum, Minimum, Maximum} }

// Statistic is a way to make one number of a datapoint.
type Statistic func(Datapoint) float64

// ParseStatistic reads the name of a statistic, or of a percentile: p and up to
// two digits before and after the point, or p100 (EC2-CW-08).
func ParseStatistic(name string) (Statistic, bool) {
	switch name {
	case SampleCount:
		return func(d Datapoint) float64 { return float64(len(d.samples)) }, true
	case Average:
		return func(d Datapoint) float64 { return d.Sum / float64(len(d.samples)) }, true
	case Sum:
		return func(d Datapoint) float64 { return d.Sum }, true
	case Minimum:
		return func(d Datapoint) float64 { return d.Min }, true
	case Maximum:
		return func(d Datapoint) float64 { return d.Max }, true
	}
	digits, ok := strings.CutPrefix(name, "p")
	if !ok || len(digits) > 5 || strings.Trim(digits, "0123456789.") != "" {
		return nil, false
	}
	share, err := strconv.ParseFloat(digits, 64)
	if err != nil || share < 0 || share > 100 {
		return nil, false
	}
	return func(d Datapoint) float64 { return d.percentile(share) }, true
}

// percentile is the smallest sample that a share of all is not above.
func (d Datapoint) percentile(share float64) float64 {
	sorted := slices.Sorted(slices.Values(d.samples))
	i := int(math.Ceil(share/100*float64(len(sorted)))) - 1
	return sorted[max(0, i)]
}
