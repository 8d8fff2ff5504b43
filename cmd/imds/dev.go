package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"openimds/internal/audit"
	"openimds/internal/config"
	"openimds/internal/instance"
	"openimds/internal/node"
	"openimds/internal/store/memstore"
	"openimds/internal/telemetry"
)

// devOptions are the flags of `imds dev`.
type devOptions struct {
	ecs, ec2, control string
	instances, config string
	state             string
	static            bool
	netns, cleanup    bool
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
	f.StringVar(&o.config, "config", "", "settings of the service (YAML): throttle, limits, hosts, security, identity, credentials, monitoring")
	f.StringVar(&o.state, "state", "", "directory that keeps the token keys, so that tokens survive a restart, the keys of identity documents, and the audit log of the APIs")
	f.BoolVar(&o.static, "sample-credentials", false, "serve the role credentials that stand in the samples, always the same, and good for nothing, instead of those of our own STS")
	f.BoolVar(&o.netns, "netns", false, "make each instance a network namespace, too, in which the clouds' own addresses answer (Linux, as root; see imds exec)")
	f.BoolVar(&o.cleanup, "cleanup", false, "with --netns: remove what a run left that ended without a word, and stop")
	f.BoolVar(&o.check, "config-check", false, "check flags and files, say what is wrong, and stop")
	return c
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 && c.HasSubCommands() {
		return unknownCommand(c, args[0])
	}
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no argument %q (see %s --help)", c.CommandPath(), args[0], c.CommandPath())}
	}
	return nil
}

// dev runs `imds dev` until ctx is done.
func dev(ctx context.Context, o devOptions, stdout, stderr io.Writer) (err error) {
	log := telemetry.NewLogger(stderr, slog.LevelInfo)
	w := &config.Watcher{Path: o.instances}
	settings, instances, err := load(o, w)
	if err != nil {
		return usageError{err}
	}
	if o.cleanup {
		return cleanLab(o.state, stdout)
	}
	if o.check {
		fmt.Fprintf(stdout, "ok: %d instances\n", len(instances))
		return nil
	}
	keys, err := openKeys(o.state, time.Now())
	if err != nil {
		return err
	}
	signer, err := settings.devIdentity(ctx, o.state, log)
	if err != nil {
		return err
	}
	serving := settings.node(keys.ring, log, true)
	serving.Signer = signer
	keeper := newKeeper(upstreamOf(settings.Credentials), log)
	serving.Credentials = keeper.of
	var made *lab
	if o.netns {
		if made, err = openLab(o.state, log); err != nil {
			return fmt.Errorf("imds dev --netns: %w", err)
		}
		defer func() { err = errors.Join(err, made.close()) }()
		serving.Attacher = made.keep
		if o.instances == "" {
			instances = append(instances, overlapping(instances)...)
		}
	}
	book, err := openUsage(o.state, log)
	if err != nil {
		return err
	}
	serving.Rejected = book.rejected
	n := node.New(serving)
	if err := book.count(n); err != nil {
		return errors.Join(err, book.close())
	}
	first := firstSample()
	c := planeConfig{
		node: n, lab: made, usage: book, store: memstore.New(memstore.Config{}), places: devPlaces(), seed: seed, keeper: keeper, rolePolicies: rolePolicies, log: log,
		regions: map[string]string{"ec2": first["ec2"].Region, "ecs": first["ecs"].Region}, anyImage: settings.Security.ECSAnyImage,
		monitor: monitorConfig{names: settings.Monitoring.CloudMonitor, loopback: true},
	}
	if o.state != "" {
		c.audit = audit.Config{Path: auditFile(o.state), Logger: log}
		if c.monitor.secret, err = alarmKey(o.state); err != nil {
			return err
		}
	}
	p, err := openPlane(ctx, c)
	if err != nil {
		return err
	}
	if err := p.control.Give(ctx, instances); err != nil {
		return errors.Join(usageError{err}, p.close())
	}
	s := &service{node: n, plane: p, log: log, identity: identityKeys{signer, p, log}}
	where := o.addresses()
	if made != nil {
		where.listeners = append(where.listeners, made.listeners()...)
	}
	if err := s.open(ctx, where); err != nil {
		return errors.Join(err, s.close())
	}
	s.answer()
	if made != nil {
		fmt.Fprint(stdout, made.greet())
	}
	s.greetDev(stdout, o.instances == "")
	if o.instances != "" {
		s.follow(w)
	}
	s.tend(keys)
	return s.run(ctx)
}

// addresses returns where to listen.
func (o devOptions) addresses() addresses {
	var a addresses
	flag := func(name string) setting { return setting{name, "with --" + name + " ADDRESS:PORT"} }
	a.listeners = []listener{
		{flag("ecs"), node.Listener{Dialect: "ecs", Address: o.ecs}},
		{flag("ec2"), node.Listener{Dialect: "ec2", Address: o.ec2}},
	}
	a.control.setting, a.control.address = flag("control"), o.control
	return a
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
	if o.instances == "" && !o.static {
		for _, in := range instances {
			if in.Role != nil {
				in.Role.Credentials = nil
			}
		}
	}
	if err = errors.Join(err, ierr); err != nil {
		return s, nil, err
	}
	return s, instances, nil
}
