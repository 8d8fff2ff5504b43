package telemetry

import (
	"io"
	"log/slog"
)

// NewLogger returns the process's logger: one line of text a record.
func NewLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}
