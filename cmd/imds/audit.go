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
the clouds' APIs and of the operator's, and whether it was let through.`,
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
		rows = append(rows, []string{stamp(r.Time), string(r.Decision), r.Action, r.Principal, strings.Join(short(r.Resources), ","), why})
	}
	if err := table(c.OutOrStdout(), []string{"TIME", "DECISION", "ACTION", "PRINCIPAL", "RESOURCES", "REASON"}, rows); err != nil {
		return err
	}
	if out.More {
		fmt.Fprintln(c.ErrOrStderr(), "there are older ones: give --until or a larger --limit")
	}
	return nil
}

// mostResources is how many resources of a record a table shows.
const mostResources = 3

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
