//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"openimds/internal/testnet"
)

// executable is the program under test, as seen from this directory; that of
// nodes stands beside it.
const (
	executable     = ".cache/imds"
	nodeExecutable = ".cache/imds-node"
	// traceExecutable is what readers of documents have; e2e/trace builds its own.
	traceExecutable = ".cache/reader/imds-trace"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(clientVariable); name != "" {
		os.Exit(runClient(name))
	}
	// Inside the namespace no module could be fetched, so it is built before.
	if !testnet.Isolated() {
		if err := build(); err != nil {
			fmt.Fprintln(os.Stderr, "build the program:", err)
			os.Exit(1)
		}
	}
	testnet.Isolate(m)
}

func build() error {
	for _, name := range []string{executable, nodeExecutable, traceExecutable} {
		out, err := filepath.Abs(name)
		if err != nil {
			return err
		}
		cmd := exec.Command("go", "build", "-o", out, "./cmd/"+filepath.Base(name))
		cmd.Dir = ".."
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Run(); err != nil {
			return err
		}
	}
	return nil
}
