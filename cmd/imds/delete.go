package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"
)

func newDelete() *cobra.Command {
	var client clientOptions
	c := &cobra.Command{
		Use:   "delete KIND NAME…",
		Short: "forget resources",
		Long: `delete forgets resources. An instance is no longer answered; one that stands in
an instances file comes back when its entry there changes. It stops at the first
that cannot be deleted.`,
		Example:           "  imds delete instances i-0a1b2c3d4e5f60001\n  imds delete policies ec2/old ec2/older",
		Args:              withKind(1),
		ValidArgsFunction: completeResources(&client),
		RunE: func(c *cobra.Command, args []string) error {
			kind, err := kindArg(args[0])
			if err != nil {
				return err
			}
			server, err := client.open()
			if err != nil {
				return err
			}
			for _, name := range args[1:] {
				if _, err := server.do(c.Context(), http.MethodDelete, resourcePath(kind, name), nil, nil); err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "%s/%s deleted\n", kind, plain(name))
			}
			return nil
		},
	}
	client.flags(c)
	return c
}
