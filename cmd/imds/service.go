package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"openimds/internal/admin"
	"openimds/internal/api/ec2query"
	"openimds/internal/netenv"
	"openimds/internal/node"
	"openimds/internal/systemd"
	"openimds/internal/telemetry"
	"openimds/internal/telemetry/registry"
)

// shutdownTime is how long running answers may take after a signal.
const shutdownTime = 5 * time.Second

// service is a running `imds dev` or `imds serve`: a node, its listeners, a
// control plane and the server of its APIs.
type service struct {
	node      *node.Node
	plane     *plane
	identity  identityKeys
	log       *slog.Logger
	control   net.Listener
	fleet     *fleet           // nil: there is none
	callers   atomic.Int64     // connections to the control address that are open
	line      *line            // nil: it is not replaced by another process
	attacher  *netenv.Attacher // nil: nothing is attached
	token     string           // of the admin API; empty: none is asked for
	trace     string           // likewise, for tracers
	notify    string           // systemd's socket; empty: nobody is told
	ready     atomic.Bool
	tasks     []func(context.Context)
	listeners []listener // with the endpoints of the same index
	followed  []listener // by rules, which open and close what they find
	endpoints []*node.Endpoint
	running   sync.WaitGroup
	failed    chan error // has room for what every listener may say
}

// listener is where to listen for instances, and the setting that says so.
type listener struct {
	setting
	node.Listener
}

// setting is what a person is told about an address: its name, and how to
// choose another, as in: with --ec2 ADDRESS:PORT.
type setting struct{ name, how string }

// addresses are where a service listens.
type addresses struct {
	listeners []listener
	control   struct {
		setting
		address string
	}
}

// open opens all listeners.
func (s *service) open(ctx context.Context, a addresses) error {
	for _, l := range a.listeners {
		if l.Follows() {
			s.followed = append(s.followed, l)
			continue
		}
		e, err := s.node.Listen(ctx, l.Listener)
		if err != nil {
			return l.problem(l.Address, err)
		}
		s.listeners = append(s.listeners, l)
		s.endpoints = append(s.endpoints, e)
	}
	ln, err := s.line.listen(ctx, "control", a.control.address)
	if err != nil {
		return a.control.problem(a.control.address, err)
	}
	s.control = ln
	return nil
}

// problem says what to do about a listener that could not be opened.
func (s setting) problem(addr string, err error) error {
	var lacks *netenv.NeedError
	switch {
	case errors.As(err, &lacks), errors.Is(err, netenv.ErrNoNamespace):
		return fmt.Errorf("%s: %w", s.name, err)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: port %s is in use: stop the program that holds it, or choose another %s (port 0: any free one)", s.name, addr, s.how)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: no permission to listen on %s: ports below 1024 need CAP_NET_BIND_SERVICE; choose another %s", s.name, addr, s.how)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s: no interface has the address of %s: add it, or choose another %s", s.name, addr, s.how)
	}
	return usageError{fmt.Errorf("%s: listen on %q: %w: give an IP address and a port, such as 127.0.0.1:8100, %s", s.name, addr, err, s.how)}
}

// close closes the plane, and listeners that are not served yet.
func (s *service) close() error {
	errs := []error{s.plane.close()}
	for _, e := range s.endpoints {
		errs = append(errs, e.Close())
	}
	if s.control != nil {
		errs = append(errs, s.control.Close())
	}
	if s.fleet != nil {
		errs = append(errs, s.fleet.listener.Close())
	}
	return errors.Join(errs...)
}

// tend keeps the token keys fresh, and the state small.
func (s *service) tend(k *keyring) {
	s.tasks = append(s.tasks,
		func(ctx context.Context) { k.tend(ctx, s.log) },
		func(ctx context.Context) { s.plane.tend(ctx) },
		func(ctx context.Context) { s.plane.watchAlarms(ctx) },
		s.identity.tend,
		s.plane.keeper.Run,
		s.plane.evidence.run,
	)
}

// answer begins to answer instances.
func (s *service) answer() {
	s.failed = make(chan error, len(s.endpoints)+len(s.followed)+2)
	for _, e := range s.endpoints {
		s.running.Go(func() {
			if err := s.node.Serve(e); err != nil {
				s.failed <- fmt.Errorf("serve %s: %w", e.Addr(), err)
			}
		})
	}
}

// run serves the APIs, too, until ctx is done or a listener fails, and ends
// everything that was started.
func (s *service) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	following, stopFollowing := context.WithCancel(ctx)
	defer stopFollowing()
	tasks, stopTasks := context.WithCancel(ctx)
	defer stopTasks()
	for _, task := range s.tasks {
		s.running.Go(func() { task(tasks) })
	}
	for _, l := range s.followed {
		s.running.Go(func() {
			if err := s.node.Follow(following, l.Listener); err != nil {
				s.failed <- fmt.Errorf("%s: %w", l.name, err)
			}
		})
	}
	metrics := registry.New(append(s.plane.usage.sources(), telemetry.DataPlane(s.node), telemetry.Credentials(s.plane.keeper.Broker))...)
	web := &http.Server{
		Handler: s.plane.apis(admin.New(admin.Config{
			Node: s.node, Metrics: metrics, Logger: s.log, Ready: s.ready.Load,
			Control: s.plane.control, Audit: s.plane.records, Token: s.token, CheckTemplate: ec2query.CheckTemplate, Nodes: s.fleet.list(), Backup: s.plane.backup,
			Certificates: s.identity.published, Usage: s.plane.usage.Ledger,
			Survey: s.plane.evidence.survey, Hardener: s.plane.evidence.hardener, TraceToken: s.trace,
		})),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	if lab := s.plane.lab; lab != nil {
		if err := lab.admit(s.control.Addr(), web.Handler); err != nil {
			s.log.Error("tracers in instances cannot report", "err", err)
		}
	}
	s.ready.Store(true)
	served := make(chan struct{})
	s.running.Go(func() { s.serveAPIs(web, served) })
	if s.fleet != nil {
		s.running.Go(func() {
			if err := s.fleet.serve(); err != nil {
				s.failed <- err
			}
		})
	}
	s.line.serving()
	s.tell(systemd.Ready)
	var err error
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case err = <-s.failed:
			done = true
		case <-s.line.called():
			// Interfaces that come or go from here on are left to whichever
			// service there is in the end.
			s.node.Hold()
			if s.line.start() {
				return s.handOver(web, served, stopTasks, stopFollowing)
			}
			s.node.Resume()
		}
	}
	s.ready.Store(false)
	s.tell(systemd.Stopping)
	cancel()
	end, stop := context.WithTimeout(context.Background(), shutdownTime)
	defer stop()
	if s.fleet != nil {
		err = errors.Join(err, s.fleet.shutdown(end))
	}
	if lab := s.plane.lab; lab != nil {
		err = errors.Join(err, lab.shut(end))
	}
	err = errors.Join(err, s.node.Shutdown(end), web.Shutdown(end))
	s.running.Wait()
	return errors.Join(err, s.plane.close())
}

// tell tells systemd how the service stands.
func (s *service) tell(state string) {
	if err := (systemd.Notifier{Socket: s.notify}).Send(state); err != nil {
		s.log.Warn("systemd does not know how this service stands", "err", err)
	}
}

// where prints the address of everything.
func (s *service) where(w io.Writer) {
	for i, l := range s.listeners {
		fmt.Fprintf(w, "%-8s %s\n", l.Dialect, address(s.endpoints[i].Addr()))
	}
	fmt.Fprintf(w, "control  %s\n", address(s.control.Addr()))
	if s.fleet != nil {
		fmt.Fprintf(w, "feed     https://%s\n", s.fleet.listener.Addr())
	}
}

// greetDev prints where everything is, lines to paste, and ready.
func (s *service) greetDev(w io.Writer, samples bool) {
	s.where(w)
	fmt.Fprintln(w)
	ecs, ec2, control := address(s.endpoints[0].Addr()), address(s.endpoints[1].Addr()), address(s.control.Addr())
	first := firstSample()
	if samples {
		fmt.Fprint(w, `the address you call from is the instance you are:
  127.0.0.1  session token optional     127.0.0.2  session token required
  127.0.0.3  endpoint disabled          127.0.0.4  Windows (ecs), IPv6-only (ec2)

`)
	}
	fmt.Fprintf(w, `paste to try:
  curl %[2]s/latest/meta-data/
  TOKEN=$(curl -sX PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 21600' --interface 127.0.0.2 %[2]s/latest/api/token)
  curl -H "X-aws-ec2-metadata-token: $TOKEN" --interface 127.0.0.2 %[2]s/latest/meta-data/
  curl %[1]s/latest/meta-data/instance-id
  curl %[3]s/v1/usage
for SDKs and CLIs:
  export AWS_EC2_METADATA_SERVICE_ENDPOINT=%[2]s/
  export ALIBABA_CLOUD_IMDS_ENDPOINT=%[1]s
  aws configure list    # with the first line set: role credentials and region come from here
for the APIs (keys of this program alone: AWS %[4]s, Alibaba Cloud %[5]s, secret %[6]s for both):
  export AWS_ACCESS_KEY_ID=%[4]s AWS_SECRET_ACCESS_KEY=%[6]s AWS_DEFAULT_REGION=%[7]s
  aws --endpoint-url %[3]s ec2 describe-instances
  aws --endpoint-url %[3]s ec2 modify-instance-metadata-options --instance-id %[8]s --http-tokens required --http-endpoint enabled
for operators:
  imds get instances --server %[3]s

`, ecs, ec2, control, devKeyEC2, devKeyECS, devSecret, first["ec2"].Region, first["ec2"].ID)
	fmt.Fprintln(w, "ready")
}

func address(a net.Addr) string { return "http://" + a.String() }
