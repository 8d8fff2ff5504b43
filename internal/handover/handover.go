// Package handover replaces a running process by a new one that takes over its
// listening sockets, so that no connection is refused meanwhile: the sockets
// are never closed, and what waits in them is accepted by whichever process
// comes first.
//
// The two talk over a channel, in five steps. The old process starts the new
// one and tells it what it inherits; the new one gets everything ready that the
// old one does not need, and says so; the old one lets go of what only one can
// have, such as files that are written, and says so; the new one serves, and
// says so; the old one ends its work. Until the last step the old process can
// go on as if nothing had been.
package handover
