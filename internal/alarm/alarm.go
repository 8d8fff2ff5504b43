// Package alarm decides what state an alarm is in: a rule, the values of a
// metric by period, and the state before become the state now. It knows no
// clock, no store and no cloud.
package alarm

import "fmt"

// State is what an alarm is in.
type State string

// States.
const (
	OK           State = "OK"
	Alarm        State = "ALARM"
	Insufficient State = "INSUFFICIENT_DATA"
)

// Known reports whether s is a state.
func (s State) Known() bool { return s == OK || s == Alarm || s == Insufficient }

// Operator compares a value with a threshold. A value for which it holds is
// breaching.
type Operator string

// Operators.
const (
	Above    Operator = ">"
	AtLeast  Operator = ">="
	Below    Operator = "<"
	AtMost   Operator = "<="
	Equal    Operator = "=="
	NotEqual Operator = "!="
)

// Holds compares.
func (o Operator) Holds(value, threshold float64) bool {
	switch o {
	case Above:
		return value > threshold
	case AtLeast:
		return value >= threshold
	case Below:
		return value < threshold
	case AtMost:
		return value <= threshold
	case Equal:
		return value == threshold
	case NotEqual:
		return value != threshold
	}
	return false
}

// Missing says how a period without data counts, where too few periods have
// any.
type Missing string

// Treatments of periods without data.
const (
	MissingIgnored   Missing = "ignore"       // the state stays as it is
	MissingBreaching Missing = "breaching"    // as if the threshold were breached
	MissingGood      Missing = "notBreaching" // as if it were not
	MissingMissing   Missing = "missing"      // without any data there is no state
)

// Rule is a threshold over periods.
type Rule struct {
	Operator  Operator `json:"operator"`
	Threshold float64  `json:"threshold"`
	// Periods are looked at, of which Datapoints have to breach, 1 to Periods.
	Periods    int     `json:"periods"`
	Datapoints int     `json:"datapoints"`
	Missing    Missing `json:"missing"`
	// Further periods are looked at for data, where some are without.
	Further int `json:"further,omitempty"`
}

// Window returns how many values Decide wants.
func (r Rule) Window() int { return r.Periods + r.Further }

// Value is that of one period; nil: it has no data.
type Value = *float64

// Decide returns the state of a rule, and why. Values are those of the last
// Window periods, the oldest first (EC2-CW-20 to EC2-CW-22).
func (r Rule) Decide(values []Value, was State) (State, string) {
	var have []float64 // the newest of those with data, as many as the rule has periods
	for i := len(values) - 1; i >= 0 && len(have) < r.Periods; i-- {
		if values[i] != nil {
			have = append(have, *values[i])
		}
	}
	breaching := 0
	for _, v := range have {
		if r.Operator.Holds(v, r.Threshold) {
			breaching++
		}
	}
	missing := r.Periods - len(have)
	if breaching >= r.Datapoints || r.Missing == MissingBreaching && breaching+missing >= r.Datapoints {
		return Alarm, r.reason(breaching, len(have))
	}
	switch {
	case missing == 0, r.Missing == MissingGood, r.Missing == MissingBreaching, breaching < len(have):
		return OK, r.reason(breaching, len(have))
	case r.Missing == MissingIgnored:
		return was, r.reason(breaching, len(have))
	case len(have) == 0:
		return Insufficient, fmt.Sprintf("no data in the last %d periods", len(values))
	case r.lasting(values):
		return Alarm, r.reason(breaching, len(have))
	}
	return was, r.reason(breaching, len(have))
}

// lasting reports whether the oldest value of the rule's own periods breached
// as many periods ago as have to breach; those since then breach, or have no
// data.
func (r Rule) lasting(values []Value) bool {
	for age := r.Periods; age >= r.Datapoints; age-- {
		if i := len(values) - age; i >= 0 && values[i] != nil {
			return true
		}
	}
	return false
}

func (r Rule) reason(breaching, have int) string {
	s := fmt.Sprintf("%d of the last %d values were %s %v, %d are needed", breaching, have, r.Operator, r.Threshold, r.Datapoints)
	if missing := r.Periods - have; missing > 0 {
		s += fmt.Sprintf("; %d periods have no data (%s)", missing, r.Missing)
	}
	return s
}
