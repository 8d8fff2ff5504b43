//go:build !linux

package main

import (
	"fmt"
	"os"
)

// It listens on interfaces and in network namespaces, which are Linux's.
func main() {
	fmt.Fprintln(os.Stderr, "imds-node: runs on Linux alone")
	os.Exit(1)
}
