// Command imds is the whole of openimds in one program: `imds dev` serves the
// instance metadata of sample or given instances on loopback; the other
// commands are for operators.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes.
const (
	exitFailed = 1 // it was tried and did not work
	exitUsage  = 2 // flags, configuration or instances are wrong; nothing was started
)

// usageError is a mistake in flags, configuration or instances.
type usageError struct{ error }

// Unwrap returns what is wrong.
func (e usageError) Unwrap() error { return e.error }

// run runs the program until it is done or ctx is, and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return runWith(ctx, args, os.Stdin, stdout, stderr)
}

// runWith is run with a standard input.
func runWith(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetIn(stdin)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "imds: %v\n", err)
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "imds",
		Short: "instance metadata service for every machine you run",
		Long: `imds gives machines the instance metadata service of the big clouds, in the
dialects of Alibaba Cloud ECS and AWS EC2, in normal mode (IMDSv1) and in
security hardening mode (session tokens, IMDSv2).`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(c, args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if name := c.Flags().Arg(0); c.HasSubCommands() && name != "" {
			return c.Args(c, []string{name}) // the flag may be one of the command that was meant
		}
		return usageError{fmt.Errorf("%w (see %s --help)", err, c.CommandPath())}
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newDev(), newExec(), newServe(), newStore(), newFleet(), newItems(), newIdentity(), newReference())
	root.AddCommand(newApply(), newGet(), newDescribe(), newDelete(), newSetOptions(), newEvent(), newRevoke(), newAudit(), newUsage(), newReadiness(), newHarden(), newCompletion())
	return root
}

// unknownCommand is the error of a word that is no command of c.
func unknownCommand(c *cobra.Command, name string) error {
	c.SuggestionsMinimumDistance = 2
	meant := ""
	if near := c.SuggestionsFor(name); len(near) > 0 {
		meant = "; did you mean " + near[0] + "?"
	}
	return usageError{fmt.Errorf("there is no command %q%s (see %s --help)", name, meant, c.CommandPath())}
}
