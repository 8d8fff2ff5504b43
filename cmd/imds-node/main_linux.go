package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"openimds/internal/config"
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
	exitUsage  = 2 // flags or settings are wrong; nothing was started
)

// usageError is a mistake in flags or settings.
type usageError struct{ error }

// Unwrap returns what is wrong.
func (e usageError) Unwrap() error { return e.error }

const synopsis = `imds-node serves instance metadata on one host of a fleet.

    imds-node -c FILE            serve
    imds-node -c FILE -check     say what is wrong with the settings, and stop

SIGTERM ends it, once running answers are done. SIGHUP starts the program anew,
from its file, with the listening sockets of this process, which ends when the
new one serves: settings, certificates and program are replaced, and no
connection is refused. docs/operate/fleet.md tells how a fleet is set up, and
docs/reference/settings.md what the settings are.

`

// run runs the program until it is done or ctx is, and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := start(ctx, args, stdout, stderr)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	fmt.Fprintf(stderr, "imds-node: %v\n", err)
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

func start(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("imds-node", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.String("c", "", "")
	check := flags.Bool("check", false, "")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, synopsis)
		return err
	case err != nil:
		return usageError{fmt.Errorf("%w (see imds-node -help)", err)}
	case flags.NArg() > 0:
		return usageError{fmt.Errorf("found the argument %q, and there are none (see imds-node -help)", flags.Arg(0))}
	case *file == "":
		return usageError{errors.New("settings are needed: -c FILE (packaging/imds-node.yaml is one to start from)")}
	}
	settings, err := config.LoadNode(*file)
	if err != nil {
		return usageError{err}
	}
	h := &host{
		settings: settings, credentials: os.Getenv("CREDENTIALS_DIRECTORY"), args: args,
		notify: os.Getenv("NOTIFY_SOCKET"), runtime: os.Getenv("RUNTIME_DIRECTORY"), inherited: os.Getenv(inheritVariable), stdout: stdout, stderr: stderr,
	}
	if *check {
		return h.check()
	}
	return h.run(ctx)
}
