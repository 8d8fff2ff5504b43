// Package systemd tells systemd how a service of Type=notify stands. Where
// systemd does not ask, everything here does nothing.
package systemd

import (
	"fmt"
	"net"
	"strings"
	"time"
)

// Notifier sends states to the socket that systemd names in $NOTIFY_SOCKET. The
// zero value sends nothing.
type Notifier struct {
	// Socket is a path, or an abstract name that begins with @.
	Socket string
}

// States of sd_notify(3).
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
)

// MainPID tells that another process is the service's main one from now on.
func MainPID(pid int) string { return fmt.Sprintf("MAINPID=%d", pid) }

// Status is a line for people, in `systemctl status`.
func Status(text string) string {
	return "STATUS=" + strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, text)
}

// Send tells states, all in one datagram: they hold together or not at all.
func (n Notifier) Send(states ...string) error {
	if n.Socket == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.Socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	if _, err := c.Write([]byte(strings.Join(states, "\n"))); err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	return nil
}
