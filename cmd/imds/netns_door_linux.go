package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"openimds/internal/admin"
	"openimds/internal/netenv"
)

// door is where tracers in the machines of a lab reach the control plane: its
// own port, on the loopback interface of each machine, and what tracers may do
// there and nothing else. Whose report it is follows from the machine.
type door struct {
	address string
	server  *http.Server
	running sync.WaitGroup
}

// admit opens the door in all machines, and in those to come.
func (l *lab) admit(control net.Addr, apis http.Handler) error {
	at, err := netip.ParseAddrPort(control.String())
	if err != nil {
		return fmt.Errorf("let tracers report from namespaces: %w", err)
	}
	inside := at.Addr()
	if !inside.IsLoopback() {
		inside = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	d := &door{address: netip.AddrPortFrom(inside, at.Port()).String()}
	d.server = &http.Server{
		Handler:           reportsAlone(apis),
		ConnContext:       originOf,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       time.Minute,
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.door = d
	var errs []error
	for id, m := range l.machines {
		errs = append(errs, d.open(id, m))
	}
	return errors.Join(errs...)
}

// inodeOf tells namespaces apart; 0: there is none.
func inodeOf(path string) uint32 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return uint32(s.Ino) // of namespaces, the kernel has no larger ones
}

// open opens the door in a machine, and in the container in it. They close
// with it.
func (d *door) open(id string, m *machine) error {
	var own []uint32
	for _, ns := range []*os.File{m.ns, m.container} {
		if ns != nil {
			own = append(own, inodeOf(pathOf(ns)))
		}
	}
	from := admin.Origin{Instance: id, Since: time.Now(), Own: func(netns uint32) bool { return slices.Contains(own, netns) }}
	for _, ns := range []*os.File{m.ns, m.container} {
		if ns == nil {
			continue
		}
		spec := netenv.Spec{Place: netenv.Place{Namespace: pathOf(ns)}, Address: d.address}
		ln, err := netenv.Listen(context.Background(), spec, listenWith)
		if err != nil {
			return fmt.Errorf("let tracers report from %s: %w", id, err)
		}
		m.doors = append(m.doors, ln)
		d.running.Go(func() { _ = d.server.Serve(doorway{ln, from}) }) // ends when it is closed
	}
	return nil
}

func listenWith(ctx context.Context, network, address string, controls ...netenv.Control) (net.Listener, error) {
	all := func(network, address string, raw syscall.RawConn) error {
		for _, control := range controls {
			if err := control(network, address, raw); err != nil {
				return err
			}
		}
		return nil
	}
	return (&net.ListenConfig{Control: all}).Listen(ctx, network, address)
}

// shut ends reports that are under way.
func (l *lab) shut(ctx context.Context) error {
	l.mu.Lock()
	d := l.door
	l.door = nil
	l.mu.Unlock()
	if d == nil {
		return nil
	}
	err := d.server.Shutdown(ctx)
	d.running.Wait()
	return err
}

// doorway is a listener whose connections know where they come from.
type doorway struct {
	net.Listener
	from admin.Origin
}

// Accept implements net.Listener.
func (d doorway) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return guest{c, d.from}, nil
}

type guest struct {
	net.Conn
	from admin.Origin
}

func originOf(ctx context.Context, c net.Conn) context.Context {
	return admin.WithOrigin(ctx, c.(guest).from)
}

// reportsAlone answers what tracers may do.
func reportsAlone(apis http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+admin.FindingsPath, apis)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "an instance reaches nothing here but POST "+admin.FindingsPath, http.StatusForbidden)
	})
	return mux
}
