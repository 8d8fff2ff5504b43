package cloudwatch

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"openimds/internal/metric"
)

type metricStat struct {
	Metric Metric
	Period *int
	Stat   string
	Unit   string
}

type metricDataQuery struct {
	Id         string //nolint:staticcheck // name of the wire
	MetricStat *metricStat
	Expression string
	Label      string
	ReturnData *bool
	Period     *int
}

type getMetricDataInput struct {
	MetricDataQueries  []metricDataQuery
	StartTime, EndTime *time.Time
	NextToken          string
	ScanBy             string
	MaxDatapoints      *int
}

// MetricDataResult is one time series of GetMetricData.
type MetricDataResult struct {
	Id         string //nolint:staticcheck // name of the wire
	Label      string
	Timestamps []time.Time
	Values     []float64
	StatusCode string
}

type getMetricDataOutput struct {
	MetricDataResults []MetricDataResult
	NextToken         string
}

// Bounds of GetMetricData (EC2-CW-13).
const (
	maxQueries = 500
	maxData    = 100800
	// defaultPeriod is that of an expression that names none: basic monitoring.
	defaultPeriod = 300
)

var queryID = regexp.MustCompile(`^[a-z][A-Za-z0-9_]{0,254}$`)

func (in *getMetricDataInput) check() error {
	switch {
	case len(in.MetricDataQueries) == 0:
		return missing("MetricDataQueries")
	case len(in.MetricDataQueries) > maxQueries:
		return validation("The collection MetricDataQueries must not have a size greater than %d.", maxQueries)
	case in.StartTime == nil:
		return missing("StartTime")
	case in.EndTime == nil:
		return missing("EndTime")
	case in.StartTime.Equal(*in.EndTime):
		return validation("The parameter StartTime must not equal parameter EndTime.")
	case in.StartTime.After(*in.EndTime):
		return validation("The parameter StartTime must be less than the parameter EndTime.")
	case in.ScanBy != "" && in.ScanBy != "TimestampDescending" && in.ScanBy != "TimestampAscending":
		return validation("The value %s for parameter ScanBy is not supported.", clip(in.ScanBy))
	case in.MaxDatapoints != nil && (*in.MaxDatapoints < 1 || *in.MaxDatapoints > maxData):
		return validation("The parameter MaxDatapoints must be between 1 and %d.", maxData)
	}
	seen := map[string]bool{}
	returned := false
	for _, q := range in.MetricDataQueries {
		switch {
		case !queryID.MatchString(q.Id):
			return validation("The value %q for parameter Id is not matching the expected pattern ^[a-z][a-zA-Z0-9_]*$.", clip(q.Id))
		case seen[q.Id]:
			return validation("The value %s for parameter Id is used more than once.", q.Id)
		case (q.MetricStat == nil) == (q.Expression == ""):
			return validation("The query %s needs exactly one of MetricStat and Expression.", q.Id)
		case len(q.Expression) > 2048:
			return validation("The expression of %s has more than 2048 characters.", q.Id)
		}
		seen[q.Id] = true
		returned = returned || q.ReturnData == nil || *q.ReturnData
		if err := q.check(); err != nil {
			return err
		}
	}
	if !returned {
		return validation("At least one query must have ReturnData set to true.")
	}
	return nil
}

func (q metricDataQuery) check() error {
	s := q.MetricStat
	if s == nil {
		if q.Period != nil {
			return asValidation(checkPeriod(*q.Period))
		}
		return nil
	}
	switch {
	case s.Metric.MetricName == "" || s.Metric.Namespace == "":
		return missing("MetricDataQueries.member.MetricStat.Metric.MetricName and Namespace")
	case s.Period == nil:
		return missing("MetricDataQueries.member.MetricStat.Period")
	case s.Stat == "":
		return missing("MetricDataQueries.member.MetricStat.Stat")
	}
	if _, ok := metric.ParseStatistic(s.Stat); !ok {
		return validation("The value %s for parameter MetricDataQueries.member.MetricStat.Stat is not supported.", clip(s.Stat))
	}
	if err := checkPeriod(*s.Period); err != nil {
		return asValidation(err)
	}
	return asValidation(checkDimensions(s.Metric.Dimensions))
}

// asValidation gives an error the code that GetMetricData has.
func asValidation(err error) error {
	if f, ok := err.(*failure); ok { //nolint:errorlint // it was made here
		return validation("%s", f.message)
	}
	return err
}

// line is a time series.
type line struct {
	label  string
	points map[time.Time]float64
}

func getMetricData(c *call, in getMetricDataInput) (*getMetricDataOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	skip, err := readPlace(in.NextToken)
	if err != nil {
		return nil, err
	}
	e := evaluation{call: c, in: &in, done: map[string][]line{}}
	if _, err = c.Control.Metered(c.caller); err != nil {
		return nil, err
	}
	c.flush()
	most := maxData
	if in.MaxDatapoints != nil {
		most = *in.MaxDatapoints
	}
	out := &getMetricDataOutput{MetricDataResults: []MetricDataResult{}}
	n := 0
	for _, q := range in.MetricDataQueries {
		lines, err := e.query(q.Id)
		if err != nil {
			return nil, err
		}
		if q.ReturnData != nil && !*q.ReturnData {
			continue
		}
		for _, l := range lines {
			r := l.result(q, in.ScanBy != "TimestampAscending")
			from := 0
			if n < skip.line {
				n++
				continue
			}
			if n == skip.line {
				from = min(skip.point, len(r.Values))
			}
			r.Timestamps, r.Values = r.Timestamps[from:], r.Values[from:]
			if len(r.Values) > most {
				r.Timestamps, r.Values, r.StatusCode = r.Timestamps[:most], r.Values[:most], "PartialData"
				out.MetricDataResults = append(out.MetricDataResults, r)
				out.NextToken = place{n, from + most}.String()
				return out, nil
			}
			most -= len(r.Values)
			out.MetricDataResults = append(out.MetricDataResults, r)
			n++
		}
	}
	return out, nil
}

// place is where a page begins.
type place struct{ line, point int }

// String makes a token of a place.
func (p place) String() string { return fmt.Sprintf("%d-%d", p.line, p.point) }

func readPlace(token string) (p place, err error) {
	if token == "" {
		return p, nil
	}
	a, b, _ := strings.Cut(token, "-")
	if p.line, err = strconv.Atoi(a); err == nil {
		p.point, err = strconv.Atoi(b)
	}
	if err != nil || p.line < 0 || p.point < 0 {
		return p, badToken()
	}
	return p, nil
}

// result puts a time series in order.
func (l line) result(q metricDataQuery, newestFirst bool) MetricDataResult {
	r := MetricDataResult{Id: q.Id, Label: l.label, Timestamps: []time.Time{}, Values: []float64{}, StatusCode: "Complete"}
	if q.Label != "" {
		r.Label = q.Label
	}
	for at := range l.points {
		r.Timestamps = append(r.Timestamps, at)
	}
	slices.SortFunc(r.Timestamps, func(a, b time.Time) int {
		if newestFirst {
			return b.Compare(a)
		}
		return a.Compare(b)
	})
	for _, at := range r.Timestamps {
		r.Values = append(r.Values, l.points[at])
	}
	return r
}

// evaluation is one GetMetricData: each query is read once.
type evaluation struct {
	*call
	in   *getMetricDataInput
	done map[string][]line
	open []string // queries that are being read
	list []Metric // their metrics with data, once they were looked for
}

// query reads the query with an id.
func (e *evaluation) query(id string) ([]line, error) {
	if lines, ok := e.done[id]; ok {
		return lines, nil
	}
	i := slices.IndexFunc(e.in.MetricDataQueries, func(q metricDataQuery) bool { return q.Id == id })
	if i < 0 {
		return nil, validation("Error in expression: the query %q does not exist.", clip(id))
	}
	if slices.Contains(e.open, id) {
		return nil, validation("Error in expression %q: it needs itself.", id)
	}
	e.open = append(e.open, id)
	defer func() { e.open = e.open[:len(e.open)-1] }()
	q := e.in.MetricDataQueries[i]
	var lines []line
	var err error
	if q.MetricStat != nil {
		var l line
		l, err = e.stat(q.MetricStat.Metric, q.MetricStat.Stat, q.MetricStat.Unit, *q.MetricStat.Period, q.MetricStat.Metric.MetricName)
		lines = []line{l}
	} else {
		lines, err = e.expression(q)
	}
	if err != nil {
		return nil, err
	}
	e.done[id] = lines
	return lines, nil
}

// stat reads a metric.
func (e *evaluation) stat(m Metric, stat, wantUnit string, period int, label string) (line, error) {
	l := line{label: label, points: map[time.Time]float64{}}
	id, ok := m.instance()
	measure, known := Measure(m.Namespace, m.MetricName)
	if !ok || !known || wantUnit != "" && wantUnit != unit {
		return l, nil
	}
	if !e.Control.Owns(e.caller, id) {
		return l, nil
	}
	all, err := e.read(id, measure, *e.in.StartTime, *e.in.EndTime, time.Duration(period)*time.Second)
	if err != nil {
		return l, err
	}
	statistic, _ := metric.ParseStatistic(stat)
	for _, d := range all {
		l.points[d.Start] = statistic(d)
	}
	return l, nil
}
