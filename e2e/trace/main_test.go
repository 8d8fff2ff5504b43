//go:build linux

package trace

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"openimds/internal/testnet"
)

// Programs under test, as seen from this directory.
const (
	tracerProgram = "../.cache/imds-trace"
	imdsProgram   = "../.cache/imds-of-trace"
	senders       = "../.cache/senders"
)

// roleVariable makes the test binary something else than the tests.
const roleVariable = "OPENIMDS_TRACE_ROLE"

var roles = map[string]func(args []string) error{"server": serveHere, "client": clientHere, "aws": awsHere, "aliyun": aliyunHere}

func TestMain(m *testing.M) {
	if role := roles[os.Getenv(roleVariable)]; role != nil {
		if !testnet.Isolated() {
			fmt.Fprintln(os.Stderr, "a client with a built-in address runs in a namespace of its own, or not at all")
			os.Exit(1)
		}
		if err := role(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Inside the namespace no module could be fetched, so they are built before.
	if !testnet.Isolated() {
		if err := build(); err != nil {
			fmt.Fprintln(os.Stderr, "build the programs:", err)
			os.Exit(1)
		}
	}
	testnet.Isolate(m)
}

func build() error {
	for program, pkg := range map[string]string{tracerProgram: "./cmd/imds-trace", imdsProgram: "./cmd/imds"} {
		out, err := filepath.Abs(program)
		if err != nil {
			return err
		}
		cmd := exec.Command("go", "build", "-o", out, pkg)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		_ = os.Remove(out)
		if err := cmd.Run(); err != nil {
			// Tests that need it fail.
			fmt.Fprintf(os.Stderr, "build %s: %v\n", pkg, err)
		}
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		return nil // who needs it says so
	}
	cmd := exec.Command("gcc", "-O1", "-Wall", "-pthread", "-o", senders, "testdata/senders.c")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}
