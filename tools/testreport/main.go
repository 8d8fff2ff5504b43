// Command testreport runs `go test -json` and prints what a person wants to
// read: go test's own closing line of every package, the output of the tests
// that failed, and every test that was skipped with the reason. In CI, where
// the environment variable CI is set, a skipped test is a failure: what a test
// needs, the project installs.
//
// It also fails if a secret stands in what the tests printed, or in a log or the
// metrics of a program that they ran: one that a test noted, one that stands in
// the sources of the tests, or something that has the form of one.
//
// Usage: testreport [-C DIR] ARGUMENTS OF GO TEST
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
)

func main() {
	os.Exit(run(os.Args[1:], os.Getenv("CI") != "", os.Stdout, os.Stderr))
}

// run returns go test's exit status, or 1 if it is 0 and a secret was said, or
// strict is set and a test was skipped.
func run(args []string, strict bool, stdout, stderr io.Writer) int {
	var in []string
	if len(args) >= 2 && args[0] == "-C" {
		in, args = args[:2], args[2:]
	}
	cmd := exec.Command("go", slices.Concat(in, []string{"test", "-json"}, args)...)
	cmd.Stderr = stderr
	seen, err := newWitness()
	if err != nil {
		fmt.Fprintln(stderr, "testreport: make a folder for what tests note:", err)
		return 2
	}
	defer seen.close()
	cmd.Env = append(os.Environ(), witnessEnv+"="+seen.folder)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(stderr, "testreport: run go test:", err)
		return 2
	}
	r := report{w: stdout, all: seen.output}
	readErr := r.read(out)
	waitErr := cmd.Wait()
	r.close()
	status := 0
	var exit *exec.ExitError
	switch {
	case errors.As(waitErr, &exit):
		status = exit.ExitCode()
	case waitErr != nil, readErr != nil:
		fmt.Fprintln(stderr, "testreport:", errors.Join(readErr, waitErr))
		status = 2
	}
	dir := "."
	if len(in) > 0 {
		dir = in[1]
	}
	leaks, err := seen.leaks(dir)
	if err != nil {
		fmt.Fprintln(stderr, "testreport: look for secrets:", err)
		status = max(status, 2)
	}
	for _, leak := range leaks {
		fmt.Fprintln(stderr, "testreport: a secret was said:", leak)
		status = max(status, 1)
	}
	if strict && len(r.skips) > 0 {
		fmt.Fprintln(stderr, "testreport: in CI a skipped test is a failure")
		status = max(status, 1)
	}
	return status
}
