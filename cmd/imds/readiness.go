package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"openimds/internal/admin"
)

// errNotReady ends imds readiness where not every instance is ready. What is
// wrong has been said.
var errNotReady = errors.New("not every instance is ready")

func newReadiness() *cobra.Command {
	var client clientOptions
	var form, window, gaps, verdict string
	var target targetFlags
	var anyBoot bool
	c := &cobra.Command{
		Use:   "readiness [INSTANCE…]",
		Short: "say whether instances can do without normal mode (IMDSv1)",
		Long: `readiness judges, from what was counted, whether instances can be switched to
--http-tokens required without breaking anything: ready, not ready (something
would break, which is named), or unknown (too little has been seen). An instance
that never called is unknown, and so is one that is observed for less than the
window, or whose last start was not observed, as what runs only at a start may
need normal mode. docs/operate/readiness.md explains every reason.

The exit code is 0 when every instance is ready, 1 when one is not ready or
unknown, or nothing could be judged, and 2 when the command is wrong.`,
		Example:           "  imds readiness --all\n  imds readiness i-0a1b2c3d4e5f60001 --window 7d -o json\n  imds readiness --tag env=test && imds harden --tag env=test --watch 30m",
		ValidArgsFunction: completeInstances(&client),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkForm(form); err != nil {
				return err
			}
			target.instances = args
			if !target.all {
				if _, err := target.target(); err != nil {
					return err
				}
			} else if len(args)+len(target.tags) > 0 {
				return usageError{errors.New("--all and names or tags contradict each other: leave one out")}
			}
			server, err := client.open()
			if err != nil {
				return err
			}
			query := url.Values{"instance": args, "tag": target.tags}
			for name, value := range map[string]string{"dialect": target.dialect, "window": window, "allow-gaps": gaps, "verdict": verdict} {
				if value != "" {
					query.Set(name, value)
				}
			}
			if anyBoot {
				query.Set("any-boot", "true")
			}
			data, err := server.do(c.Context(), http.MethodGet, "readiness", query, nil)
			if err != nil {
				return err
			}
			return showReadiness(c, form, data)
		},
	}
	client.flags(c)
	f := c.Flags()
	f.StringArrayVarP(&target.tags, "tag", "l", nil, "instances with this tag: KEY=VALUE, or KEY for any value; may be repeated")
	f.StringVar(&target.dialect, "dialect", "", "instances of this dialect: ecs or ec2")
	f.BoolVar(&target.all, "all", false, "all instances")
	f.StringVar(&window, "window", "14d", "how far back evidence is to reach")
	f.StringVar(&gaps, "allow-gaps", "", "how much of the window may be missing, such as 5m (default: nothing)")
	f.BoolVar(&anyBoot, "any-boot", false, "judge without having seen the instance start")
	f.StringVar(&verdict, "verdict", "", "show those with this verdict: ready, \"not ready\" or unknown")
	outputFlag(c, &form)
	return c
}

func showReadiness(c *cobra.Command, form string, data []byte) error {
	var out admin.Readiness
	if err := json.Unmarshal(data, &out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if form != formTable {
		if err := write(c.OutOrStdout(), form, data); err != nil {
			return err
		}
	} else if err := readinessTable(c, out); err != nil {
		return err
	}
	switch {
	case out.Ready+out.NotReady+out.Unknown == 0:
		return errors.New("there are no such instances")
	case out.NotReady+out.Unknown > 0:
		return fmt.Errorf("%w: %d are not ready, %d unknown", errNotReady, out.NotReady, out.Unknown)
	}
	return nil
}

func readinessTable(c *cobra.Command, out admin.Readiness) error {
	var rows [][]string
	for _, in := range out.Instances {
		first := true
		for _, r := range in.Reasons {
			if in.Verdict != r.Verdict {
				continue // it decides nothing
			}
			row := []string{"", "", "", r.Text}
			if first {
				row = []string{in.Instance, strings.ToUpper(in.Verdict), in.Tokens, r.Text}
				first = false
			}
			rows = append(rows, row)
		}
	}
	if len(rows) > 0 {
		if err := readinessRows(c, rows); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "%d ready, %d not ready, %d unknown (window %s)\n", out.Ready, out.NotReady, out.Unknown, out.Window)
	return err
}

// readinessRows writes rows whose first cells are empty where they go on.
func readinessRows(c *cobra.Command, rows [][]string) error {
	wide := []int{len("INSTANCE"), len("VERDICT"), len("TOKENS")}
	all := append([][]string{{"INSTANCE", "VERDICT", "TOKENS", "WHY"}}, rows...)
	for _, row := range all {
		for i := range wide {
			wide[i] = max(wide[i], len(row[i]))
		}
	}
	for _, row := range all {
		if _, err := fmt.Fprintf(c.OutOrStdout(), "%-*s  %-*s  %-*s  %s\n", wide[0], plain(row[0]), wide[1], row[1], wide[2], row[2], plain(row[3])); err != nil {
			return err
		}
	}
	return nil
}
