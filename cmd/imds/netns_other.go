//go:build !linux

package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"

	"github.com/spf13/cobra"

	"openimds/internal/instance"
	"openimds/internal/netenv"
	"openimds/internal/node"
	"openimds/internal/state"
)

var errLab = errors.New("network namespaces need Linux")

// lab needs Linux.
type lab struct{ keep *netenv.Attacher }

func openLab(string, *slog.Logger) (*lab, error) { return nil, errLab }
func cleanLab(string, io.Writer) error           { return errLab }

func (l *lab) listeners() []listener { return nil }
func (l *lab) greet() string         { return "" }
func (l *lab) close() error          { return nil }

func (l *lab) admit(net.Addr, http.Handler) error { return errLab }
func (l *lab) shut(context.Context) error         { return nil }

func (l *lab) serve(*node.Node, *state.DB, state.Change) error { return errLab }

func overlapping([]*instance.Instance) []*instance.Instance { return nil }

func newExec() *cobra.Command {
	return &cobra.Command{
		Use: "exec INSTANCE -- COMMAND [ARGUMENT…]", Short: "run a command in an instance of imds dev --netns (Linux)",
		RunE: func(*cobra.Command, []string) error { return errLab },
	}
}
