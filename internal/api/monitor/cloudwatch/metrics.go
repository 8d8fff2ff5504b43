package cloudwatch

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"openimds/internal/metric"
	"openimds/internal/usage/history"
	"openimds/internal/usage/series"
)

// What the metrics of the metadata service are called (EC2-CW-01, EC2-CW-02).
const (
	// Namespace has them.
	Namespace = "AWS/EC2"
	// NoToken counts requests without a token that were answered, and is 0 where all had one.
	NoToken = "MetadataNoToken"
	// NoTokenRejected counts those that were refused because tokens are required.
	NoTokenRejected = "MetadataNoTokenRejected"

	dimension = "InstanceId"
	unit      = "Count"
)

// metricNames are all metrics, sorted.
var metricNames = []string{NoToken, NoTokenRejected}

// Measure returns a metric by its names; false: there is none. Which of the two
// a minute has is told by what happened in it, not by the mode (EC2-CW-06).
func Measure(namespace, name string) (metric.Measure, bool) {
	switch {
	case namespace != Namespace:
	case name == NoToken:
		return func(c series.Counts) (float64, bool) {
			return float64(c[series.TokenFree]), c[series.TokenFree] > 0 || c[series.Rejected] == 0 && c[series.Tokened]+c[series.Minted] > 0
		}, true
	case name == NoTokenRejected:
		return metric.Count(series.Rejected), true
	}
	return nil, false
}

// Dimension narrows a metric.
type Dimension struct{ Name, Value string }

// Metric is one metric of one instance.
type Metric struct {
	Namespace  string
	MetricName string
	Dimensions []Dimension
}

// instance is whose metric is meant: every dimension has to be given
// (EC2-CW-10).
func (m Metric) instance() (string, bool) {
	if len(m.Dimensions) != 1 || m.Dimensions[0].Name != dimension {
		return "", false
	}
	return m.Dimensions[0].Value, true
}

func checkDimensions(all []Dimension) error {
	if len(all) > 30 {
		return badValue("The parameter Dimensions must have at most 30 members.")
	}
	for i, d := range all {
		if d.Name == "" || len(d.Name) > 255 || d.Value == "" || len(d.Value) > 1024 {
			return badValue("The parameter Dimensions.member.%d needs a Name of at most 255 and a Value of at most 1024 characters.", i+1)
		}
	}
	return nil
}

// flush makes the history current, as far as it can: what is there is better
// than nothing.
func (c *call) flush() {
	if err := c.Flush(c.ctx); err != nil {
		c.Logger.WarnContext(c.ctx, "the counts of the last minute are not in an answer", "action", c.caller.Action, "err", err)
	}
}

type listMetricsInput struct {
	Namespace, MetricName string
	Dimensions            []struct {
		Name  string
		Value *string
	}
	NextToken      string
	RecentlyActive string
}

type listMetricsOutput struct {
	Metrics   []Metric
	NextToken string
}

const (
	perPage = 500
	// shown is how long a metric without data is listed (EC2-CW-12).
	shown = 14 * 24 * time.Hour
)

func listMetrics(c *call, in listMetricsInput) (*listMetricsOutput, error) {
	if len(in.Dimensions) > 10 {
		return nil, badValue("The parameter Dimensions must have at most 10 members.")
	}
	window := shown
	switch in.RecentlyActive {
	case "":
	case "PT3H":
		window = 3 * time.Hour
	default:
		return nil, badValue("The value %s for parameter RecentlyActive is not supported.", clip(in.RecentlyActive))
	}
	after, err := hex.DecodeString(in.NextToken)
	if err != nil {
		return nil, badToken()
	}
	if _, err := c.Control.Metered(c.caller); err != nil {
		return nil, err
	}
	c.flush()
	all, err := c.active(window)
	if err != nil {
		return nil, err
	}
	out := &listMetricsOutput{Metrics: []Metric{}}
	for _, m := range all {
		id, _ := m.instance()
		key := id + "/" + m.MetricName
		if key <= string(after) && in.NextToken != "" || in.Namespace != "" && in.Namespace != m.Namespace || in.MetricName != "" && in.MetricName != m.MetricName {
			continue
		}
		wanted := true
		for _, d := range in.Dimensions {
			wanted = wanted && d.Name == dimension && (d.Value == nil || *d.Value == id)
		}
		if !wanted {
			continue
		}
		if len(out.Metrics) == perPage {
			last, _ := out.Metrics[perPage-1].instance()
			out.NextToken = hex.EncodeToString([]byte(last + "/" + out.Metrics[perPage-1].MetricName))
			break
		}
		out.Metrics = append(out.Metrics, m)
	}
	return out, nil
}

// active returns the metrics of the caller's instances that had data in a window
// until now, whether they are there or gone, sorted by instance and name.
func (c *call) active(window time.Duration) ([]Metric, error) {
	now := c.Now()
	found := map[string]series.Counts{}
	if err := c.History.Totals(now.Add(-window), now.Add(time.Minute), func(id string, t history.Total) { found[id] = t.Counts }); err != nil {
		return nil, err
	}
	var all []Metric
	for _, id := range slices.Sorted(maps.Keys(found)) {
		if !c.Control.Owns(c.caller, id) {
			continue
		}
		counts := found[id]
		for _, name := range metricNames {
			measure, _ := Measure(Namespace, name)
			_, has := measure(counts)
			// A sum has rejected requests and minutes without any.
			if name == NoToken && counts[series.Tokened]+counts[series.Minted] > 0 {
				has = true
			}
			if has {
				all = append(all, Metric{Namespace, name, []Dimension{{dimension, id}}})
			}
		}
	}
	return all, nil
}

type getMetricStatisticsInput struct {
	Namespace, MetricName string
	Dimensions            []Dimension
	StartTime, EndTime    *time.Time
	Period                *int
	Statistics            []string
	ExtendedStatistics    []string
	Unit                  string
}

// Datapoint is one of GetMetricStatistics.
type Datapoint struct {
	Timestamp                                   time.Time
	SampleCount, Average, Sum, Minimum, Maximum *float64
	ExtendedStatistics                          *extended
	Unit                                        string
}

type getMetricStatisticsOutput struct {
	Label      string
	Datapoints []Datapoint
}

// maxDatapoints is how many GetMetricStatistics gives (EC2-CW-11).
const maxDatapoints = 1440

func (in *getMetricStatisticsInput) check() error {
	switch {
	case in.Namespace == "":
		return missing("Namespace")
	case in.MetricName == "":
		return missing("MetricName")
	case in.StartTime == nil:
		return missing("StartTime")
	case in.EndTime == nil:
		return missing("EndTime")
	case in.Period == nil:
		return missing("Period")
	case len(in.Statistics)+len(in.ExtendedStatistics) == 0:
		return missing("Statistics")
	case len(in.Statistics) > 0 && len(in.ExtendedStatistics) > 0:
		return badCombination("The parameters Statistics and ExtendedStatistics must not be used together.")
	case len(in.Statistics) > 5 || len(in.ExtendedStatistics) > 10:
		return badValue("There may be 5 Statistics, or 10 ExtendedStatistics.")
	case in.StartTime.Equal(*in.EndTime):
		return badValue("The parameter StartTime must not equal parameter EndTime.")
	case in.StartTime.After(*in.EndTime):
		return badValue("The parameter StartTime must be less than the parameter EndTime.")
	}
	for _, s := range in.Statistics {
		if !slices.Contains(metric.Statistics(), s) {
			return badValue("The value %s for parameter Statistics is not supported.", clip(s))
		}
	}
	for _, s := range in.ExtendedStatistics {
		if _, ok := metric.ParseStatistic(s); !ok || !strings.HasPrefix(s, "p") {
			return badValue("The value %s for parameter ExtendedStatistics is not supported.", clip(s))
		}
	}
	if err := checkPeriod(*in.Period); err != nil {
		return err
	}
	if err := checkDimensions(in.Dimensions); err != nil {
		return err
	}
	period := time.Duration(*in.Period) * time.Second
	if n := (in.EndTime.Sub(*in.StartTime) + period - 1) / period; n > maxDatapoints {
		return badCombination("You have requested up to %s datapoints, which exceeds the limit of 1,440. You may reduce the datapoints requested by increasing Period, or decreasing the time range.", thousands(int64(n)))
	}
	return nil
}

// checkPeriod takes multiples of a minute, which is the resolution of these
// metrics (EC2-CW-07).
func checkPeriod(seconds int) error {
	if seconds < 60 || seconds%60 != 0 || seconds > 366*86400 {
		return badValue("The parameter Period must be greater or equal to 60 and a multiple of 60. Value: %d", seconds)
	}
	return nil
}

// thousands writes a number with commas.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func getMetricStatistics(c *call, in getMetricStatisticsInput) (*getMetricStatisticsOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	out := &getMetricStatisticsOutput{Label: in.MetricName, Datapoints: []Datapoint{}}
	m := Metric{in.Namespace, in.MetricName, in.Dimensions}
	all, err := c.datapoints(m, in.Unit, *in.StartTime, *in.EndTime, time.Duration(*in.Period)*time.Second)
	if err != nil {
		return nil, err
	}
	for _, d := range all {
		point := Datapoint{Timestamp: d.Start, Unit: unit}
		for _, name := range in.Statistics {
			statistic, _ := metric.ParseStatistic(name)
			v := statistic(d)
			switch name {
			case metric.SampleCount:
				point.SampleCount = &v
			case metric.Average:
				point.Average = &v
			case metric.Sum:
				point.Sum = &v
			case metric.Minimum:
				point.Minimum = &v
			case metric.Maximum:
				point.Maximum = &v
			}
		}
		for _, name := range in.ExtendedStatistics {
			if point.ExtendedStatistics == nil {
				point.ExtendedStatistics = &extended{}
			}
			statistic, _ := metric.ParseStatistic(name)
			*point.ExtendedStatistics = append(*point.ExtendedStatistics, named{name, statistic(d)})
		}
		out.Datapoints = append(out.Datapoints, point)
	}
	return out, nil
}

// round is how the vendor rounds a start: the further back, the coarser
// (EC2-CW-09).
func round(start, now time.Time) time.Time { return start.Truncate(series.Finest(start, now).Step) }

// datapoints reads a metric. One that does not exist, or is not the caller's,
// has none.
func (c *call) datapoints(m Metric, wantUnit string, from, to time.Time, period time.Duration) ([]metric.Datapoint, error) {
	id, ok := m.instance()
	ids := []string{}
	if ok {
		ids = append(ids, id)
	}
	ids, err := c.Control.Metered(c.caller, ids...)
	if err != nil {
		return nil, err
	}
	measure, known := Measure(m.Namespace, m.MetricName)
	if !ok || !known || !slices.Contains(ids, id) || wantUnit != "" && wantUnit != unit {
		return nil, nil
	}
	c.flush()
	return c.read(id, measure, from, to, period)
}

// read reads a metric of an instance that is the caller's.
func (c *call) read(id string, measure metric.Measure, from, to time.Time, period time.Duration) ([]metric.Datapoint, error) {
	now := c.Now()
	q := metric.Query{Instance: id, Measure: measure, From: round(from, now), To: to, Period: period}
	return q.Run(c.History.Range, now)
}
