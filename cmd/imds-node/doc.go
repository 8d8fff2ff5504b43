// Command imds-node is the data plane alone, for every host of a fleet: it
// follows an `imds serve`, answers the instances of its host, and goes on
// with the last good state when the control plane is away.
package main
