package main

import (
	"context"
	"os"
	"time"

	"openimds/internal/handover"
	"openimds/internal/systemd"
)

// inheritVariable tells a process that it takes over from another.
const inheritVariable = "IMDS_NODE_INHERITS"

// patience is how long a new process may take for a step: it reads the last
// good state of thousands of instances.
const patience = time.Minute

// replace starts the program anew and hands over to it. It reports whether the
// new process serves now; if not, this one goes on.
func (h *host) replace(ctx context.Context) bool {
	h.log.Info("a new process is to take over", "program", h.program)
	next, err := h.sockets.Start(handover.Program{
		Path: h.program, Args: h.args, Env: os.Environ(), Variable: inheritVariable, Patience: patience,
	})
	if err != nil {
		h.log.Error("no new process takes over; this one goes on", "err", err)
		return false
	}
	// What is on disk is all that there is, from here on.
	h.stopFollowing()
	if err := next.Release(); err != nil {
		h.log.Error("the new process did not take over; this one goes on", "err", err)
		h.follow(ctx)
		return false
	}
	h.tell(systemd.MainPID(next.PID()), systemd.Ready)
	h.log.Info("the new process has taken over; this one ends its running answers", "pid", next.PID())
	return true
}
