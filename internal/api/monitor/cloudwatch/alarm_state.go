package cloudwatch

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"openimds/internal/alarm"
	"openimds/internal/control"
	"openimds/internal/state"
)

type alarmNames struct{ AlarmNames []string }

func deleteAlarms(c *call, in alarmNames) (nothing, error) {
	if err := checkAlarmNames(in.AlarmNames, false); err != nil {
		return nothing{}, err
	}
	return nothing{}, c.Control.DeleteAlarms(c.ctx, c.caller, in.AlarmNames)
}

func enableAlarmActions(c *call, in alarmNames) (nothing, error) { return switchActions(c, in, true) }

func disableAlarmActions(c *call, in alarmNames) (nothing, error) { return switchActions(c, in, false) }

func switchActions(c *call, in alarmNames, on bool) (nothing, error) {
	if err := checkAlarmNames(in.AlarmNames, false); err != nil {
		return nothing{}, err
	}
	return nothing{}, c.Control.SwitchAlarms(c.ctx, c.caller, in.AlarmNames, on)
}

type setAlarmStateInput struct {
	AlarmName, StateValue, StateReason, StateReasonData string
}

func setAlarmState(c *call, in setAlarmStateInput) (nothing, error) {
	switch {
	case in.AlarmName == "":
		return nothing{}, missing("AlarmName")
	case in.StateReason == "":
		return nothing{}, missing("StateReason")
	case !alarm.State(in.StateValue).Known():
		return nothing{}, badValue("The value %s for parameter StateValue is not supported.", clip(in.StateValue))
	case len(in.StateReason) > 1023 || len(in.StateReasonData) > 4000:
		return nothing{}, badValue("The parameters StateReason and StateReasonData must have at most 1023 and 4000 characters.")
	case in.StateReasonData != "" && !json.Valid([]byte(in.StateReasonData)):
		return nothing{}, &failure{400, "InvalidFormat", "StateReasonData was not syntactically valid JSON"}
	}
	return nothing{}, c.Control.SetAlarmState(c.ctx, c.caller, in.AlarmName,
		state.AlarmStatus{State: alarm.State(in.StateValue), Reason: in.StateReason, Data: in.StateReasonData})
}

type describeAlarmHistoryInput struct {
	AlarmName, HistoryItemType string
	AlarmTypes                 []string
	StartDate, EndDate         *time.Time
	ScanBy                     string
	MaxRecords                 *int
	NextToken                  string
}

// AlarmHistoryItem is a line of an alarm's history.
type AlarmHistoryItem struct {
	AlarmName, AlarmType        string
	Timestamp                   time.Time
	HistoryItemType             string
	HistorySummary, HistoryData string
}

type describeAlarmHistoryOutput struct {
	AlarmHistoryItems []AlarmHistoryItem
	NextToken         string
}

// describeAlarmHistory shows the last events of alarms; those of alarms that
// were deleted are gone with them (EC2-CW-19).
func describeAlarmHistory(c *call, in describeAlarmHistoryInput) (*describeAlarmHistoryOutput, error) {
	most, after, err := paging(in.MaxRecords, in.NextToken)
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"", "ConfigurationUpdate", "StateUpdate", "Action"}, in.HistoryItemType) {
		return nil, badValue("The value %s for parameter HistoryItemType is not supported.", clip(in.HistoryItemType))
	}
	var names []string
	if in.AlarmName != "" {
		names = []string{in.AlarmName}
	}
	alarms, err := c.Control.Alarms(c.caller, names)
	if err != nil {
		return nil, err
	}
	var all []AlarmHistoryItem
	for _, a := range alarms {
		for _, e := range a.Events {
			if in.HistoryItemType != "" && in.HistoryItemType != e.Type || in.StartDate != nil && e.At.Before(*in.StartDate) || in.EndDate != nil && !e.At.Before(*in.EndDate) {
				continue
			}
			data, _ := json.Marshal(map[string]string{"version": "1.0", "type": e.Type, "instance": e.Instance}) // strings always encode
			all = append(all, AlarmHistoryItem{a.Name, "MetricAlarm", e.At, e.Type, e.Summary, string(data)})
		}
	}
	slices.SortStableFunc(all, func(a, b AlarmHistoryItem) int {
		if in.ScanBy == "TimestampAscending" {
			return a.Timestamp.Compare(b.Timestamp)
		}
		return b.Timestamp.Compare(a.Timestamp)
	})
	at, err := readPlace(after)
	if err != nil {
		return nil, err
	}
	out := &describeAlarmHistoryOutput{AlarmHistoryItems: []AlarmHistoryItem{}}
	rest := all[min(at.point, len(all)):]
	out.AlarmHistoryItems = append(out.AlarmHistoryItems, rest[:min(most, len(rest))]...)
	if len(rest) > most {
		out.NextToken = tokenOf(place{0, at.point + most}.String())
	}
	return out, nil
}

type listTagsForResourceInput struct{ ResourceARN string }

type listTagsForResourceOutput struct{ Tags []tag }

// listTagsForResource shows the tags that an alarm was put with.
func listTagsForResource(c *call, in listTagsForResourceInput) (*listTagsForResourceOutput, error) {
	prefix := control.AlarmARN(c.caller, "")
	name, ok := strings.CutPrefix(in.ResourceARN, prefix)
	if !ok {
		return nil, badValue("The value %s for parameter ResourceARN is not valid: it begins with %s.", clip(in.ResourceARN), prefix)
	}
	all, err := c.Control.Alarms(c.caller, []string{name})
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, &failure{404, "ResourceNotFoundException", "Alarm " + clip(name) + " does not exist"}
	}
	out := &listTagsForResourceOutput{Tags: []tag{}}
	for key, value := range all[0].Attributes {
		if key, ok := strings.CutPrefix(key, tagPrefix); ok {
			out.Tags = append(out.Tags, tag{key, value})
		}
	}
	slices.SortFunc(out.Tags, func(a, b tag) int { return strings.Compare(a.Key, b.Key) })
	return out, nil
}
