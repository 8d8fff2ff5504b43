package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"openimds/internal/trace"
	"openimds/internal/trace/confine"
	"openimds/internal/trace/engine"
	"openimds/internal/trace/finding"
)

// memoryLimit is where the collector works harder, in bytes: below the limit of
// the systemd unit, and far above what is used.
const memoryLimit = 96 << 20

// runOptions are the flags of tracing.
type runOptions struct {
	watchOptions
	outputOptions
	duration time.Duration
	once     bool
	confine  bool
	each     int
	rate     int
}

func addCommands(root *cobra.Command) {
	var o runOptions
	root.RunE = func(c *cobra.Command, _ []string) error {
		return o.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
	}
	o.flags(root.Flags())
	root.AddCommand(newCheck(), newLive(), newReport(), newInstall(), newUninstall(), newReference())
}

func (o *runOptions) flags(f *pflag.FlagSet) {
	o.watchOptions.flags(f)
	o.outputOptions.flags(f)
	f.DurationVar(&o.duration, "for", 0, "stop after this time; 0: trace until stopped")
	f.BoolVar(&o.once, "once", false, "stop at the first request without a token, with exit status 4")
	f.IntVar(&o.each, "each", 5, "requests alike, of one process, that are told one by one in a minute; the others are told as a sum")
	f.IntVar(&o.rate, "rate", 200, "requests that are told one by one in a second, of all processes; the others are told as sums")
	f.BoolVar(&o.confine, "confine", true, "give up all rights that are not needed once the engine runs")
}

// options checks all flags, and returns those of the engine.
func (o *runOptions) options(log *slog.Logger) (engine.Options, error) {
	if err := within("for", o.duration); err != nil {
		return engine.Options{}, err
	}
	if o.each < 1 || o.rate < 1 {
		return engine.Options{}, usage("--each and --rate: want at least 1")
	}
	if err := o.check(); err != nil {
		return engine.Options{}, err
	}
	return o.engineOptions(log)
}

func (o *runOptions) run(ctx context.Context, stdout, stderr io.Writer) (err error) {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	opts, err := o.options(log)
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(memoryLimit)
	e, err := o.watchOptions.open(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	out, err := o.outputOptions.open(stdout, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.close()) }()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if o.duration > 0 {
		timer := time.AfterFunc(o.duration, func() { cancel(nil) })
		defer timer.Stop()
	}
	cfg := o.config(e, log)
	cfg.Sinks, cfg.Each, cfg.Rate = out.sinks, o.each, o.rate
	if o.once {
		cfg.Watch = func(f *finding.Finding) {
			if f.Mode == finding.TokenFree && f.Level == finding.Warning {
				cancel(coded{errTokenFree, exitTokenFree})
			}
		}
	}
	t, err := trace.New(cfg)
	if err != nil {
		return usage("%w", err)
	}
	stopMetrics, err := out.serveMetrics(o.metrics, t, e)
	if err != nil {
		return err
	}
	defer stopMetrics()
	if o.confine {
		if err := giveUp(e); err != nil {
			log.Warn("rights that are not needed could not be given up", "err", err)
		}
	}
	var wait sync.WaitGroup
	wait.Go(func() { out.tend(ctx) })
	err = t.Run(ctx)
	summary(stderr, t.Stats().Snapshot(e.Counts()))
	cancel(nil)
	wait.Wait()
	if cause := context.Cause(ctx); errors.Is(cause, errTokenFree) {
		return cause
	}
	return err
}

// giveUp gives up the rights that an engine does not need any more.
func giveUp(e engine.Engine) error {
	detach, maps := engine.Needs(e)
	return confine.Drop(confine.Need{Packets: e.Name() == "afpacket", Detach: detach, Maps: maps})
}

// tend sends reports, and opens files again on SIGHUP.
func (o *output) tend(ctx context.Context) {
	var wait sync.WaitGroup
	if o.report != nil {
		wait.Go(func() { o.report.Run(ctx) })
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-hup:
			for _, f := range o.files {
				if err := f.Reopen(); err != nil {
					o.log.Error("open the log again", "err", err)
				}
			}
		case <-ctx.Done():
			wait.Wait()
			return
		}
	}
}

// summary says at the end what was seen, and what not.
func summary(w io.Writer, s trace.Snapshot) {
	byMode := map[finding.Mode]uint64{}
	for k, n := range s.Requests {
		byMode[k.Mode] += n
	}
	fmt.Fprintf(w, "seen: %d without a token (%d processes), %d with, %d requests of a token, %d attempts, %d unreadable\n",
		byMode[finding.TokenFree], s.Processes, byMode[finding.Tokened], byMode[finding.TokenRequest], byMode[finding.Attempt], byMode[finding.Unreadable])
	lost := s.Engine.LostConnects + s.Engine.LostRequests + s.Engine.LostAnswers
	if s.Unplaced > 0 {
		fmt.Fprintf(w, "left out by --netns: %d requests of processes whose network namespace is not known\n", s.Unplaced)
	}
	if lost+s.Unnamed+s.Evicted+s.SinkErrors > 0 {
		fmt.Fprintf(w, "not seen: %d records lost; %d requests without a name; %d connections forgotten; %d lines not written\n",
			lost, s.Unnamed, s.Evicted, s.SinkErrors)
	}
}
