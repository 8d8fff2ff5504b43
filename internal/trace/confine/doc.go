// Package confine gives up what the tracer no longer needs once its engine
// runs: capabilities, the way to get others, and system calls that only an
// attacker would make. It does so on Linux alone.
package confine
