package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"openimds/internal/admin"
)

// alarmFlags are those of filterFlags that alarms have, too.
var alarmFlags = []string{"dialect", "account", "region", "state"}

func getAlarms(c *cobra.Command, o clientOptions, query url.Values, form string, names []string) error {
	if err := checkForm(form); err != nil {
		return err
	}
	for name := range query {
		if !slices.Contains(alarmFlags, name) {
			return usageError{fmt.Errorf("alarms have no --%s: use --%s", name, strings.Join(alarmFlags, ", --"))}
		}
	}
	if len(names) > 0 && len(query) > 0 {
		return usageError{errors.New("names and filters contradict each other: leave one out")}
	}
	server, err := o.open()
	if err != nil {
		return err
	}
	var items []json.RawMessage
	if len(names) == 0 {
		items, err = server.list(c.Context(), admin.AlarmsKind[0], query)
	}
	for _, name := range names {
		item, ierr := server.alarm(c, name)
		if ierr != nil {
			return ierr
		}
		items = append(items, item)
	}
	if err != nil {
		return err
	}
	return show(c, admin.AlarmsKind[0], form, items, len(names) == 1)
}

// alarm reads an alarm by its name, or by the last part of it where only one
// alarm is called so.
func (c *client) alarm(cmd *cobra.Command, name string) (json.RawMessage, error) {
	full := name
	if !alarmNamed(name) {
		found, err := c.list(cmd.Context(), admin.AlarmsKind[0], url.Values{"name": {name}})
		switch {
		case err != nil:
			return nil, err
		case len(found) == 0:
			return nil, fmt.Errorf("there is no alarm %q: imds get alarms lists them", name)
		case len(found) > 1:
			return nil, usageError{fmt.Errorf("%d alarms are called %q: give the whole name, DIALECT/ACCOUNT/REGION/NAME", len(found), name)}
		}
		o, err := decode(found[0])
		if err != nil {
			return nil, err
		}
		full = o.at("name")
	}
	return c.do(cmd.Context(), http.MethodGet, resourcePath(admin.AlarmsKind[0], full), nil, nil)
}

// alarmNamed reports whether a name is DIALECT/ACCOUNT/REGION/NAME.
func alarmNamed(name string) bool {
	return (strings.HasPrefix(name, "ec2/") || strings.HasPrefix(name, "ecs/")) && strings.Count(name, "/") >= 3
}

// alarmColumns are those of the table of alarms.
var alarmColumns = []column{
	at("ALARM", "name"),
	{"STATE", func(o object) string {
		switch {
		case o.at("disabled") == "yes":
			return "off"
		case o.at("silent") == "yes":
			return o.at("state") + " (silent)"
		}
		return o.at("state")
	}},
	{"SINCE", func(o object) string { return o.stamp("since") }},
	at("METRIC", "metric"), at("INSTANCE", "instance"), at("VALUE", "value"),
	{"INSTANCES", counts},
	at("WAITING", "waiting"), at("FAILED", "failed"), at("GIVEN-UP", "givenUp"),
	{"LAST-ERROR", func(o object) string { return o.failing().at("lastError") }},
	{"NEXT-TRY", func(o object) string { return o.failing().stamp("nextTry") }},
}

// failing is the first delivery of an alarm that did not succeed.
func (o object) failing() object {
	all, _ := o["deliveries"].([]any)
	for _, d := range all {
		if m, ok := d.(map[string]any); ok && object(m).at("lastError") != "" {
			return m
		}
	}
	return object{}
}

// stamp is a time, to the second.
func (o object) stamp(path string) string {
	t, err := time.Parse(time.RFC3339, o.at(path))
	if err != nil {
		return ""
	}
	return stamp(t)
}

// counts says how many instances are in which state.
func counts(o object) string {
	all, _ := o["count"].(map[string]any)
	var words []string
	for _, state := range slices.Sorted(maps.Keys(all)) {
		words = append(words, word(all[state])+" "+state)
	}
	return strings.Join(words, ", ")
}

func describeAlarm(c *cobra.Command, server *client, name string) error {
	data, err := server.alarm(c, name)
	if err != nil {
		return err
	}
	var a admin.Alarm
	if err := json.Unmarshal(data, &a); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	writeAlarm(c.OutOrStdout(), a)
	return nil
}

// mostShown is how many lines of a kind are for people.
const mostShown = 20

func writeAlarm(w io.Writer, a admin.Alarm) {
	line := func(title, text string) {
		if text != "" {
			fmt.Fprintf(w, "%-12s%s\n", title+":", plain(text))
		}
	}
	line("alarm", a.Name)
	line("title", a.Title)
	line("description", a.Description)
	line("metric", a.Namespace+" "+a.Metric)
	for _, l := range a.Levels {
		line("condition", strings.TrimSpace(fmt.Sprintf("%s %s %s %s, %d of %d periods of %s (without data: %s)", l.Name, l.Statistic, l.Operator, number(&l.Threshold), l.Datapoints, l.Periods, a.Period, l.Missing)))
	}
	state := a.State + " since " + stamp(a.Since)
	switch {
	case a.Disabled:
		state += "; it is off, and not evaluated"
	case a.Silent:
		state += "; nobody is told"
	}
	line("state", state)
	line("reason", a.Reason)
	line("last value", withTime(number(a.Value), a.ValueAt))
	for _, s := range slices.Sorted(maps.Keys(a.Actions)) {
		line("tells", s+": "+strings.Join(a.Actions[s], ", "))
	}
	line("messages", fmt.Sprintf("%d waiting, %d of them tried in vain, %d given up", a.Waiting, a.Failed, a.GivenUp))
	for _, d := range a.Deliveries {
		fmt.Fprintf(w, "  %s: %d waiting since %s", plain(d.Address), d.Waiting, stamp(d.Since))
		if d.Tries > 0 {
			fmt.Fprintf(w, ", tried %d times: %s; next try at %s", d.Tries, plain(d.LastError), stamp(d.NextTry))
		}
		fmt.Fprintln(w)
	}
	if len(a.Instances) > 0 {
		fmt.Fprintln(w, "\ninstances:")
	}
	for i, in := range a.Instances {
		if i == mostShown {
			fmt.Fprintf(w, "  and %d others: imds get alarms %s -o json\n", len(a.Instances)-i, plain(a.Name))
			break
		}
		text := fmt.Sprintf("  %s %s since %s: %s", in.Instance, in.State, stamp(in.Since), in.Reason)
		if v := withTime(number(in.Value), in.ValueAt); v != "" {
			text += "; last value " + v
		}
		fmt.Fprintln(w, plain(text))
	}
	if len(a.Events) > 0 {
		fmt.Fprintln(w, "\nhistory:")
	}
	for _, e := range a.Events[:min(len(a.Events), mostShown)] {
		fmt.Fprintln(w, plain(strings.Join(strings.Fields("  "+stamp(e.At)+" "+e.Instance+" "+e.Summary), " ")))
	}
}

func number(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'f', -1, 64)
}

func withTime(value string, at time.Time) string {
	if value == "" || at.IsZero() {
		return value
	}
	return value + " in the period of " + stamp(at)
}
