package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"openimds/internal/trace/engine"
)

func newCheck() *cobra.Command {
	var o watchOptions
	c := &cobra.Command{
		Use:   "check",
		Short: "say which engines work here, and why not the others",
		Long: `check loads and attaches each engine, takes it away again, and says which
work and what the others lack. Exit status 3: none works.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			opts, err := o.engineOptions(slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			return check(c.OutOrStdout(), opts)
		},
	}
	o.flags(c.Flags())
	_ = c.Flags().MarkHidden("engine") // all are tried
	return c
}

// what engines offer, for the table.
var offers = map[string]string{
	"cgrich":   "every request and process, also of those that end at once",
	"cgroup":   "every request and process; command lines only of those that live a little",
	"tpcgperf": "the same, for kernels from 5.4; tracefs is needed",
	"afpacket": "every request; processes only if they live long enough to be looked up",
}

func check(w io.Writer, opts engine.Options) error {
	attempts, err := engine.Try(opts)
	if err != nil {
		return err
	}
	chosen := ""
	for _, a := range attempts {
		if a.Err != nil {
			fmt.Fprintf(w, "%-9s no   %s\n", a.Engine, strings.ReplaceAll(a.Err.Error(), "\n", "; "))
			continue
		}
		if chosen == "" {
			chosen = a.Engine
		}
		fmt.Fprintf(w, "%-9s yes  %s\n", a.Engine, offers[a.Engine])
	}
	if chosen == "" {
		return coded{fmt.Errorf("no engine works here: %s", advise("")), exitCannot}
	}
	fmt.Fprintf(w, "imds-trace takes %s\n", chosen)
	return nil
}
