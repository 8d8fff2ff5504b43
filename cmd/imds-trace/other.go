//go:build !linux

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// addCommands says that there is nothing to trace with: processes and their
// connections are watched by interfaces of Linux.
func addCommands(root *cobra.Command) {
	root.RunE = func(*cobra.Command, []string) error {
		return coded{errors.New("tracing needs Linux"), exitCannot}
	}
}
