package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"openimds/internal/config"
	"openimds/internal/netenv"
	"openimds/internal/node"
	"openimds/internal/telemetry"
	"openimds/internal/throttle"
	"openimds/internal/wire"
)

// nodeConfig turns the settings into those of a data plane.
func (h *host) nodeConfig() node.Config {
	s := h.settings
	return node.Config{
		Keys: h.guests.keysOf, Logger: h.log, Open: h.open, Attacher: h.attacher,
		Credentials: h.remote.credentialsOf, Signer: h.remote, Rejected: h.rejected,
		Throttle:               throttle.PerSecond(float64(s.Throttle.Rate), s.Throttle.Burst),
		Hosts:                  s.Hosts,
		StrictForwarding:       s.Security.StrictForwarding,
		ForwardedReads:         s.Security.ForwardedReads(),
		Connections:            s.Limits.Connections,
		ConnectionsPerInstance: s.Limits.ConnectionsPerInstance,
		HeaderTimeout:          s.Limits.HeaderTimeout,
		IdleTimeout:            s.Limits.IdleTimeout,
	}
}

// open opens a socket for instances, or takes over that of the old process.
func (h *host) open(ctx context.Context, at netenv.Spec) (net.Listener, error) {
	return h.sockets.Listen("instances "+at.Key(),
		func(f *os.File) (net.Listener, error) { return netenv.Adopt(at, f, wire.Adopt) },
		func() (net.Listener, error) { return netenv.Listen(ctx, at, wire.Listen) })
}

// listen opens all listeners and serves on them.
func (h *host) listen(ctx context.Context) error {
	var endpoints []*node.Endpoint
	var followed []node.Listener
	for i, l := range h.settings.Listeners {
		at := listenerOf(l)
		if at.Follows() {
			followed = append(followed, at)
			continue
		}
		e, err := h.node.Listen(ctx, at)
		if err != nil {
			return fmt.Errorf("listeners[%d]: %w", i, err)
		}
		endpoints = append(endpoints, e)
		fmt.Fprintf(h.stdout, "%-8s http://%s\n", l.Dialect, e.Addr())
	}
	admin, err := h.sockets.Listen("admin "+h.settings.Admin.Address, adopt, func() (net.Listener, error) {
		return new(net.ListenConfig).Listen(ctx, "tcp", h.settings.Admin.Address)
	})
	if err != nil {
		return fmt.Errorf("admin.address: %w: choose another, or stop the program that holds it", err)
	}
	fmt.Fprintf(h.stdout, "%-8s http://%s\n", "admin", admin.Addr())
	for _, e := range endpoints {
		h.running.Go(func() {
			if err := h.node.Serve(e); err != nil {
				h.fail(e.Addr().String(), err)
			}
		})
	}
	for _, l := range followed {
		h.watching.Go(func() {
			if err := h.node.Follow(ctx, l); err != nil {
				h.fail(l.Address, err)
			}
		})
	}
	h.admin = &http.Server{
		Handler: h.adminHandler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(h.log.Handler(), slog.LevelWarn),
	}
	h.running.Go(func() {
		if err := h.admin.Serve(admin); err != nil && !errors.Is(err, http.ErrServerClosed) {
			h.fail(admin.Addr().String(), err)
		}
	})
	return nil
}

// adopt makes a listener of an inherited socket.
func adopt(f *os.File) (net.Listener, error) {
	ln, err := net.FileListener(f)
	if err != nil {
		err = fmt.Errorf("take over a listening socket: %w", err)
	}
	return ln, errors.Join(err, f.Close())
}

// listenerOf is a listener of the settings as the data plane wants it.
func listenerOf(l config.Listener) node.Listener {
	return node.Listener{
		Dialect: l.Dialect, Address: l.Address, Network: l.Network, Interface: l.Interface, Namespace: l.Namespace,
		Attach: l.Attach, CheckMAC: l.CheckHardwareAddress, MinTTL: l.MinTTL, ProxyKeyFile: l.ProxyKeyFile,
	}
}

// openAttacher opens what puts addresses on interfaces, where a listener asks
// for that. What an earlier run left there is taken back if it is over.
func (h *host) openAttacher(over bool) error {
	if !slices.ContainsFunc(h.settings.Listeners, func(l config.Listener) bool { return l.Attach }) {
		return nil
	}
	var err error
	h.attacher, err = netenv.OpenAttacher(netenv.Attaching{Journal: filepath.Join(cmp.Or(h.runtime, h.settings.State), "attached"), Logger: h.log})
	if err == nil && over {
		err = h.attacher.Cleanup()
	}
	return err
}

// drain lets running answers end.
func (h *host) drain(ctx context.Context) error {
	return errors.Join(h.node.Shutdown(ctx), h.admin.Shutdown(ctx))
}

// adminHandler shows the host on its admin address.
func (h *host) adminHandler() http.Handler {
	v := &view{node: h.node, serving: h.ready.Load, problems: func(err error) { h.log.Debug("a client of the admin address went away", "err", err) }}
	v.feed = func() feedReport {
		return feedReport{h.client.Status(), h.settings.Control.URL, h.guests.heldBack(), h.certificate.ends()}
	}
	v.sources = []telemetry.Source{
		telemetry.DataPlane(h.node), telemetry.Credentials(h.remote.broker), telemetry.Feed(func() telemetry.FeedStatus { return v.feed().metrics() }), telemetry.Process(h.began),
	}
	return v.handler()
}
