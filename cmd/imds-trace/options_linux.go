package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"openimds/internal/trace"
	"openimds/internal/trace/engine"
	"openimds/internal/trace/procs"
)

// watchOptions say what to observe and how.
type watchOptions struct {
	engine  string
	targets []string
	ports   []uint
	status  bool
	cmdline string
	allow   []string
	netns   []string
	here    []uint32 // netns by inode, from engineOptions
}

func (o *watchOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.engine, "engine", "", "engine to use, one of "+strings.Join(engine.Names, ", ")+"; by default the first that works")
	f.StringSliceVar(&o.targets, "target", nil, "another address that is a metadata service (repeatable); those of the clouds are watched always")
	f.UintSliceVar(&o.ports, "port", []uint{80}, "port of the services (repeatable)")
	f.BoolVar(&o.status, "status", false, "tell the status of answers too, for which all incoming packets pass a filter: about as much again as the outgoing ones cost")
	f.StringVar(&o.cmdline, "cmdline", string(procs.Full), "command lines that are told: full (of the process and its ancestors), self, off")
	f.StringSliceVar(&o.allow, "allow", nil, "pattern of the name, program, unit, cgroup or container id of processes that may do without tokens: no warning (repeatable)")
	f.StringSliceVar(&o.netns, "netns", nil, "tell of processes in this network namespace alone: self, a name of ip-netns, or a path (repeatable); by default of all of the machine")
}

// engineOptions checks the flags.
func (o *watchOptions) engineOptions(log *slog.Logger) (engine.Options, error) {
	e := engine.Options{Targets: trace.DefaultTargets(), Answers: o.status, Log: log}
	for _, t := range o.targets {
		a, err := netip.ParseAddr(t)
		if err != nil {
			return e, usage("--target %q is no IP address", t)
		}
		e.Targets = append(e.Targets, a)
	}
	if o.engine != "" && !slices.Contains(engine.Names, o.engine) {
		return e, usage("--engine %q: want one of %s", o.engine, strings.Join(engine.Names, ", "))
	}
	for _, p := range o.ports {
		if p == 0 || p > 65535 {
			return e, usage("--port %d is no port", p)
		}
		e.Ports = append(e.Ports, uint16(p))
	}
	switch procs.Cmdline(o.cmdline) {
	case procs.Full, procs.Self, procs.Off:
	default:
		return e, usage("--cmdline %q: want full, self or off", o.cmdline)
	}
	// An engine enters other namespaces on threads, the first of which is where
	// /proc looks for the process's own: so that is read before.
	here, err := namespaces(o.netns)
	if err != nil {
		return e, usage("--netns %w", err)
	}
	o.here = here
	for _, a := range o.allow {
		if _, err := path.Match(a, ""); err != nil {
			return e, usage("--allow %q: %w", a, err)
		}
	}
	if err := e.Check(); err != nil {
		return e, usage("%w", err)
	}
	return e, nil
}

// open starts an engine, and says why when none works.
func (o *watchOptions) open(opts engine.Options) (engine.Engine, error) {
	e, attempts, err := engine.Open(opts, o.engine)
	if err != nil {
		return nil, coded{fmt.Errorf("%w\n%s", err, advise(o.engine)), exitCannot}
	}
	attrs := []any{"engine", e.Name(), "targets", fmt.Sprint(opts.Targets), "ports", fmt.Sprint(opts.Ports), "status", opts.Answers}
	for _, a := range attempts {
		attrs = append(attrs, "not_"+a.Engine, a.Err)
	}
	opts.Log.Info("tracing", attrs...)
	return e, nil
}

// advise says what would work when nothing does.
func advise(forced string) string {
	if forced != "" {
		return "imds-trace check says which engines work here; without --engine the first of them is taken"
	}
	return "run imds-trace as root, in the host's cgroup and process namespaces; imds-trace check says what each engine needs"
}

// config is a tracer's, of an engine.
func (o *watchOptions) config(e engine.Engine, log *slog.Logger) trace.Config {
	cfg := trace.Config{
		Engine: e, Answers: o.status, Cmdline: procs.Cmdline(o.cmdline), Allow: o.allow,
		Clocks: procs.ReadClocks, Log: log,
	}
	if len(o.here) > 0 {
		cfg.Here = func(netns uint32) bool { return slices.Contains(o.here, netns) }
	}
	return cfg
}

// namespaces finds network namespaces, by inode.
func namespaces(names []string) ([]uint32, error) {
	var all []uint32
	for _, name := range names {
		path := name
		switch {
		case name == "self":
			path = "/proc/self/ns/net"
		case !strings.Contains(name, "/"):
			path = "/run/netns/" + name
		}
		var fs unix.Statfs_t
		var file unix.Stat_t
		if err := errors.Join(unix.Statfs(path, &fs), unix.Stat(path, &file)); err != nil {
			return nil, fmt.Errorf("%q: %w: want self, a name of ip-netns, or a path such as /proc/PID/ns/net", name, err)
		}
		if fs.Type != unix.NSFS_MAGIC {
			return nil, fmt.Errorf("%q is no namespace: want self, a name of ip-netns, or a path such as /proc/PID/ns/net", name)
		}
		all = append(all, uint32(file.Ino)) // the kernel has no larger ones
	}
	return all, nil
}

// within bounds a duration flag.
func within(name string, d time.Duration) error {
	if d < 0 {
		return usage("--%s %v is negative", name, d)
	}
	return nil
}
