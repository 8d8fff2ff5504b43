package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"openimds/internal/config"
	"openimds/internal/instance"
	"openimds/internal/node"
	"openimds/internal/telemetry"
)

// devOptions are the flags of `imds dev`.
type devOptions struct {
	ecs, ec2, control string
	instances, config string
	state             string
	check             bool
}

func newDev() *cobra.Command {
	var o devOptions
	c := &cobra.Command{
		Use:   "dev",
		Short: "serve sample or given instances on loopback",
		Long: `dev serves instance metadata on loopback, with nothing to configure. The
address that a client calls from decides which instance it is: without
--instances, 127.0.0.1 is an instance that accepts requests with and without a
session token, 127.0.0.2 one that requires tokens, 127.0.0.3 one whose endpoint
is disabled, and 127.0.0.4 a Windows (ECS) or an IPv6-only (EC2) instance.
Try: curl --interface 127.0.0.2 http://127.0.0.1:8169/latest/meta-data/`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return dev(c.Context(), o, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&o.ecs, "ecs", "127.0.0.1:8100", "address of the ECS dialect")
	f.StringVar(&o.ec2, "ec2", "127.0.0.1:8169", "address of the EC2 dialect")
	f.StringVar(&o.control, "control", "127.0.0.1:8180", "address of the cloud APIs, health, metrics and usage")
	f.StringVar(&o.instances, "instances", "", "instances to serve instead of the samples (YAML; followed while it runs)")
	f.StringVar(&o.config, "config", "", "settings of the service (YAML): throttle, limits, hosts, security")
	f.StringVar(&o.state, "state", "", "directory that keeps the token keys, so that tokens survive a restart, and the audit log of the APIs")
	f.BoolVar(&o.check, "config-check", false, "check flags and files, say what is wrong, and stop")
	return c
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no argument %q (see %s --help)", c.CommandPath(), args[0], c.CommandPath())}
	}
	return nil
}

// dev runs `imds dev` until ctx is done.
func dev(ctx context.Context, o devOptions, stdout, stderr io.Writer) error {
	log := telemetry.NewLogger(stderr, slog.LevelInfo)
	w := &config.Watcher{Path: o.instances}
	settings, instances, err := load(o, w)
	if err != nil {
		return usageError{err}
	}
	if o.check {
		fmt.Fprintf(stdout, "ok: %d instances\n", len(instances))
		return nil
	}
	keys, err := openKeys(o.state, time.Now())
	if err != nil {
		return err
	}
	n := node.New(settings.node(keys.ring, log))
	p, err := openPlane(ctx, n, o.state, log)
	if err != nil {
		return err
	}
	if err := p.give(ctx, instances); err != nil {
		return usageError{err}
	}
	s := &service{node: n, plane: p, log: log}
	if err := s.open(ctx, o); err != nil {
		return errors.Join(err, s.close())
	}
	s.greet(stdout, o.instances == "")
	if o.instances != "" {
		s.follow(w)
	}
	s.tend(keys)
	return s.run(ctx)
}

// load reads the settings, and the instances that w is to follow.
func load(o devOptions, w *config.Watcher) (settings, []*instance.Instance, error) {
	var s settings
	var err error
	if o.config != "" {
		s.Service, err = config.LoadService(o.config)
	}
	instances, ierr := config.Samples(), error(nil)
	if o.instances != "" {
		instances, ierr = w.Load()
	}
	if err = errors.Join(err, ierr); err != nil {
		return s, nil, err
	}
	return s, instances, nil
}

// keysFile is where --state keeps the token keys.
func keysFile(dir string) string { return filepath.Join(dir, "token-keys.json") }
