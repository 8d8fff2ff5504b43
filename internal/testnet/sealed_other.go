//go:build !linux

package testnet

// Sealed needs Linux.
func Sealed() error { return errLinux }
