package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"openimds/internal/admin"
)

func newRevoke() *cobra.Command {
	c := &cobra.Command{
		Use:   "revoke",
		Short: "end the sessions of a role or of an instance",
		Long: `revoke ends sessions that began before: the APIs refuse their keys when the
command ends. Instances get new credentials at their next request; take the
role away to keep them from that.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("what is %q? revoke role DIALECT/ACCOUNT/NAME, or revoke instance ID", args[0])}
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		revocation("role DIALECT/ACCOUNT/NAME", "end all sessions of a role", func(name string) admin.Revocation { return admin.Revocation{Role: name} }),
		revocation("instance ID", "end the sessions of credentials that an instance got from its metadata service", func(id string) admin.Revocation { return admin.Revocation{Instance: id} }),
	)
	return c
}

// revocation is the command for one kind.
func revocation(use, short string, of func(name string) admin.Revocation) *cobra.Command {
	var client clientOptions
	c := &cobra.Command{
		Use: use, Short: short,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("%s takes one name (see %s --help)", c.CommandPath(), c.CommandPath())}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			server, err := client.open()
			if err != nil {
				return err
			}
			if _, err := server.do(c.Context(), http.MethodPost, "revocations", nil, of(args[0])); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "revoked %s\n", args[0])
			return nil
		},
	}
	client.flags(c)
	return c
}
