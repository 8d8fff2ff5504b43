// Package trace runs the real tracer beside real clients, in network
// namespaces and cgroups that the tests make, and looks at what it says of
// them: that every request has its right process and mode, whatever the way in
// which it was sent. The tracer observes the whole machine, so the tests look
// at their own processes alone.
package trace
