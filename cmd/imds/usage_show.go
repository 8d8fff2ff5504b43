package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"openimds/internal/admin"
	"openimds/internal/usage"
)

func newUsage() *cobra.Command {
	var client clientOptions
	var form, span, step string
	var callers bool
	c := &cobra.Command{
		Use:   "usage [INSTANCE…]",
		Short: "show who still comes without a session token",
		Long: `usage shows how many requests each instance made with and without a session
token since the server began to serve it. With --series it shows what one
instance did in the course of time, which is kept for 15 days by the minute, for
63 days by five minutes and for 455 days by the hour; with --callers, which
programs asked it for what. Whether an instance can be switched to
--http-tokens required, imds readiness says.`,
		Example:           "  imds usage\n  imds usage i-0a1b2c3d4e5f60001 --series 24h --step 1h\n  imds usage i-0a1b2c3d4e5f60001 --callers",
		ValidArgsFunction: completeInstances(&client),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkForm(form); err != nil {
				return err
			}
			if (span != "" || callers) && len(args) != 1 {
				return usageError{errors.New("--series and --callers are about one instance: name it")}
			}
			server, err := client.open()
			if err != nil {
				return err
			}
			switch {
			case span != "":
				return showSeries(c, server, form, args[0], span, step)
			case callers:
				return showCallers(c, server, form, args[0])
			}
			out := struct {
				Usage []usage.Report `json:"usage"`
			}{Usage: []usage.Report{}}
			if len(args) == 0 {
				if err := server.into(c.Context(), &out, http.MethodGet, "usage", nil, nil); err != nil {
					return err
				}
			}
			for _, id := range args {
				var r usage.Report
				if err := server.into(c.Context(), &r, http.MethodGet, "usage", url.Values{"instance": {id}}, nil); err != nil {
					return err
				}
				out.Usage = append(out.Usage, r)
			}
			if form != formTable {
				data, err := json.Marshal(out)
				if err != nil {
					return err
				}
				return write(c.OutOrStdout(), form, data)
			}
			return usageTable(c, out.Usage)
		},
	}
	client.flags(c)
	f := c.Flags()
	f.StringVar(&span, "series", "", "what the instance did in the time that is over, such as 24h or 14d")
	f.StringVar(&step, "step", "", "with --series: how long a step is, such as 5m (default: as short as it is kept)")
	f.BoolVar(&callers, "callers", false, "who asked of the instance")
	outputFlag(c, &form)
	return c
}

func usageTable(c *cobra.Command, reports []usage.Report) error {
	var rows [][]string
	n := func(counts ...uint64) string {
		var sum uint64
		for _, count := range counts {
			sum += count
		}
		return strconv.FormatUint(sum, 10)
	}
	for _, r := range reports {
		rows = append(rows, []string{
			r.Instance, r.Dialect, n(r.TokenFreeServed, r.TokenFreeAbsent), n(r.TokenFreeRejected), n(r.TokenedServed, r.TokenedAbsent), n(r.TokensMinted),
			n(r.BadToken), n(r.Throttled, r.Refused), stamp(r.LastTokenFree),
		})
	}
	return table(c.OutOrStdout(), []string{"INSTANCE", "DIALECT", "TOKEN-FREE", "REJECTED", "WITH-TOKEN", "MINTED", "BAD-TOKEN", "REFUSED", "LAST-TOKEN-FREE"}, rows)
}

func showSeries(c *cobra.Command, server *client, form, id, span, step string) error {
	query := url.Values{"instance": {id}, "from": {span}}
	if step != "" {
		query.Set("step", step)
	}
	data, err := server.do(c.Context(), http.MethodGet, "usage/series", query, nil)
	if err != nil {
		return err
	}
	if form != formTable {
		return write(c.OutOrStdout(), form, data)
	}
	var out admin.UsageSeries
	if err := json.Unmarshal(data, &out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	for _, g := range out.Gaps {
		fmt.Fprintf(c.ErrOrStderr(), "from %s to %s something may be missing: what counts was not stopped in order, or has not reported\n", stamp(g.From), stamp(g.To))
	}
	if len(out.Points) == 0 {
		fmt.Fprintln(c.ErrOrStderr(), "nothing was counted in this time")
		return nil
	}
	n := func(count uint64) string { return strconv.FormatUint(count, 10) }
	var rows [][]string
	for _, p := range out.Points {
		rows = append(rows, []string{stamp(p.Start), n(p.TokenFree), n(p.Rejected), n(p.Tokened), n(p.Minted), n(p.BadToken), n(p.Throttled), n(p.Suspects)})
	}
	return table(c.OutOrStdout(), []string{"START", "TOKEN-FREE", "REJECTED", "WITH-TOKEN", "MINTED", "BAD-TOKEN", "THROTTLED", "SUSPECTS"}, rows)
}

func showCallers(c *cobra.Command, server *client, form, id string) error {
	data, err := server.do(c.Context(), http.MethodGet, "usage/callers", url.Values{"instance": {id}}, nil)
	if err != nil {
		return err
	}
	if form != formTable {
		return write(c.OutOrStdout(), form, data)
	}
	var out admin.UsageCallers
	if err := json.Unmarshal(data, &out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if len(out.Callers) == 0 {
		fmt.Fprintln(c.ErrOrStderr(), "nobody has asked")
		return nil
	}
	var rows [][]string
	for _, k := range out.Callers {
		rows = append(rows, []string{asked(k.Access), strconv.FormatUint(k.Count, 10), stamp(k.Last), k.Source.String(), k.Item, k.Agent})
	}
	return table(c.OutOrStdout(), []string{"HOW", "COUNT", "LAST", "FROM", "ITEM", "USER-AGENT"}, rows)
}

// asked says how somebody asked.
func asked(access string) string {
	switch access {
	case usage.AskedTokenFree:
		return "token-free"
	case usage.AskedTokened:
		return "with-token"
	}
	return access
}
