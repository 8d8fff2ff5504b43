package alarm_test

import (
	"testing"

	"pgregory.net/rapid"

	"openimds/internal/alarm"
)

// values reads the vendor's way to write them: X breaches, 0 does not, - is no
// data.
func values(s string) (all []alarm.Value) {
	for _, c := range s {
		switch c {
		case 'X':
			v := 1.0
			all = append(all, &v)
		case '0':
			v := 0.0
			all = append(all, &v)
		case '-':
			all = append(all, nil)
		}
	}
	return all
}

// The vendor's own tables of three periods, of which three or two have to
// breach (EC2-CW-21, EC2-CW-22). "was" is the state before.
func TestVendorTables(t *testing.T) {
	const was = alarm.State("was")
	treatments := []alarm.Missing{alarm.MissingMissing, alarm.MissingIgnored, alarm.MissingBreaching, alarm.MissingGood}
	for _, tt := range []struct {
		datapoints int
		values     string
		want       [4]alarm.State // by treatment
	}{
		{3, "0 - X - X", [4]alarm.State{alarm.OK, alarm.OK, alarm.OK, alarm.OK}},
		{3, "- - - - 0", [4]alarm.State{alarm.OK, alarm.OK, alarm.OK, alarm.OK}},
		{3, "- - - - -", [4]alarm.State{alarm.Insufficient, was, alarm.Alarm, alarm.OK}},
		{3, "0 X X - X", [4]alarm.State{alarm.Alarm, alarm.Alarm, alarm.Alarm, alarm.Alarm}},
		{3, "- - X - -", [4]alarm.State{alarm.Alarm, was, alarm.Alarm, alarm.OK}},
		{2, "0 - X - X", [4]alarm.State{alarm.Alarm, alarm.Alarm, alarm.Alarm, alarm.Alarm}},
		{2, "0 0 X 0 X", [4]alarm.State{alarm.Alarm, alarm.Alarm, alarm.Alarm, alarm.Alarm}},
		{2, "0 - X - -", [4]alarm.State{alarm.OK, alarm.OK, alarm.Alarm, alarm.OK}},
		{2, "- - - - 0", [4]alarm.State{alarm.OK, alarm.OK, alarm.Alarm, alarm.OK}},
		{2, "- - - X -", [4]alarm.State{alarm.Alarm, was, alarm.Alarm, alarm.OK}},
		// One value does not make an alarm that needs two (ours).
		{2, "- - - - X", [4]alarm.State{was, was, alarm.Alarm, alarm.OK}},
	} {
		for i, treatment := range treatments {
			r := alarm.Rule{Operator: alarm.Above, Threshold: 0, Periods: 3, Datapoints: tt.datapoints, Missing: treatment, Further: 2}
			got, reason := r.Decide(values(tt.values), was)
			if got != tt.want[i] || reason == "" {
				t.Errorf("%d of 3, %s, %s: %s (%s), want %s", tt.datapoints, tt.values, treatment, got, reason, tt.want[i])
			}
		}
	}
}

func TestOperators(t *testing.T) {
	for op, want := range map[alarm.Operator][3]bool{ // of 1, 2 and 3 with 2
		alarm.Above: {false, false, true}, alarm.AtLeast: {false, true, true}, alarm.Below: {true, false, false},
		alarm.AtMost: {true, true, false}, alarm.Equal: {false, true, false}, alarm.NotEqual: {true, false, true}, "~": {},
	} {
		for i, v := range []float64{1, 2, 3} {
			if op.Holds(v, 2) != want[i] {
				t.Errorf("%v %s 2: %v", v, op, !want[i])
			}
		}
	}
}

// Where every period has data, the treatment of missing data decides nothing,
// and what decides is the count alone (EC2-CW-20).
func TestFull(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := alarm.Rule{Operator: alarm.AtLeast, Threshold: 5, Periods: rapid.IntRange(1, 10).Draw(t, "periods"), Further: rapid.IntRange(0, 2).Draw(t, "further")}
		r.Datapoints = rapid.IntRange(1, r.Periods).Draw(t, "datapoints")
		r.Missing = rapid.SampledFrom([]alarm.Missing{alarm.MissingMissing, alarm.MissingIgnored, alarm.MissingBreaching, alarm.MissingGood}).Draw(t, "missing")
		var all []alarm.Value
		breaching := 0
		for i := range r.Window() {
			v := rapid.Float64Range(0, 10).Draw(t, "value")
			if i >= r.Further && v >= 5 {
				breaching++
			}
			all = append(all, &v)
		}
		want := alarm.OK
		if breaching >= r.Datapoints {
			want = alarm.Alarm
		}
		if got, reason := r.Decide(all, alarm.Insufficient); got != want {
			t.Fatalf("%+v: %s (%s), want %s", r, got, reason, want)
		}
	})
}
