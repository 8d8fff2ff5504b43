package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"openimds/internal/instance"
	"openimds/internal/netenv"
	"openimds/internal/node"
	"openimds/internal/state"
)

// lab is the network of `imds dev --netns`: a host and machines as network
// namespaces. They have no names and are held open by this process alone, so
// that nothing is left of them when it ends, however it does.
type lab struct {
	log  *slog.Logger
	file string // says where the machines are; written anew at each change
	host *os.File
	keep *netenv.Attacher

	mu       sync.Mutex // guards the rest, and the kernel's side of it
	machines map[string]*machine
	next     int
	door     *door // nil: not open yet
}

// machine is an instance, and perhaps a container in it.
type machine struct {
	dialect, about string
	ns             *os.File
	container      *os.File
	doors          []net.Listener // for the reports of tracers in it
	interfaces
}

// interfaces are what a machine was made of; where they differ, it is made
// anew. Each has a port of the host.
type interfaces struct {
	ports []string
	of    []instance.Interface
}

// openLab makes the host. Whoever is not root, or has a lab already, gets an
// error.
func openLab(folder string, log *slog.Logger) (*lab, error) {
	file, err := labFile(folder)
	if err != nil {
		return nil, err
	}
	if old, err := readLab(file); err == nil && old.alive() {
		return nil, fmt.Errorf("imds dev --netns runs already, with process id %d: end it, or give this one another folder with --state", old.PID)
	}
	l := &lab{log: log, file: file, machines: map[string]*machine{}}
	// Before anything else is there: who cleans up asks whether this process is.
	if err := l.write(); err != nil {
		return nil, err
	}
	if l.host, err = netenv.Make(); err != nil {
		return nil, errors.Join(err, l.close())
	}
	err = netenv.SetUp(netenv.Place{Namespace: pathOf(l.host), Interface: "lo"})
	if err == nil {
		l.keep, err = netenv.OpenAttacher(netenv.Attaching{Journal: file + ".attached", Logger: log})
	}
	if err == nil {
		err = l.keep.Cleanup()
	}
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// pathOf names a namespace for every process of the machine.
func pathOf(ns *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.Fd()) }

// listeners are those of the lab: every dialect, at its own addresses, on the
// interfaces of its machines.
func (l *lab) listeners() []listener {
	var all []listener
	for _, d := range node.Dialects() {
		for _, a := range d.Addresses {
			all = append(all, listener{setting{"netns", "without --netns"}, node.Listener{
				Dialect: d.Name, Address: netip.AddrPortFrom(a, 80).String(), Namespace: pathOf(l.host), Interface: labPort(d.Name) + "*", Attach: true,
			}})
		}
	}
	return all
}

func labPort(dialect string) string { return "lab-" + dialect + "-" }

// serve puts a change of the state in force, with machines for the instances
// that run.
func (l *lab) serve(n *node.Node, db *state.DB, c state.Change) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	put := c.Put
	if c.All {
		put = db.Instances.All(nil)
	}
	placed := make([]*instance.Instance, 0, len(put))
	for _, r := range put {
		placed = append(placed, l.place(&r.Spec))
	}
	var errs []error
	if c.All {
		there := map[string]bool{}
		for _, in := range placed {
			there[in.ID] = true
		}
		for id := range l.machines {
			if !there[id] {
				errs = append(errs, l.remove(id))
			}
		}
		errs = append(errs, n.Set(placed))
	} else {
		for _, id := range c.Removed {
			errs = append(errs, l.remove(id))
		}
		errs = append(errs, n.Update(placed, c.Removed))
	}
	return errors.Join(append(errs, l.write())...)
}

// place returns the instance as it is attached here, and makes its machine.
// Without one it is served as it is.
func (l *lab) place(in *instance.Instance) *instance.Instance {
	if in.State != "running" {
		if err := l.remove(in.ID); err != nil {
			l.log.Error("the namespace of an instance is left", "instance", in.ID, "err", err)
		}
		return in
	}
	m := l.machines[in.ID]
	if m != nil && !slices.EqualFunc(m.of, in.Interfaces, sameWire) {
		if err := l.remove(in.ID); err != nil {
			l.log.Error("the namespace of an instance is left", "instance", in.ID, "err", err)
		}
		m = nil
	}
	if m == nil {
		var err error
		if m, err = l.make(in); err != nil {
			l.log.Error("an instance has no namespace", "instance", in.ID, "err", err)
			return in
		}
		l.machines[in.ID] = m
		if l.door != nil {
			if err := l.door.open(in.ID, m); err != nil {
				l.log.Error("tracers in an instance cannot report", "instance", in.ID, "err", err)
			}
		}
	}
	placed := *in
	placed.Interfaces = slices.Clone(in.Interfaces)
	for i := range placed.Interfaces {
		placed.Interfaces[i].Attachment = instance.Attachment{Namespace: pathOf(l.host), Interface: m.ports[i]}
	}
	return &placed
}

// sameWire reports whether a machine needs nothing new for an interface.
func sameWire(a, b instance.Interface) bool {
	return a.MAC == b.MAC && slices.Equal(a.IPv4, b.IPv4) && slices.Equal(a.IPv6, b.IPv6)
}

// make makes the machine of an instance.
func (l *lab) make(in *instance.Instance) (m *machine, err error) {
	m = &machine{dialect: in.Dialect, about: aboutMachine(in), interfaces: interfaces{of: in.Interfaces}}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close(l.host))
		}
	}()
	if m.ns, err = netenv.Make(); err != nil {
		return m, err
	}
	if err = netenv.SetUp(netenv.Place{Namespace: pathOf(m.ns), Interface: "lo"}); err != nil {
		return m, err
	}
	inner := containerAddresses(in)
	for i := range in.Interfaces {
		f := &in.Interfaces[i]
		l.next++
		port := fmt.Sprintf("%s%d", labPort(in.Dialect), l.next)
		c := netenv.Cable{
			Host:  netenv.Place{Namespace: pathOf(l.host), Interface: port},
			Guest: netenv.Place{Namespace: pathOf(m.ns), Interface: fmt.Sprintf("eth%d", i)},
			MAC:   f.MAC,
		}
		for _, a := range slices.Concat(f.IPv4, f.IPv6) {
			if !slices.Contains(inner, a) {
				c.Addresses = append(c.Addresses, netip.PrefixFrom(a, bitsOf(a, f.Subnet, i == 0)))
			}
		}
		if i == 0 {
			c.OnLink = metadataOf(in.Dialect, f)
		}
		if err = netenv.Plug(c); err != nil {
			return m, err
		}
		m.ports = append(m.ports, port)
	}
	if len(inner) > 0 {
		err = m.contain(in.Dialect, inner)
	}
	return m, err
}

// aboutMachine is one line about an instance.
func aboutMachine(in *instance.Instance) string {
	about := "tokens optional"
	switch {
	case in.Metadata.EndpointDisabled():
		about = "endpoint disabled"
	case in.Metadata.TokensRequired():
		about = "tokens required"
	}
	if in.Network != node.DefaultNetwork {
		about += ", network " + in.Network
	}
	var addresses []string
	for _, a := range slices.Concat(in.Primary().IPv4, in.Primary().IPv6) {
		addresses = append(addresses, a.String())
	}
	return about + ", " + strings.Join(addresses, " ")
}

// bitsOf is the length of the prefix that an address stands in: that of the
// subnet on the first interface, and none of its own on others.
func bitsOf(a netip.Addr, s instance.Subnet, first bool) int {
	for _, p := range append(slices.Clone(s.IPv6), s.IPv4) {
		if first && p.IsValid() && p.Contains(a) {
			return p.Bits()
		}
	}
	return a.BitLen()
}

// metadataOf are the addresses of a dialect that an interface can reach.
func metadataOf(dialect string, f *instance.Interface) []netip.Prefix {
	var all []netip.Prefix
	for _, d := range node.Dialects() {
		for _, a := range d.Addresses {
			if d.Name == dialect && (a.Is4() && len(f.IPv4) > 0 || a.Is6() && len(f.IPv6) > 0) {
				all = append(all, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	return all
}

// containerAddresses are the addresses of an instance that a container in it
// has: the second of each family on its first interface, as clouds give them
// to containers.
func containerAddresses(in *instance.Instance) []netip.Addr {
	f := in.Primary()
	if len(f.IPv4) < 2 {
		return nil
	}
	inner := []netip.Addr{f.IPv4[1]}
	if len(f.IPv6) >= 2 {
		inner = append(inner, f.IPv6[1])
	}
	return inner
}

// contain makes the container: one hop behind the machine, which routes for
// it.
func (m *machine) contain(dialect string, inner []netip.Addr) error {
	var err error
	if m.container, err = netenv.Make(); err != nil {
		return err
	}
	at := netenv.Place{Namespace: pathOf(m.container), Interface: "eth0"}
	if err := netenv.SetUp(netenv.Place{Namespace: at.Namespace, Interface: "lo"}); err != nil {
		return err
	}
	c := netenv.Cable{Host: netenv.Place{Namespace: pathOf(m.ns), Interface: "container0"}, Guest: at}
	gateways := map[bool]netip.Addr{false: netip.MustParseAddr("192.0.2.1"), true: netip.MustParseAddr("fd00:0:0:c::1")}
	for _, a := range inner {
		g := gateways[a.Is6()]
		c.Addresses = append(c.Addresses, netip.PrefixFrom(a, a.BitLen()))
		c.HostAddresses = append(c.HostAddresses, netip.PrefixFrom(g, g.BitLen()))
		c.OnLink = append(c.OnLink, netip.PrefixFrom(g, g.BitLen()))
	}
	if err := netenv.Plug(c); err != nil {
		return err
	}
	for _, a := range inner {
		if err := netenv.Forward(pathOf(m.ns), "eth0", "container0", a); err != nil {
			return fmt.Errorf("route for a container: %w", err)
		}
		for _, d := range node.Dialects() {
			for _, to := range d.Addresses {
				if d.Name == dialect && to.Is6() == a.Is6() {
					if err := netenv.Via(at, netip.PrefixFrom(to, to.BitLen()), gateways[a.Is6()], a); err != nil {
						return fmt.Errorf("route of a container: %w", err)
					}
				}
			}
		}
	}
	return nil
}

// remove ends a machine.
func (l *lab) remove(id string) error {
	m := l.machines[id]
	if m == nil {
		return nil
	}
	delete(l.machines, id)
	return m.close(l.host)
}

// close ends what there is of a machine. Its interfaces go at once, the
// namespace when nothing runs in it any more.
func (m *machine) close(host *os.File) error {
	var errs []error
	for _, ln := range m.doors {
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	for _, port := range m.ports {
		errs = append(errs, netenv.Unplug(netenv.Place{Namespace: pathOf(host), Interface: port}))
	}
	for _, f := range []*os.File{m.ns, m.container} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// close ends everything.
func (l *lab) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for id := range l.machines {
		errs = append(errs, l.remove(id))
	}
	if l.host != nil {
		errs = append(errs, l.host.Close())
	}
	return errors.Join(append(errs, forgetLab(l.file))...)
}

// overlapping are instances with the same addresses as samples, in a network
// of their own.
func overlapping(samples []*instance.Instance) []*instance.Instance {
	var twins []*instance.Instance
	seen := map[string]bool{}
	for _, in := range samples {
		if seen[in.Dialect] || in.State != "running" || len(in.Primary().IPv4) == 0 {
			continue
		}
		seen[in.Dialect] = true
		twin := *in
		twin.ID = in.ID[:len(in.ID)-4] + "0009"
		twin.Network, twin.Name, twin.Hostname, twin.Sources = "overlap", in.Name+"-twin", "", nil
		twin.Interfaces = slices.Clone(in.Interfaces[:1])
		f := &twin.Interfaces[0]
		f.ID = f.ID[:len(f.ID)-4] + "0009"
		f.MAC = f.MAC[:len(f.MAC)-2] + "99"
		f.Public = nil
		f.IPv4, f.IPv6 = f.IPv4[:1], f.IPv6[:min(len(f.IPv6), 1)]
		twins = append(twins, &twin)
	}
	return twins
}

// greet says what can be done.
func (l *lab) greet() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	b.WriteString("\ninstances are network namespaces with the clouds' own addresses in them:\n")
	for _, e := range l.entries() {
		fmt.Fprintf(&b, "  %-34s %s\n", e.Name, e.About)
	}
	var first string
	for _, e := range l.entries() {
		if e.Dialect == "ec2" && !strings.Contains(e.Name, "/") {
			first = cmp.Or(first, e.Name)
		}
	}
	if first != "" {
		fmt.Fprintf(&b, "  imds exec %s -- curl http://169.254.169.254/latest/meta-data/\n\n", first)
	}
	return b.String()
}
