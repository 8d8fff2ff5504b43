package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"openimds/internal/dialect"
	"openimds/internal/node"
)

func newItems() *cobra.Command {
	return &cobra.Command{
		Use:   "items [DIALECT]",
		Short: "list the metadata items of a dialect, or of all",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var names []string
			found := false
			for _, d := range node.Dialects() {
				names = append(names, d.Name)
				if len(args) > 0 && args[0] != d.Name {
					continue
				}
				found = true
				for _, r := range rows(d) {
					fmt.Fprintf(c.OutOrStdout(), "%s  %-60s  %-10s  %s\n", d.Name, r.path, r.since, r.doc)
				}
			}
			if !found {
				return usageError{fmt.Errorf("no dialect is called %q: use one of %s", args[0], strings.Join(names, ", "))}
			}
			return nil
		},
	}
}

// row is an item as the reference page shows it.
type row struct{ path, since, class, fact, doc string }

// rows returns the items of a dialect in the order of its tree.
func rows(d *dialect.Dialect) []row {
	var all []row
	for _, n := range d.Tree.Nodes() {
		if r := n.Row(); r != nil {
			all = append(all, row{r.Path, r.Since, r.Class.String(), r.Fact, r.Doc})
		}
	}
	return all
}
