package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"openimds/internal/admin"
	"openimds/internal/audit"
)

func newAudit() *cobra.Command {
	var client clientOptions
	var form string
	var limit int
	values := map[string]*string{}
	c := &cobra.Command{
		Use:   "audit",
		Short: "show who asked for what, and what came of it",
		Long: `audit shows the newest records of the audit log, the newest first: every call of
the clouds' APIs and of the operator's, whether it was let through, and what it
set out to change (the first two; -o json has all).`,
		Example: "  imds audit --since 1h --decision deny\n  imds audit --resource i-0a1b2c3d4e5f60001",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkForm(form); err != nil {
				return err
			}
			server, err := client.open()
			if err != nil {
				return err
			}
			query := url.Values{"limit": {strconv.Itoa(limit)}}
			for name, value := range values {
				if *value != "" {
					query.Set(name, *value)
				}
			}
			data, err := server.do(c.Context(), http.MethodGet, "audit", query, nil)
			if err != nil {
				return err
			}
			return showAudit(c, form, data)
		},
	}
	client.flags(c)
	f := c.Flags()
	for _, n := range [][2]string{
		{"since", "from this time on: 2026-01-15T08:00:00Z, or how long ago, such as 1h"}, {"until", "before this time, written in the same way"},
		{"principal", "of this caller, by its full name"}, {"action", "of this action, such as ec2:RunInstances"},
		{"decision", "with this decision: allow or deny"}, {"resource", "about this resource, such as an instance"},
	} {
		values[n[0]] = f.String(n[0], "", n[1])
	}
	f.IntVar(&limit, "limit", 100, "how many records at most, 1 to 1000")
	outputFlag(c, &form)
	return c
}

func showAudit(c *cobra.Command, form string, data []byte) error {
	if form != formTable {
		return write(c.OutOrStdout(), form, data)
	}
	var out admin.AuditRecords
	if err := json.Unmarshal(data, &out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if out.Damaged > 0 {
		fmt.Fprintf(c.ErrOrStderr(), "%d lines of the log could not be read (%s)\n", out.Damaged, plain(out.Damage))
	}
	if len(out.Records) == 0 {
		fmt.Fprintln(c.ErrOrStderr(), "there are no such records")
		return nil
	}
	var rows [][]string
	for _, r := range out.Records {
		why := strings.TrimSpace(strings.Join([]string{r.Reason, r.Policy, r.Sid, r.Error}, " "))
		rows = append(rows, []string{stamp(r.Time), string(r.Decision), r.Action, r.Principal, strings.Join(short(r.Resources), ","), shortChanges(r.Changes), why})
	}
	if err := table(c.OutOrStdout(), []string{"TIME", "DECISION", "ACTION", "PRINCIPAL", "RESOURCES", "CHANGES", "REASON"}, rows); err != nil {
		return err
	}
	if out.More {
		fmt.Fprintln(c.ErrOrStderr(), "there are older ones: give --until or a larger --limit")
	}
	return nil
}

// Of a record a table shows so many resources, and so much of so many changes;
// -o json shows all.
const (
	mostResources = 3
	mostChanges   = 2
	mostValue     = 24
)

// shortChanges says what the first changes are: field=from→to. Of a secret,
// and of what was not there before, from is empty.
func shortChanges(changes []audit.Change) string {
	clip := func(s string) string {
		if letters := []rune(s); len(letters) > mostValue {
			return string(letters[:mostValue-1]) + "…"
		}
		return s
	}
	var all []string
	for i, c := range changes {
		if i == mostChanges {
			all = append(all, "+"+strconv.Itoa(len(changes)-i))
			break
		}
		text := c.Field
		switch {
		case c.From != "":
			text += "=" + clip(c.From) + "→" + clip(c.To)
		case c.To != "":
			text += "=" + clip(c.To)
		}
		all = append(all, text)
	}
	return strings.Join(all, ",")
}

// short keeps the ends of the names of the first resources.
func short(resources []string) []string {
	var all []string
	for i, name := range resources {
		if i == mostResources {
			return append(all, "+"+strconv.Itoa(len(resources)-i))
		}
		all = append(all, name[strings.LastIndexByte(name, ':')+1:])
	}
	return all
}
