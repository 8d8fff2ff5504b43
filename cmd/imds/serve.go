package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"openimds/internal/config"
	"openimds/internal/control"
	"openimds/internal/instance"
	"openimds/internal/netenv"
	"openimds/internal/node"
	"openimds/internal/seal"
	"openimds/internal/telemetry"
)

func newServe() *cobra.Command {
	var file string
	var check bool
	c := &cobra.Command{
		Use:   "serve -c FILE",
		Short: "serve the clouds' control APIs, and instance metadata, from a durable store",
		Long: `serve is the control plane: the APIs of the clouds and of the operator, on a
store in one file, and a data plane that serves the instances in it. What it
acknowledges is on the disk; a second start finds everything again. It serves
instances before the APIs are up, and ends after a signal once running answers
are done. The settings are explained in docs/reference/settings.md, the set-up
of a host in docs/operate/serve.md.

SIGHUP starts the program anew, from its file: settings, keys and program are
replaced, and who comes meanwhile waits, but is not refused. If the new process
cannot serve, the old one goes on and says why.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if file == "" {
				return usageError{fmt.Errorf("%s needs its settings: -c FILE (packaging/imds.yaml is one to start from)", c.CommandPath())}
			}
			return serve(c.Context(), file, check, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "settings (YAML)")
	c.Flags().BoolVar(&check, "check", false, "check settings, key and instances file, say what is wrong, and stop")
	return c
}

// serve runs `imds serve` until ctx is done.
func serve(ctx context.Context, file string, check bool, stdout, stderr io.Writer) (err error) {
	log := telemetry.NewLogger(stderr, slog.LevelInfo)
	l, err := openLine(log)
	if err != nil {
		return err
	}
	defer l.close()
	defer func() {
		if err != nil {
			l.refuse(err)
		}
	}()
	s, err := config.LoadServe(file)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("read settings: %w (packaging/imds.yaml is a file to start from)", err)
	}
	if err != nil {
		return usageError{err}
	}
	secrets, err := readKeys(s.Key, s.OlderKeys, os.Getenv("CREDENTIALS_DIRECTORY"))
	if err != nil {
		return usageError{err}
	}
	w := &config.Watcher{Path: s.Instances}
	var instances []*instance.Instance
	if s.Instances != "" {
		if instances, err = w.Load(); err != nil {
			return usageError{err}
		}
	}
	if check {
		fmt.Fprintf(stdout, "ok: %d listeners, %d instances in the file\n", len(s.Listeners), len(instances))
		return nil
	}
	// From here on the old process has nothing open.
	if err := l.old.Ready(); err != nil {
		return err
	}
	r := serving{file, s, secrets, w, instances, log, stdout}
	for {
		l.again = false
		if err := r.serve(ctx, l); err != nil || !l.again {
			return err
		}
	}
}

// serving is what an `imds serve` has read before it began.
type serving struct {
	file      string
	settings  config.Serve
	secrets   *seal.Ring
	watcher   *config.Watcher
	instances []*instance.Instance // of the file
	log       *slog.Logger
	stdout    io.Writer
}

// serve runs a service until ctx is done, or another process has taken over, or
// did not: line says to begin anew then.
func (r serving) serve(ctx context.Context, l *line) error {
	s, secrets, w, log, stdout := r.settings, r.secrets, r.watcher, r.log, r.stdout
	k, err := openKept(s, log)
	if err != nil {
		return err
	}
	hooks, err := alarmKey(s.State)
	if err != nil {
		return errors.Join(err, k.store.Close())
	}
	signer, err := settings{s.Service()}.keptIdentity(ctx, k.store, secrets, log)
	if err != nil {
		return errors.Join(err, k.store.Close())
	}
	serving := settings{s.Service()}.node(k.keys.ring, log, false)
	serving.Signer = signer
	keeper := newKeeper(upstreamOf(s.Credentials), log)
	serving.Credentials = keeper.of
	serving.Open = l.open
	if serving.Attacher, err = openAttacher(s.Listeners, cmp.Or(os.Getenv("RUNTIME_DIRECTORY"), s.State), !l.inherits, log); err != nil {
		return errors.Join(err, k.store.Close())
	}
	book, err := openUsage(s.State, log)
	if err != nil {
		return errors.Join(err, k.store.Close())
	}
	if err := book.handOn(s.Usage.Remote); err != nil {
		return errors.Join(err, book.close(), k.store.Close())
	}
	serving.Rejected = book.rejected
	n := node.New(serving)
	if err := book.count(n); err != nil {
		return errors.Join(err, book.close(), k.store.Close())
	}
	p, err := openPlane(ctx, planeConfig{
		node: n, usage: book, monitor: monitorConfig{names: s.Monitoring.CloudMonitor, secret: hooks}, store: k.store, backup: k.store.Backup, secrets: secrets, keeper: keeper,
		places: placesOf(s.Places), regions: regionsOf(s.Places), anyImage: s.Security.ECSAnyImage, audit: k.audit, log: log,
	})
	if err != nil {
		return err
	}
	if err := checkSealed(p.db, secrets); err != nil {
		return errors.Join(usageError{err}, p.close())
	}
	if len(s.OlderKeys) > 0 {
		if err := p.sealAnew(ctx); err != nil {
			return errors.Join(err, p.close())
		}
	}
	service := &service{line: l, attacher: serving.Attacher, node: n, plane: p, log: log, token: k.token, trace: k.trace, notify: os.Getenv("NOTIFY_SOCKET"), identity: identityKeys{signer, p, log}}
	if s.Feed != nil {
		if service.fleet, err = openFleet(ctx, l, s.Feed, os.Getenv("CREDENTIALS_DIRECTORY"), p, k.keys, signer); err != nil {
			return errors.Join(err, p.close())
		}
	}
	if err := service.open(ctx, addressesOf(r.file, s)); err != nil {
		return errors.Join(err, service.close())
	}
	service.answer()
	if s.Instances != "" {
		service.follow(w).give(ctx, r.instances)
	}
	service.tend(k.keys)
	if l.inherits {
		service.tasks = append(service.tasks, func(ctx context.Context) { l.settle(ctx, serving.Attacher) })
	}
	service.where(stdout)
	fmt.Fprintf(stdout, "state    %s\nadmin    token in %s\nready\n", s.State, s.Admin.TokenFile)
	return service.run(ctx)
}

// addressesOf returns where to listen.
func addressesOf(file string, s config.Serve) addresses {
	var a addresses
	key := func(name string) setting { return setting{name, "in " + file} }
	for i, l := range s.Listeners {
		a.listeners = append(a.listeners, listener{
			key(fmt.Sprintf("listeners[%d]", i)),
			listenerOf(l),
		})
	}
	a.control.setting, a.control.address = key("control"), s.Control.Address
	return a
}

// listenerOf returns a listener as the data plane takes it.
func listenerOf(l config.Listener) node.Listener {
	return node.Listener{
		Dialect: l.Dialect, Address: l.Address, Network: l.Network, Interface: l.Interface, Namespace: l.Namespace,
		Attach: l.Attach, CheckMAC: l.CheckHardwareAddress, MinTTL: l.MinTTL, ProxyKeyFile: l.ProxyKeyFile,
	}
}

// openAttacher returns what puts addresses on interfaces, where a listener
// asks for that; its account is kept in a folder that need not outlive a
// reboot. What an earlier run left on interfaces is taken back first if that is
// over.
func openAttacher(listeners []config.Listener, folder string, over bool, log *slog.Logger) (*netenv.Attacher, error) {
	if !slices.ContainsFunc(listeners, func(l config.Listener) bool { return l.Attach }) {
		return nil, nil
	}
	a, err := netenv.OpenAttacher(netenv.Attaching{Journal: filepath.Join(folder, "attached"), Logger: log})
	if err != nil || !over {
		return a, err
	}
	return a, a.Cleanup()
}

// placesOf returns where instances are launched, by dialect.
func placesOf(p config.Places) map[string]control.Place {
	places := map[string]control.Place{}
	for _, dialect := range []string{instance.DialectEC2, instance.DialectECS} {
		if at := p.Of(dialect); at != nil {
			places[dialect] = control.Place{
				Zone: at.Zone, ZoneID: at.ZoneID, VPC: at.VPC, Subnet: at.Subnet, SecurityGroups: at.SecurityGroups,
				Services: at.Services, Sources: at.Sources, Network: at.Network, Public: at.Public,
			}
		}
	}
	return places
}

// regionsOf returns the regions that the APIs list first, by dialect.
func regionsOf(p config.Places) map[string]string {
	regions := map[string]string{}
	for _, dialect := range []string{instance.DialectEC2, instance.DialectECS} {
		if at := p.Of(dialect); at != nil {
			regions[dialect] = at.Region
		}
	}
	return regions
}
