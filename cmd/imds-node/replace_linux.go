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
	// Interfaces that come or go from here on are left to whichever process
	// serves in the end.
	h.node.Hold()
	next, err := h.sockets.Start(handover.Program{
		Path: h.program, Args: h.args, Env: os.Environ(), Variable: inheritVariable, Patience: patience, Sibling: h.notify != "",
	})
	if err != nil {
		h.log.Error("no new process takes over; this one goes on", "err", err)
		h.node.Resume()
		return false
	}
	// What is on disk, and on interfaces, is the other's from here on.
	h.stopFollowing()
	if h.attacher != nil {
		h.attacher.Leave()
	}
	if err := next.Release(); err != nil {
		h.log.Error("the new process did not take over; this one goes on", "err", err)
		if h.attacher != nil {
			if err := h.attacher.Return(); err != nil {
				h.log.Error("what is attached to interfaces stays there", "err", err)
			}
		}
		h.follow(ctx)
		h.node.Resume()
		return false
	}
	h.tell(systemd.MainPID(next.PID()), systemd.Ready)
	h.log.Info("the new process has taken over; this one ends its running answers", "pid", next.PID())
	return true
}
