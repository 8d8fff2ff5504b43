package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"openimds/internal/admin"
)

func newEvent() *cobra.Command {
	c := &cobra.Command{
		Use:   "event",
		Short: "put events before instances, list them, clear them",
		Long: `event announces to instances what real clouds announce: that a spot instance is
taken back, that this may be soon, maintenance, system events. Their metadata
shows it when the command ends. Nothing happens to the instance itself.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("there is no event %q: spot, rebalance, maintenance, system, or list, clear", args[0])}
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	for _, e := range []announcement{
		{name: "spot", short: "a spot instance is taken back (ECS, EC2)", what: "action", words: "terminate, or on EC2 stop or hibernate (default terminate)", when: "in 2 minutes (EC2) or 5 (ECS) if neither is given"},
		{name: "rebalance", short: "a rebalance recommendation (EC2)", when: "now if neither is given"},
		{name: "maintenance", short: "scheduled maintenance (EC2)", what: "code", words: "system-reboot, instance-reboot, system-maintenance, instance-retirement or instance-stop (default system-reboot)", when: "one of them is needed", long: true},
		{name: "system", short: "a system event (ECS)", what: "type", words: "type of ECS, such as SystemMaintenance.Redeploy (default SystemMaintenance.Reboot)", when: "one of them is needed"},
	} {
		c.AddCommand(e.command())
	}
	c.AddCommand(newEventList(), newEventClear())
	return c
}

// announcement is a type of events that can be announced.
type announcement struct {
	name, short       string
	what, words, when string // the flag that says what happens, and the default of when
	long              bool   // it takes a while
}

func (a announcement) command() *cobra.Command {
	var client clientOptions
	var target targetFlags
	var at, until, form string
	var e admin.NewEvent
	c := &cobra.Command{
		Use:   a.name + " [INSTANCE…]",
		Short: a.short,
		Long: fmt.Sprintf(`%s: %s. --at or --in says when: %s.
The instances are those that are named, or running ones with a tag, a share of
them, or all.`, a.name, a.short, a.when),
		Example:           "  imds event " + a.name + " --tag env=test --share 10% --in 30m",
		ValidArgsFunction: completeInstances(&client),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkForm(form); err != nil {
				return err
			}
			target.instances = append(target.instances, args...)
			var err error
			if e.Target, err = target.target(); err != nil {
				return err
			}
			e.Type = a.name
			if e.At, err = moment("at", at); err != nil {
				return err
			}
			if e.Until, err = moment("until", until); err != nil {
				return err
			}
			server, err := client.open()
			if err != nil {
				return err
			}
			data, err := server.do(c.Context(), http.MethodPost, "events", nil, newEventBody(e))
			if err != nil {
				return err
			}
			return showEvents(c, form, data, "")
		},
	}
	client.flags(c)
	target.flags(c)
	f := c.Flags()
	f.StringArrayVar(&target.instances, "instance", nil, "this instance; may be repeated")
	f.StringVar(&at, "at", "", "when, such as 2026-01-15T08:00:00Z")
	f.DurationVar(&e.In, "in", 0, "how long from now, such as 90s or 2h")
	f.DurationVar(&e.ExpiresIn, "expires-in", 0, "how long from now until the event goes away by itself; 0: when it is cleared")
	if a.what != "" {
		f.StringVar(&e.What, a.what, "", "what happens: "+a.words)
	}
	if a.long {
		f.StringVar(&until, "until", "", "when it is over at the latest (default 2 hours after it begins)")
		f.StringVar(&e.Description, "description", "", "description in words")
	}
	outputFlag(c, &form)
	return c
}

// newEventBody is an event with its durations as the API writes them.
func newEventBody(e admin.NewEvent) map[string]any {
	body := map[string]any{"type": e.Type, "target": e.Target}
	set := func(key string, value any, given bool) {
		if given {
			body[key] = value
		}
	}
	set("what", e.What, e.What != "")
	set("description", e.Description, e.Description != "")
	set("at", e.At, !e.At.IsZero())
	set("until", e.Until, !e.Until.IsZero())
	set("in", e.In.String(), e.In != 0)
	set("expiresIn", e.ExpiresIn.String(), e.ExpiresIn != 0)
	return body
}

// moment reads a time of a flag.
func moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, usageError{fmt.Errorf("--%s: found %q, expected a time such as 2026-01-15T08:00:00Z", flag, text)}
	}
	return t, nil
}

// eventFlags say which events are meant.
type eventFlags struct {
	instances, tags  []string
	dialect, typ, id string
	all              bool
	as               string
}

func (e *eventFlags) query(args []string) url.Values {
	q := url.Values{}
	for name, values := range map[string][]string{
		"instance": append(e.instances, args...), "tag": e.tags, "dialect": {e.dialect}, "type": {e.typ}, "id": {e.id}, "as": {e.as},
	} {
		for _, value := range values {
			if value != "" {
				q.Add(name, value)
			}
		}
	}
	if e.all {
		q.Set("all", "true")
	}
	return q
}

func (e *eventFlags) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&e.instances, "instance", nil, "those of this instance; may be repeated")
	f.StringArrayVarP(&e.tags, "tag", "l", nil, "those of instances with this tag: KEY=VALUE, or KEY for any value")
	f.StringVar(&e.dialect, "dialect", "", "those of instances of this dialect: ecs or ec2")
	f.StringVar(&e.typ, "type", "", "those of this type: spot, rebalance, maintenance or system")
	f.StringVar(&e.id, "id", "", "the one with this identifier")
}

func newEventList() *cobra.Command {
	var client clientOptions
	var events eventFlags
	var form string
	c := &cobra.Command{
		Use:               "list [INSTANCE…]",
		Short:             "list the events of instances",
		ValidArgsFunction: completeInstances(&client),
		RunE: func(c *cobra.Command, args []string) error {
			return askEvents(c, client, http.MethodGet, events.query(args), form, "there are no such events")
		},
	}
	client.flags(c)
	events.flags(c)
	outputFlag(c, &form)
	return c
}

func newEventClear() *cobra.Command {
	var client clientOptions
	var events eventFlags
	var form string
	c := &cobra.Command{
		Use:   "clear [INSTANCE…]",
		Short: "take events away",
		Long: `clear takes events away from instances, and lists what it took away. Maintenance
leaves no trace, unless --as says how it ended: then it is in the history.`,
		Example:           "  imds event clear --type spot --tag env=test\n  imds event clear --all",
		ValidArgsFunction: completeInstances(&client),
		RunE: func(c *cobra.Command, args []string) error {
			return askEvents(c, client, http.MethodDelete, events.query(args), form, "there were no such events")
		},
	}
	client.flags(c)
	events.flags(c)
	c.Flags().BoolVar(&events.all, "all", false, "those of all instances")
	c.Flags().StringVar(&events.as, "as", "", "leave maintenance in the history, as completed or canceled")
	outputFlag(c, &form)
	return c
}

func askEvents(c *cobra.Command, o clientOptions, method string, query url.Values, form, none string) error {
	if err := checkForm(form); err != nil {
		return err
	}
	server, err := o.open()
	if err != nil {
		return err
	}
	data, err := server.do(c.Context(), method, "events", query, nil)
	if err != nil {
		return err
	}
	return showEvents(c, form, data, none)
}

func showEvents(c *cobra.Command, form string, data []byte, none string) error {
	if form != formTable {
		return write(c.OutOrStdout(), form, data)
	}
	var out admin.Events
	if err := json.Unmarshal(data, &out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if len(out.Events) == 0 {
		fmt.Fprintln(c.ErrOrStderr(), none)
		return nil
	}
	var rows [][]string
	for _, e := range out.Events {
		rows = append(rows, []string{e.Instance, e.Type, e.What, stamp(e.At), e.Status, e.ID, stamp(e.Expires)})
	}
	return table(c.OutOrStdout(), []string{"INSTANCE", "EVENT", "WHAT", "AT", "STATUS", "ID", "EXPIRES"}, rows)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
