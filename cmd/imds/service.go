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
	"openimds/internal/config"
	"openimds/internal/instance"
	"openimds/internal/node"
	"openimds/internal/telemetry"
)

// shutdownTime is how long running answers may take after a signal.
const shutdownTime = 5 * time.Second

// service is a running `imds dev`: a node, its listeners and the admin server.
type service struct {
	node      *node.Node
	plane     *plane
	log       *slog.Logger
	dialects  map[string]*node.Endpoint
	control   net.Listener
	ready     atomic.Bool
	tasks     []func(context.Context)
	endpoints []*node.Endpoint
}

// open opens all listeners.
func (s *service) open(ctx context.Context, o devOptions) error {
	s.dialects = map[string]*node.Endpoint{}
	for _, l := range []struct{ dialect, addr string }{{"ecs", o.ecs}, {"ec2", o.ec2}} {
		e, err := s.node.Listen(ctx, node.Listener{Dialect: l.dialect, Address: l.addr})
		if err != nil {
			return listenError(l.dialect, l.addr, err)
		}
		s.dialects[l.dialect] = e
		s.endpoints = append(s.endpoints, e)
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", o.control)
	if err != nil {
		return listenError("control", o.control, err)
	}
	s.control = ln
	s.ready.Store(true)
	return nil
}

// listenError says what to do about a listener that could not be opened.
func listenError(flag, addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: port %s is in use: stop the program that holds it, or choose another with --%s ADDRESS:PORT (port 0: any free one)", flag, addr, flag)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: no permission to listen on %s: ports below 1024 need CAP_NET_BIND_SERVICE; choose another with --%s ADDRESS:PORT", flag, addr, flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s: no interface has the address of %s: add it, or choose another with --%s ADDRESS:PORT", flag, addr, flag)
	}
	return usageError{fmt.Errorf("%s: listen on %q: %w: give --%s an IP address and a port, such as 127.0.0.1:8100", flag, addr, err, flag)}
}

// close closes listeners that are not served yet.
func (s *service) close() error {
	var errs []error
	for _, e := range s.endpoints {
		errs = append(errs, e.Close())
	}
	if s.control != nil {
		errs = append(errs, s.control.Close())
	}
	return errors.Join(errs...)
}

// follow applies the instances file whenever it changes.
func (s *service) follow(w *config.Watcher) {
	w.OnError = func(err error) {
		s.log.Error("the instances are not changed: the last good ones are served until the file is mended", "file", w.Path, "err", err)
	}
	s.tasks = append(s.tasks, func(ctx context.Context) {
		w.OnChange = func(instances []*instance.Instance) {
			if err := s.plane.give(ctx, instances); err != nil {
				w.OnError(err)
				return
			}
			s.log.Info("instances changed", "file", w.Path, "instances", len(instances))
		}
		w.Run(ctx)
	})
}

// tend keeps the token keys fresh, and the state small.
func (s *service) tend(k *keyring) {
	s.tasks = append(s.tasks,
		func(ctx context.Context) { k.tend(ctx, s.log) },
		func(ctx context.Context) { s.plane.tend(ctx, s.log) },
	)
}

// run serves until ctx is done or a listener fails, and ends everything it
// started.
func (s *service) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	failed := make(chan error, len(s.endpoints)+1)
	for _, task := range s.tasks {
		wg.Go(func() { task(ctx) })
	}
	for _, e := range s.endpoints {
		wg.Go(func() {
			if err := s.node.Serve(e); err != nil {
				failed <- fmt.Errorf("serve %s: %w", e.Addr(), err)
			}
		})
	}
	web := &http.Server{
		Handler: s.plane.apis(admin.New(admin.Config{
			Node: s.node, Metrics: telemetry.NewRegistry(s.node), Logger: s.log, Ready: s.ready.Load,
		}), s.log),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	wg.Go(func() {
		if err := web.Serve(s.control); err != nil && !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("serve %s: %w", s.control.Addr(), err)
		}
	})
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.ready.Store(false)
	cancel()
	end, stop := context.WithTimeout(context.Background(), shutdownTime)
	defer stop()
	err = errors.Join(err, s.node.Shutdown(end), web.Shutdown(end))
	wg.Wait()
	return errors.Join(err, s.plane.close())
}

// greet prints where everything is, lines to paste, and ready.
func (s *service) greet(w io.Writer, samples bool) {
	ecs, ec2, control := address(s.dialects["ecs"].Addr()), address(s.dialects["ec2"].Addr()), address(s.control.Addr())
	fmt.Fprintf(w, "ecs      %s\nec2      %s\ncontrol  %s\n\n", ecs, ec2, control)
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

`, ecs, ec2, control, devKeyEC2, devKeyECS, devSecret, first["ec2"].Region, first["ec2"].ID)
	fmt.Fprintln(w, "ready")
}

func address(a net.Addr) string { return "http://" + a.String() }
