package cms

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"openimds/internal/alarm"
	"openimds/internal/control"
)

type escalation struct {
	ComparisonOperator string `json:",omitempty" xml:",omitempty"`
	Statistics         string `json:",omitempty" xml:",omitempty"`
	Threshold          string `json:",omitempty" xml:",omitempty"`
	Times              int    `json:",omitempty" xml:",omitempty"`
}

type escalations struct{ Critical, Warn, Info escalation }

type metricRule struct {
	RuleId, RuleName, Namespace, MetricName  string //nolint:staticcheck // names of the wire
	Period, Resources, Dimensions            string
	AlertState                               string
	EnableState                              bool
	SilenceTime                              int
	NoDataPolicy, EffectiveInterval, Webhook string
	ContactGroups, MailSubject, SourceType   string
	Escalations                              escalations
}

type ruleList struct{ Alarm []metricRule }

type ruleReply struct {
	RequestId string //nolint:staticcheck // name of the wire
	Success   bool
	Code      int
	Total     string
	Alarms    ruleList
}

func (c *call) describeMetricRuleList() (any, error) {
	number, err := c.params.number("Page", 1, 1, 1<<20)
	if err != nil {
		return nil, err
	}
	size, err := c.params.number("PageSize", 10, 1, 100)
	if err != nil {
		return nil, err
	}
	if s := c.params["AlertState"]; s != "" && !alarm.State(s).Known() {
		return nil, invalid("AlertState", "expected OK, ALARM or INSUFFICIENT_DATA")
	}
	var ids []string
	if text := c.params["RuleIds"]; text != "" {
		ids = strings.Split(text, ",")
	}
	all, err := c.Control.Alarms(c.caller, ids)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(a control.Alarm) bool { return !c.wants(a) })
	reply := ruleReply{RequestId: c.id, Success: true, Code: 200, Total: strconv.Itoa(len(all)), Alarms: ruleList{[]metricRule{}}}
	from := min((number-1)*size, len(all))
	for _, a := range all[from:min(from+size, len(all))] {
		reply.Alarms.Alarm = append(reply.Alarms.Alarm, viewRule(a))
	}
	return reply, nil
}

// wants reports whether a rule is one that is asked for.
func (c *call) wants(a control.Alarm) bool {
	is := func(name, value string) bool { return c.params[name] == "" || c.params[name] == value }
	return is("Namespace", a.Namespace) && is("MetricName", a.Metric) && is("AlertState", string(alertState(a))) &&
		is("EnableState", strconv.FormatBool(!a.Disabled)) &&
		strings.Contains(a.Title, c.params["RuleName"]) && strings.Contains(a.Name, c.params["RuleIdLike"])
}

// alertState is the worst state of all instances.
func alertState(a control.Alarm) alarm.State {
	worst := alarm.Insufficient
	for _, s := range a.States {
		if s.State == alarm.Alarm {
			return alarm.Alarm
		}
		if s.State == alarm.OK {
			worst = alarm.OK
		}
	}
	return worst
}

func viewRule(a control.Alarm) metricRule {
	v := metricRule{
		RuleId: a.Name, RuleName: a.Title, Namespace: a.Namespace, MetricName: a.Metric,
		Period: strconv.Itoa(int(a.Period / time.Second)), Resources: a.Attributes["Resources"], Dimensions: a.Attributes["Resources"],
		AlertState: string(alertState(a)), EnableState: !a.Disabled, SilenceTime: int(a.Remind / time.Second),
		NoDataPolicy: a.Attributes["NoDataPolicy"], EffectiveInterval: "00:00-23:59", Webhook: a.Attributes["Webhook"],
		ContactGroups: a.Attributes["ContactGroups"], MailSubject: a.Attributes["EmailSubject"], SourceType: "METRIC",
	}
	if v.NoDataPolicy == "" {
		v.NoDataPolicy = "KEEP_LAST_STATE"
	}
	for _, l := range a.Levels {
		e := escalation{Statistics: l.Statistic, Threshold: strconv.FormatFloat(l.Rule.Threshold, 'f', -1, 64), Times: l.Rule.Periods}
		for name, o := range operators {
			if o == l.Rule.Operator {
				e.ComparisonOperator = name
			}
		}
		switch l.Name {
		case "Critical":
			v.Escalations.Critical = e
		case "Warn":
			v.Escalations.Warn = e
		case "Info":
			v.Escalations.Info = e
		}
	}
	return v
}
