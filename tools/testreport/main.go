// Command testreport runs `go test -json` and prints what a person wants to
// read: go test's own closing line of every package, the output of the tests
// that failed, and every test that was skipped with the reason. In CI, where
// the environment variable CI is set, a skipped test is a failure: what a test
// needs, the project installs.
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

// run returns go test's exit status, or 1 if it is 0 and strict is set and a
// test was skipped.
func run(args []string, strict bool, stdout, stderr io.Writer) int {
	var in []string
	if len(args) >= 2 && args[0] == "-C" {
		in, args = args[:2], args[2:]
	}
	cmd := exec.Command("go", slices.Concat(in, []string{"test", "-json"}, args)...)
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(stderr, "testreport: run go test:", err)
		return 2
	}
	r := report{w: stdout}
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
	if strict && len(r.skips) > 0 {
		fmt.Fprintln(stderr, "testreport: in CI a skipped test is a failure")
		status = max(status, 1)
	}
	return status
}
