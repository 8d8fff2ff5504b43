package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"openimds/internal/trace"
	"openimds/internal/trace/engine"
	"openimds/internal/trace/finding"
	"openimds/internal/trace/tally"
)

type liveOptions struct {
	watchOptions
	duration, every time.Duration
}

func newLive() *cobra.Command {
	var o liveOptions
	c := &cobra.Command{
		Use:   "live",
		Short: "show a table of who asks, which updates itself",
		Long: `live traces and shows a table: a line for each program with its container or
unit, the requests with and without a token, and the last path. On a terminal
the table is drawn again every second; elsewhere it is written once, at the end.
Nothing is written to files.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	o.flags(c.Flags())
	c.Flags().DurationVar(&o.duration, "for", 0, "stop after this time; 0: until stopped")
	c.Flags().DurationVar(&o.every, "every", time.Second, "how often the table is drawn")
	return c
}

func (o *liveOptions) run(ctx context.Context, stdout, stderr io.Writer) error {
	if err := within("for", o.duration); err != nil {
		return err
	}
	if o.every <= 0 {
		return usage("--every %v: want more than 0", o.every)
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	opts, err := o.engineOptions(log)
	if err != nil {
		return err
	}
	e, err := o.open(opts)
	if err != nil {
		return err
	}
	defer e.Close()
	if o.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	var mu sync.Mutex // guards table
	var table tally.Table
	cfg := o.config(e, log)
	cfg.Watch = func(f *finding.Finding) {
		mu.Lock()
		defer mu.Unlock()
		table.Add(f)
	}
	t, err := trace.New(cfg)
	if err != nil {
		return usage("%w", err)
	}
	if err := giveUp(e); err != nil {
		log.Warn("rights that are not needed could not be given up", "err", err)
	}
	draw := func() []byte {
		mu.Lock()
		defer mu.Unlock()
		return screen(e, t, table.Rows())
	}
	var wait sync.WaitGroup
	if height, ok := terminal(stdout); ok {
		wait.Go(func() {
			ticker := time.NewTicker(o.every)
			defer ticker.Stop()
			for {
				// To the corner, and whatever is below goes.
				_, _ = stdout.Write(append([]byte("\x1b[H\x1b[2J"), cutLines(draw(), height-1)...))
				select {
				case <-ticker.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	err = t.Run(ctx)
	wait.Wait()
	if _, ok := terminal(stdout); !ok {
		_, _ = stdout.Write(draw())
	}
	return err
}

// screen is the table with a line above it.
func screen(e engine.Engine, t *trace.Tracer, rows []*tally.Row) []byte {
	s := t.Stats().Snapshot(e.Counts())
	var b bytes.Buffer
	fmt.Fprintf(&b, "imds-trace, engine %s: %d processes without a token, %d records lost, %d requests without a name\n\n",
		e.Name(), s.Processes, s.Engine.LostConnects+s.Engine.LostRequests, s.Unnamed)
	if len(rows) == 0 {
		b.WriteString("no request yet\n")
		return b.Bytes()
	}
	_ = writeTable(&b, rows) // a buffer takes everything
	return b.Bytes()
}

// terminal returns how many lines a terminal has, if w is one.
func terminal(w io.Writer) (lines int, ok bool) {
	f, ok := w.(*os.File)
	if !ok {
		return 0, false
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, false
	}
	return max(int(size.Row), 8), true
}

// cutLines returns the first lines of b.
func cutLines(b []byte, n int) []byte {
	for i, c := range b {
		if c == '\n' {
			if n--; n == 0 {
				return b[:i+1]
			}
		}
	}
	return b
}
