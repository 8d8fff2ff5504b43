package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"openimds/internal/config"
	"openimds/internal/feed"
	"openimds/internal/handover"
	"openimds/internal/netenv"
	"openimds/internal/node"
	"openimds/internal/pki"
	"openimds/internal/systemd"
	"openimds/internal/telemetry"
	"openimds/internal/usage/meter"
)

// host is a run of imds-node.
type host struct {
	settings      config.Node
	credentials   string   // folder of systemd's credentials; empty: there are none
	args          []string // of the process
	notify        string   // systemd's socket
	inherited     string   // what the old process says of what it hands over
	stdout        io.Writer
	stderr        io.Writer
	log           *slog.Logger
	began         time.Time
	program       string // path of the program, as it was at the start
	files         pki.Files
	sockets       *handover.Sockets
	guests        *guests
	node          *node.Node
	client        *feed.Client
	certificate   certificate
	admin         *http.Server
	ready         atomic.Bool
	running       sync.WaitGroup
	watching      sync.WaitGroup // of interfaces that come and go
	attacher      *netenv.Attacher
	remote        *remote
	meter         *meter.Meter
	runtime       string // folder that need not outlive a reboot; empty: the state folder
	failed        chan error
	hup           chan os.Signal
	stopFollowing func() // ends what follows the control plane, and waits
}

// Files of the state folder.
const (
	lockFile     = "lock"
	lastGoodFile = "last-good"
)

// drainTime is how long running answers may take in the end.
const drainTime = 5 * time.Second

// prepare finds the files that the settings name.
func (h *host) prepare() error {
	h.log = telemetry.NewLogger(h.stderr, slog.LevelInfo)
	h.began = time.Now()
	h.failed, h.hup = make(chan error, 1), make(chan os.Signal, 1)
	key, err := credentialPath(h.settings.Control.Key, h.credentials)
	if err != nil {
		return usageError{err}
	}
	h.files = pki.Files{Certificate: h.settings.Control.Certificate, Key: key, Authority: h.settings.Control.Authority}
	if h.program, err = os.Executable(); err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	return nil
}

// credentialPath finds a file that may be a systemd credential.
func credentialPath(name, folder string) (string, error) {
	switch {
	case !config.IsCredential(name):
		return name, nil
	case folder == "":
		return "", fmt.Errorf("control.key: %q is the name of a systemd credential, and $CREDENTIALS_DIRECTORY is not set: run this as a systemd service with LoadCredential=%s:PATH, or give a path, such as ./%s", name, name, name)
	}
	return filepath.Join(folder, name), nil
}

// check says whether the settings are good.
func (h *host) check() error {
	if err := h.prepare(); err != nil {
		return err
	}
	name, end, err := h.files.Own()
	if err != nil {
		return usageError{err}
	}
	fmt.Fprintf(h.stdout, "ok: %d listeners; node %s, whose certificate ends on %s\n", len(h.settings.Listeners), name, end.Format(time.DateOnly))
	return nil
}

// run serves until ctx is done, or until another process has taken over.
func (h *host) run(ctx context.Context) error {
	if err := h.prepare(); err != nil {
		return err
	}
	sockets, old, err := handover.Inherit(h.inherited)
	if err != nil {
		return err
	}
	h.sockets = sockets
	// It may come before everything is up, and must not end the process.
	signal.Notify(h.hup, syscall.SIGHUP)
	defer signal.Stop(h.hup)
	rest, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if err := h.start(rest, old); err != nil {
		old.Refuse(err)
		return err
	}
	return h.serve(ctx, rest, stop)
}

// start begins to serve. What it starts ends with rest.
func (h *host) start(rest context.Context, old *handover.Predecessor) error {
	name, _, unreadable := h.files.Own()
	if err := h.lock(); err != nil {
		return err
	}
	// From here on the old process does not write.
	if err := old.Ready(); err != nil {
		return err
	}
	if err := h.openAttacher(old == nil); err != nil {
		return err
	}
	h.guests = newGuests(h.log)
	web := &http.Client{Transport: h.transport()}
	calls := &feed.Calls{URL: h.settings.Control.URL, HTTP: web}
	h.remote = newRemote(calls, h.guests.find, h.log)
	h.node = node.New(h.nodeConfig())
	h.guests.node = h.node
	err := h.count(name, calls)
	if err != nil {
		return err
	}
	h.client, err = feed.NewClient(feed.ClientConfig{
		URL: h.settings.Control.URL, HTTP: web, Node: name, Path: filepath.Join(h.settings.State, lastGoodFile),
		Apply: h.guests.apply, Drop: h.remote.drop, Logger: h.log,
	})
	if err != nil {
		return err
	}
	h.remote.signs.Store(h.client)
	if unreadable != nil {
		if h.client.Status().Revision == 0 {
			return usageError{unreadable} // there is nothing that could be served
		}
		h.log.Error("the control plane cannot be asked until the certificate is mended; serving the last good state", "err", unreadable)
	}
	if err := h.listen(rest); err != nil {
		return err
	}
	h.ready.Store(true)
	if err := old.Serving(); err != nil {
		h.log.Warn("the old process was not told that this one serves", "err", err)
	}
	if old != nil {
		h.running.Go(func() { h.settle(rest) })
	}
	return nil
}

// settleTime is how long none of what the old process had was taken over before
// the rest is given up: interfaces are found one by one.
const settleTime = 4 * time.Second

// settle gives up what the old process had and this one does not use.
func (h *host) settle(ctx context.Context) {
	for _, key := range h.sockets.Settle(ctx, settleTime) {
		h.log.Info("a listener of the old process is not in use any more", "listener", key)
	}
	if h.attacher != nil && ctx.Err() == nil {
		if err := h.attacher.Cleanup(); err != nil {
			h.log.Error("addresses that are not needed any more were not taken off their interfaces", "err", err)
		}
	}
}

// lock makes sure that no other process writes in the state folder.
func (h *host) lock() error {
	if h.sockets.File(lockFile) != nil {
		return nil // it is locked as long as either process has the file
	}
	if err := os.MkdirAll(h.settings.State, 0o700); err != nil {
		return fmt.Errorf("make state folder: %w", err)
	}
	path := filepath.Join(h.settings.State, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("lock state folder: %w", err)
	}
	if err := control(f, func(fd uintptr) error { return syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB) }); err != nil {
		_ = f.Close()
		return fmt.Errorf("lock state folder %s: another imds-node uses it: stop that, or give this one another state: %w", h.settings.State, err)
	}
	h.sockets.Keep(lockFile, f)
	return nil
}

// control calls use with the descriptor of a file.
func control(f *os.File, use func(fd uintptr) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) { inner = use(fd) })
	return errors.Join(err, inner)
}

// transport makes connections to the control plane.
func (h *host) transport() *http.Transport {
	return &http.Transport{DialTLSContext: h.files.Dial, IdleConnTimeout: 30 * time.Second, ResponseHeaderTimeout: 20 * time.Second}
}

// serve follows the control plane, until ctx is done, a listener fails or
// another process has taken over, and ends what was started.
func (h *host) serve(ctx, rest context.Context, stop func()) error {
	h.running.Go(func() { h.certificate.watch(rest, h.files, h.log) })
	h.running.Go(func() { h.remote.broker.Run(rest) })
	h.follow(rest)
	endReports := h.report(rest)
	h.tell(systemd.Ready, systemd.Status("following "+h.settings.Control.URL))
	fmt.Fprintln(h.stdout, "ready")

	var err error
	replaced := false
	for done := false; !done; {
		select {
		case <-ctx.Done():
			h.tell(systemd.Stopping)
			done = true
		case err = <-h.failed:
			done = true
		case <-h.hup:
			replaced = h.replace(rest)
			done = replaced
		}
	}
	h.ready.Store(false)
	h.stopFollowing()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if replaced {
		// Interfaces and the addresses on them are the other's by now: what
		// watches them is not told to put things back.
		err = errors.Join(err, h.drain(end))
		endReports()
		return err
	}
	stop()
	err = errors.Join(err, h.drain(end))
	endReports()
	h.running.Wait()
	h.watching.Wait()
	return err
}

// follow begins to follow the control plane.
func (h *host) follow(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() { h.client.Run(ctx) })
	h.stopFollowing = func() { cancel(); group.Wait() }
}

// tell tells systemd how the service stands.
func (h *host) tell(states ...string) {
	if err := (systemd.Notifier{Socket: h.notify}).Send(states...); err != nil {
		h.log.Warn("systemd does not know how this service stands", "err", err)
	}
}

// fail ends the process because a listener did.
func (h *host) fail(what string, err error) {
	select {
	case h.failed <- fmt.Errorf("serve %s: %w", what, err):
	default: // one reason is enough
	}
}
