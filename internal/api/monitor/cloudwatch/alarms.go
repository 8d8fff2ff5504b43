package cloudwatch

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"openimds/internal/alarm"
	"openimds/internal/control"
	"openimds/internal/metric"
	"openimds/internal/state"
)

// operators are those that compare with a number; the others compare with a
// band, which nothing here learns.
var operators = map[string]alarm.Operator{
	"GreaterThanOrEqualToThreshold": alarm.AtLeast,
	"GreaterThanThreshold":          alarm.Above,
	"LessThanThreshold":             alarm.Below,
	"LessThanOrEqualToThreshold":    alarm.AtMost,
}

func operatorName(o alarm.Operator) string {
	for name, is := range operators {
		if is == o {
			return name
		}
	}
	return string(o)
}

// further is how many periods beyond those of an alarm are looked at
// (EC2-CW-20).
const further = 2

type tag struct{ Key, Value string }

type putMetricAlarmInput struct {
	AlarmName, AlarmDescription      string
	ActionsEnabled                   *bool
	OKActions, AlarmActions          []string
	InsufficientDataActions          []string
	Namespace, MetricName            string
	Statistic, ExtendedStatistic     string
	Dimensions                       []Dimension
	Period, EvaluationPeriods        *int
	DatapointsToAlarm                *int
	Unit                             string
	Threshold                        *float64
	ComparisonOperator               string
	TreatMissingData                 string
	EvaluateLowSampleCountPercentile string
	ThresholdMetricId                string     //nolint:staticcheck // name of the wire
	Metrics                          []struct{} // any is too many
	EvaluationCriteria               *struct{}
	EvaluationInterval               *int
	Tags                             []tag
}

// attributes that are kept only to be shown.
const (
	lowSample = "EvaluateLowSampleCountPercentile"
	tagPrefix = "tag:"
)

func (in *putMetricAlarmInput) check() error {
	switch {
	case len(in.Metrics) > 0, in.ThresholdMetricId != "", in.EvaluationCriteria != nil:
		return badCombination("Alarms on expressions are not offered here: use MetricName, Namespace and Threshold.")
	case in.AlarmName == "":
		return missing("AlarmName")
	case utf8.RuneCountInString(in.AlarmName) > 255 || strings.ContainsFunc(in.AlarmName, func(r rune) bool { return r < ' ' }):
		return badValue("The parameter AlarmName must have at most 255 characters, in one line.")
	case utf8.RuneCountInString(in.AlarmDescription) > 1024:
		return badValue("The parameter AlarmDescription must have at most 1024 characters.")
	case in.MetricName == "":
		return missing("MetricName")
	case len(in.MetricName) > 255 || len(in.Namespace) > 255:
		return badValue("The parameters MetricName and Namespace must have at most 255 characters.")
	case in.Namespace == "":
		return missing("Namespace")
	case in.ComparisonOperator == "":
		return missing("ComparisonOperator")
	case operators[in.ComparisonOperator] == "":
		return badValue("The value %s for parameter ComparisonOperator is not supported.", clip(in.ComparisonOperator))
	case in.Threshold == nil:
		return missing("Threshold")
	case in.Period == nil:
		return missing("Period")
	case in.EvaluationPeriods == nil:
		return missing("EvaluationPeriods")
	case *in.EvaluationPeriods < 1:
		return badValue("The parameter EvaluationPeriods must be greater or equal to 1.")
	case in.DatapointsToAlarm != nil && (*in.DatapointsToAlarm < 1 || *in.DatapointsToAlarm > *in.EvaluationPeriods):
		return badValue("The parameter DatapointsToAlarm must be between 1 and EvaluationPeriods.")
	case (in.Statistic == "") == (in.ExtendedStatistic == ""):
		return badCombination("Exactly one of the parameters Statistic and ExtendedStatistic must be specified.")
	case in.Statistic != "" && !slices.Contains(metric.Statistics(), in.Statistic):
		return badValue("The value %s for parameter Statistic is not supported.", clip(in.Statistic))
	case len(in.Tags) > 50:
		return badValue("The parameter Tags must have at most 50 members.")
	}
	if _, ok := metric.ParseStatistic(in.ExtendedStatistic); in.ExtendedStatistic != "" && (!ok || !strings.HasPrefix(in.ExtendedStatistic, "p")) {
		return badValue("The value %s for parameter ExtendedStatistic is not supported.", clip(in.ExtendedStatistic))
	}
	if !slices.Contains([]string{"", "breaching", "notBreaching", "ignore", "missing"}, in.TreatMissingData) {
		return badValue("The value %s for parameter TreatMissingData is not supported.", clip(in.TreatMissingData))
	}
	if !slices.Contains([]string{"", "evaluate", "ignore"}, in.EvaluateLowSampleCountPercentile) {
		return badValue("The value %s for parameter EvaluateLowSampleCountPercentile is not supported.", clip(in.EvaluateLowSampleCountPercentile))
	}
	if err := in.checkPeriod(); err != nil {
		return err
	}
	return checkDimensions(in.Dimensions)
}

// checkPeriod bounds what an alarm looks back (EC2-CW-18).
func (in *putMetricAlarmInput) checkPeriod() error {
	p, n := *in.Period, *in.EvaluationPeriods
	if p != 10 && p != 20 && p != 30 && (p < 60 || p%60 != 0 || p > 7*86400) {
		return badValue("Period must be 10, 20, 30 or a multiple of 60")
	}
	if most := 86400; p >= 3600 && n > 7*86400/p || p < 3600 && n > most/p {
		return validation("Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be <= 86400).")
	}
	return nil
}

func putMetricAlarm(c *call, in putMetricAlarmInput) (nothing, error) {
	if err := in.check(); err != nil {
		return nothing{}, err
	}
	level := state.AlarmLevel{Statistic: in.Statistic + in.ExtendedStatistic, Rule: alarm.Rule{
		Operator: operators[in.ComparisonOperator], Threshold: *in.Threshold,
		Periods: *in.EvaluationPeriods, Datapoints: *in.EvaluationPeriods, Missing: alarm.MissingMissing, Further: further,
	}}
	if in.DatapointsToAlarm != nil {
		level.Rule.Datapoints = *in.DatapointsToAlarm
	}
	if in.TreatMissingData != "" {
		level.Rule.Missing = alarm.Missing(in.TreatMissingData)
	}
	a := state.Alarm{
		Name: in.AlarmName, Description: in.AlarmDescription, Namespace: in.Namespace, Metric: in.MetricName,
		Period: time.Duration(*in.Period) * time.Second, Unit: in.Unit, Levels: []state.AlarmLevel{level},
		Actions: map[alarm.State][]string{alarm.OK: in.OKActions, alarm.Alarm: in.AlarmActions, alarm.Insufficient: in.InsufficientDataActions},
		Silent:  in.ActionsEnabled != nil && !*in.ActionsEnabled, Attributes: map[string]string{},
	}
	for _, d := range in.Dimensions {
		a.Dimensions = append(a.Dimensions, state.Dimension(d))
	}
	id, ok := Metric{Dimensions: in.Dimensions}.instance()
	if ok && (in.Unit == "" || in.Unit == unit) {
		a.Instances = []string{id} // of another unit there is never data (EC2-CW-10)
	}
	if in.DatapointsToAlarm != nil {
		a.Attributes["DatapointsToAlarm"] = strconv.Itoa(*in.DatapointsToAlarm)
	}
	if in.TreatMissingData != "" {
		a.Attributes["TreatMissingData"] = in.TreatMissingData
	}
	if in.EvaluateLowSampleCountPercentile != "" {
		a.Attributes[lowSample] = in.EvaluateLowSampleCountPercentile
	}
	for _, t := range in.Tags {
		if t.Key == "" || len(t.Key) > 128 || len(t.Value) > 256 {
			return nothing{}, badValue("A tag has a key of 1 to 128 and a value of at most 256 characters.")
		}
		a.Attributes[tagPrefix+t.Key] = t.Value
	}
	return nothing{}, c.Control.PutAlarm(c.ctx, c.caller, a)
}

// MetricAlarm is an alarm as it is shown.
type MetricAlarm struct {
	AlarmName, AlarmArn, AlarmDescription    string
	AlarmConfigurationUpdatedTimestamp       time.Time
	ActionsEnabled                           bool
	OKActions, AlarmActions                  []string
	InsufficientDataActions                  []string
	StateValue, StateReason, StateReasonData string
	StateUpdatedTimestamp                    time.Time
	StateTransitionedTimestamp               time.Time
	MetricName, Namespace                    string
	Statistic, ExtendedStatistic             string
	Dimensions                               []Dimension
	Period                                   int
	Unit                                     string
	EvaluationPeriods                        int
	DatapointsToAlarm                        *int
	Threshold                                float64
	ComparisonOperator                       string
	TreatMissingData                         string
	EvaluateLowSampleCountPercentile         string
}

// subject is the instance whose status is the alarm's.
func subject(a control.Alarm) string {
	if len(a.Instances) > 0 {
		return a.Instances[0]
	}
	return ""
}

func view(caller control.Caller, a control.Alarm) MetricAlarm {
	s, l := a.StatusOf(subject(a)), a.Levels[0]
	v := MetricAlarm{
		AlarmName: a.Name, AlarmArn: control.AlarmARN(caller, a.Name), AlarmDescription: a.Description,
		AlarmConfigurationUpdatedTimestamp: a.Updated, ActionsEnabled: !a.Silent,
		OKActions: a.Actions[alarm.OK], AlarmActions: a.Actions[alarm.Alarm], InsufficientDataActions: a.Actions[alarm.Insufficient],
		StateValue: string(s.State), StateReason: s.Reason, StateReasonData: s.Data, StateUpdatedTimestamp: s.Since, StateTransitionedTimestamp: s.Since,
		MetricName: a.Metric, Namespace: a.Namespace, Dimensions: []Dimension{}, Period: int(a.Period / time.Second), Unit: a.Unit,
		EvaluationPeriods: l.Rule.Periods, Threshold: l.Rule.Threshold, ComparisonOperator: operatorName(l.Rule.Operator),
		TreatMissingData: a.Attributes["TreatMissingData"], EvaluateLowSampleCountPercentile: a.Attributes[lowSample],
	}
	if strings.HasPrefix(l.Statistic, "p") {
		v.ExtendedStatistic = l.Statistic
	} else {
		v.Statistic = l.Statistic
	}
	if a.Attributes["DatapointsToAlarm"] != "" {
		v.DatapointsToAlarm = &l.Rule.Datapoints
	}
	for _, d := range a.Dimensions {
		v.Dimensions = append(v.Dimensions, Dimension(d))
	}
	return v
}

type describeAlarmsInput struct {
	AlarmNames                             []string
	AlarmNamePrefix                        string
	StateValue, ActionPrefix               string
	AlarmTypes                             []string
	ChildrenOfAlarmName, ParentOfAlarmName string
	MaxRecords                             *int
	NextToken                              string
}

type describeAlarmsOutput struct {
	CompositeAlarms []nothing
	MetricAlarms    []MetricAlarm
	NextToken       string
}

func describeAlarms(c *call, in describeAlarmsInput) (*describeAlarmsOutput, error) {
	if err := checkAlarmNames(in.AlarmNames, true); err != nil {
		return nil, err
	}
	if len(in.AlarmNames) > 0 && in.AlarmNamePrefix != "" {
		return nil, badCombination("AlarmNames and AlarmNamePrefix must not be used together.")
	}
	if in.StateValue != "" && !alarm.State(in.StateValue).Known() {
		return nil, badValue("The value %s for parameter StateValue is not supported.", clip(in.StateValue))
	}
	most, after, err := paging(in.MaxRecords, in.NextToken)
	if err != nil {
		return nil, err
	}
	all, err := c.Control.Alarms(c.caller, in.AlarmNames)
	if err != nil {
		return nil, err
	}
	out := &describeAlarmsOutput{CompositeAlarms: []nothing{}, MetricAlarms: []MetricAlarm{}}
	if in.ChildrenOfAlarmName+in.ParentOfAlarmName != "" || len(in.AlarmTypes) > 0 && !slices.Contains(in.AlarmTypes, "MetricAlarm") {
		return out, nil // of composite alarms, which do not exist here
	}
	for _, a := range all {
		if a.Name <= after || !strings.HasPrefix(a.Name, in.AlarmNamePrefix) {
			continue
		}
		if in.StateValue != "" && string(a.StatusOf(subject(a)).State) != in.StateValue || !hasAction(a, in.ActionPrefix) {
			continue
		}
		if len(out.MetricAlarms) == most {
			out.NextToken = tokenOf(out.MetricAlarms[most-1].AlarmName)
			break
		}
		out.MetricAlarms = append(out.MetricAlarms, view(c.caller, a))
	}
	return out, nil
}

func hasAction(a control.Alarm, prefix string) bool {
	if prefix == "" {
		return true
	}
	for _, all := range a.Actions {
		if slices.ContainsFunc(all, func(s string) bool { return strings.HasPrefix(s, prefix) }) {
			return true
		}
	}
	return false
}

// tokenOf makes a token of where a page ended.
func tokenOf(last string) string { return hex.EncodeToString([]byte(last)) }

// paging reads how many results are wanted, and after which name.
func paging(most *int, token string) (int, string, error) {
	n := 50
	if most != nil {
		n = *most
	}
	if n < 1 || n > 100 {
		return 0, "", badValue("The parameter MaxRecords must be between 1 and 100.")
	}
	after, err := hex.DecodeString(token)
	if err != nil {
		return 0, "", badToken()
	}
	return n, string(after), nil
}

func checkAlarmNames(names []string, none bool) error {
	if len(names) == 0 && !none {
		return missing("AlarmNames")
	}
	if len(names) > 100 {
		return validation("The collection AlarmNames must not have a size greater than 100.")
	}
	for _, name := range names {
		if name == "" || len(name) > 1020 {
			return badValue("An alarm name has 1 to 255 characters.")
		}
	}
	return nil
}

type describeAlarmsForMetricInput struct {
	Namespace, MetricName        string
	Statistic, ExtendedStatistic string
	Dimensions                   []Dimension
	Period                       *int
	Unit                         string
}

type describeAlarmsForMetricOutput struct{ MetricAlarms []MetricAlarm }

func describeAlarmsForMetric(c *call, in describeAlarmsForMetricInput) (*describeAlarmsForMetricOutput, error) {
	switch {
	case in.Namespace == "":
		return nil, missing("Namespace")
	case in.MetricName == "":
		return nil, missing("MetricName")
	}
	all, err := c.Control.Alarms(c.caller, nil)
	if err != nil {
		return nil, err
	}
	out := &describeAlarmsForMetricOutput{MetricAlarms: []MetricAlarm{}}
	for _, a := range all {
		v := view(c.caller, a)
		if v.Namespace == in.Namespace && v.MetricName == in.MetricName && slices.Equal(v.Dimensions, in.Dimensions) &&
			(in.Period == nil || *in.Period == v.Period) && (in.Unit == "" || in.Unit == v.Unit) &&
			(in.Statistic == "" || in.Statistic == v.Statistic) && (in.ExtendedStatistic == "" || in.ExtendedStatistic == v.ExtendedStatistic) {
			out.MetricAlarms = append(out.MetricAlarms, v)
		}
	}
	return out, nil
}
