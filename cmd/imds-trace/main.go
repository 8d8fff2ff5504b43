// Command imds-trace names every process on this machine that reaches a
// metadata service, and says whether it comes with a session token.
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
	exitFailed    = 1 // it was tried and did not work
	exitUsage     = 2 // flags are wrong; nothing was started
	exitCannot    = 3 // this machine does not permit it; the message says why
	exitTokenFree = 4 // with --once: a request without a token was seen
)

// coded is an error with an exit code.
type coded struct {
	error
	code int
}

// Unwrap returns what is wrong.
func (e coded) Unwrap() error { return e.error }

func usage(format string, args ...any) error {
	return coded{fmt.Errorf(format, args...), exitUsage}
}

// errTokenFree ends --once.
var errTokenFree = errors.New("a request without a token was seen")

// run runs the program until it is done or ctx is, and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "imds-trace: %v\n", err)
	if c, ok := errors.AsType[coded](err); ok {
		return c.code
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "imds-trace",
		Short: "which process uses the metadata service without a token",
		Long: `imds-trace watches what leaves this machine for a metadata service and names
the process of every request: those that come without a session token (normal
mode, IMDSv1) with level WARNING, the others with INFO. It only observes.

Without a command it traces until it is stopped: log lines go to the standard
output and to /var/log/imds. See also the commands check, live and report.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage("%w (see %s --help)", err, c.CommandPath())
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	addCommands(root)
	return root
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("%s takes no argument %q (see %s --help)", c.CommandPath(), args[0], c.CommandPath())
	}
	return nil
}
