package cms

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"openimds/internal/alarm"
	"openimds/internal/state"
)

// operators by the vendor's names; those that compare with the past are not
// offered.
var operators = map[string]alarm.Operator{
	"GreaterThanOrEqualToThreshold": alarm.AtLeast,
	"GreaterThanThreshold":          alarm.Above,
	"LessThanThreshold":             alarm.Below,
	"LessThanOrEqualToThreshold":    alarm.AtMost,
	"EqualToThreshold":              alarm.Equal,
	"NotEqualToThreshold":           alarm.NotEqual,
}

// levels, the most severe first.
var levels = []string{"Critical", "Warn", "Info"}

// policies for periods without data (ECS-CMS-07).
var policies = map[string]alarm.Missing{
	"KEEP_LAST_STATE":   alarm.MissingIgnored,
	"INSUFFICIENT_DATA": alarm.MissingMissing,
	"OK":                alarm.MissingGood,
}

const (
	usualSilence = 24 * time.Hour
	mostRules    = 100 // instances that a rule names
)

// shown are parameters that are kept only to be shown again.
var shown = []string{"ContactGroups", "EmailSubject", "Webhook", "NoDataPolicy", "Resources", "EffectiveInterval", "NoEffectiveInterval", "Interval"}

// notOffered are parameters that would change what a rule does.
var notOffered = []string{"GroupId", "GroupBy", "Options", "CompositeExpression.", "Prometheus."}

func (c *call) putResourceMetricRule() (any, error) {
	a := state.Alarm{Attributes: map[string]string{}, Actions: map[alarm.State][]string{}}
	for name, to := range map[string]*string{"RuleId": &a.Name, "RuleName": &a.Title, "Namespace": &a.Namespace, "MetricName": &a.Metric} {
		var err error
		if *to, err = c.params.required(name); err != nil {
			return nil, err
		}
		if utf8.RuneCountInString(*to) > 128 || strings.ContainsFunc(*to, func(r rune) bool { return r < ' ' || r == '/' }) {
			return nil, invalid(name, "expected at most 128 characters, without a slash")
		}
	}
	if _, err := c.params.required("Resources"); err != nil {
		return nil, err
	}
	for name := range c.params {
		for _, no := range notOffered {
			if name == no || strings.HasSuffix(no, ".") && strings.HasPrefix(name, no) {
				return nil, invalid(clip(name), "it is not offered here")
			}
		}
	}
	if all := c.params["EffectiveInterval"]; all != "" && !strings.HasPrefix(all, "00:00-23:59") || c.params["NoEffectiveInterval"] != "" {
		return nil, invalid("EffectiveInterval", "rules are in force all day here: leave it out")
	}
	if _, known := c.Names.Measure(a.Namespace, a.Metric); !known {
		return nil, refuse(404, "ResourceNotFound", "The metric "+clip(a.Metric)+" of namespace "+clip(a.Namespace)+" does not exist.")
	}
	var err error
	if a.Period, err = c.params.period(); err != nil {
		return nil, err
	}
	if a.Instances, a.Everything, err = c.params.instances("Resources", mostRules); err != nil {
		return nil, err
	}
	if a.Everything {
		a.Instances = nil
	}
	silence, err := c.params.number("SilenceTime", int(usualSilence/time.Second), 0, 7*86400)
	if err != nil {
		return nil, err
	}
	a.Remind = time.Duration(silence) * time.Second
	missing, ok := policies[c.params["NoDataPolicy"]]
	if !ok && c.params["NoDataPolicy"] != "" {
		return nil, invalid("NoDataPolicy", "expected KEEP_LAST_STATE, INSUFFICIENT_DATA or OK")
	}
	if !ok {
		missing = alarm.MissingIgnored
	}
	for _, name := range levels {
		l, given, err := c.level(name, missing)
		if err != nil {
			return nil, err
		}
		if given {
			a.Levels = append(a.Levels, l)
		}
	}
	if len(a.Levels) == 0 {
		return nil, refuse(400, "MissingParameter", "The parameters Escalations.Critical, .Warn or .Info are required.")
	}
	if hook := c.params["Webhook"]; hook != "" {
		a.Actions[alarm.Alarm], a.Actions[alarm.OK] = []string{hook}, []string{hook}
	}
	for _, name := range shown {
		if v := c.params[name]; v != "" {
			if len(v) > 16<<10 {
				return nil, invalid(name, "it is too long")
			}
			a.Attributes[name] = v
		}
	}
	if err := c.Control.PutAlarm(c.ctx, c.caller, a); err != nil {
		return nil, err
	}
	return c.ok(), nil
}

// level reads Escalations.<name>.
func (c *call) level(name string, missingData alarm.Missing) (state.AlarmLevel, bool, error) {
	at := "Escalations." + name + "."
	l := state.AlarmLevel{Name: name}
	given := false
	for key, value := range c.params {
		given = given || strings.HasPrefix(key, at) && value != ""
	}
	if !given {
		return l, false, nil
	}
	for _, key := range []string{"Statistics", "ComparisonOperator", "Threshold"} {
		if _, err := c.params.required(at + key); err != nil {
			return l, false, err
		}
	}
	if c.params[at+"PreCondition"] != "" {
		return l, false, invalid(at+"PreCondition", "it is not offered here")
	}
	var ok bool
	if l.Statistic = c.params[at+"Statistics"]; !slices.Contains(statistics, l.Statistic) {
		return l, false, invalid(at+"Statistics", "expected one of "+strings.Join(statistics, ", "))
	}
	if l.Rule.Operator, ok = operators[c.params[at+"ComparisonOperator"]]; !ok {
		return l, false, invalid(at+"ComparisonOperator", "expected one of "+strings.Join(slices.Sorted(maps.Keys(operators)), ", "))
	}
	var err error
	if l.Rule.Threshold, err = strconv.ParseFloat(c.params[at+"Threshold"], 64); err != nil || math.IsNaN(l.Rule.Threshold) || math.IsInf(l.Rule.Threshold, 0) {
		return l, false, invalid(at+"Threshold", "expected a number")
	}
	if l.Rule.Periods, err = c.params.number(at+"Times", 3, 1, 180); err != nil {
		return l, false, err
	}
	l.Rule.Datapoints, l.Rule.Missing = l.Rule.Periods, missingData
	return l, true, nil
}

func (c *call) deleteMetricRules() (any, error) {
	ids, err := c.ruleIDs("Id")
	if err == nil {
		err = c.Control.DeleteAlarms(c.ctx, c.caller, ids)
	}
	return c.ok(), err
}

func (c *call) enableMetricRules() (any, error) { return c.switchRules(true) }

func (c *call) disableMetricRules() (any, error) { return c.switchRules(false) }

func (c *call) switchRules(on bool) (any, error) {
	ids, err := c.ruleIDs("RuleId")
	if err == nil {
		err = c.Control.SwitchAlarms(c.ctx, c.caller, ids, on)
	}
	return c.ok(), err
}

func (c *call) ruleIDs(name string) ([]string, error) {
	ids, err := c.params.repeated(name)
	if err == nil && len(ids) == 0 {
		err = missing(name + ".1")
	}
	slices.Sort(ids)
	return slices.Compact(ids), err
}
