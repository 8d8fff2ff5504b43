package netenv

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The routes of what is sent from an attached address: a table, and the rules
// that lead there, after those of local addresses and before all others.
const (
	ownTable    = 169254
	ownPriority = 169
)

// OpenAttacher opens a journal, which is made if there is none. What an
// earlier process did and did not take back is in it: Attach takes that over,
// and Cleanup takes back the rest.
func OpenAttacher(cfg Attaching) (*Attacher, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(cfg.Journal, 0o700); err != nil {
		return nil, fmt.Errorf("make journal: %w", err)
	}
	a := &Attacher{Attaching: cfg, records: map[Place]*record{}}
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	return a, a.read(boot)
}

func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("tell this boot from others: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Attach puts an address on an interface, for a listener that is bound to it.
// Every Attach wants a Detach.
func (a *Attacher) Attach(p Place, addr netip.Addr) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	p = p.Clean()
	if a.left {
		return fmt.Errorf("attach %s to %s: another process has taken over", addr, p)
	}
	err := a.within(p, func(r *record, h *netlink.Handle, link netlink.Link) error {
		return a.attach(r, h, link, addr.Unmap())
	})
	if err != nil {
		return fmt.Errorf("attach %s to %s: %w", addr, p, need(err, "CAP_NET_ADMIN", "put an address on an interface"))
	}
	return nil
}

// Detach takes back an Attach, and what was set for it once nobody needs it.
// An interface or a namespace that is gone took everything with it.
func (a *Attacher) Detach(p Place, addr netip.Addr) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, addr = p.Clean(), addr.Unmap()
	r := a.records[p]
	if a.left || r == nil || r.users[addr] == 0 {
		return nil
	}
	if r.users[addr]--; r.users[addr] > 0 {
		return nil
	}
	delete(r.users, addr)
	return a.undo(r, func(s step) bool { return s.Address == addr || s.Source == addr || s.Sysctl != "" && len(r.users) == 0 })
}

// Leave leaves everything as it is, for a successor that opens the journal from
// then on and attaches the same: nothing is taken back any more, and nothing is
// attached.
func (a *Attacher) Leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left = true
}

// Return takes back Leave, when the successor has ended and nobody else has the
// journal open: what that one did is this process's to take back.
func (a *Attacher) Return() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	boot, err := bootID()
	if err != nil {
		return err
	}
	mine := a.records
	a.records = map[Place]*record{}
	if err := a.read(boot); err != nil {
		return err
	}
	for p, r := range a.records {
		if m := mine[p]; m != nil && m.Device == r.Device && m.Inode == r.Inode && m.Index == r.Index {
			r.users = m.users
		}
	}
	a.left = false
	return nil
}

// Cleanup takes back whatever this process does not use itself: what an
// earlier one left behind.
func (a *Attacher) Cleanup() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left {
		return nil
	}
	var errs []error
	for _, r := range a.records {
		errs = append(errs, a.undo(r, func(s step) bool {
			return s.Sysctl != "" && len(r.users) == 0 || s.Sysctl == "" && r.users[s.Address] == 0 && r.users[s.Source] == 0
		}))
	}
	return errors.Join(errs...)
}

// within calls f in the namespace of a place, with the place's record, which
// is made anew where the interface is not the one that the record tells of.
func (a *Attacher) within(p Place, f func(*record, *netlink.Handle, netlink.Link) error) error {
	return Within(p.Namespace, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("netlink: %w", err)
		}
		defer h.Close()
		link, err := h.LinkByName(p.Interface)
		if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
			return ErrNoInterface
		}
		if err != nil {
			return fmt.Errorf("look at the interface: %w", err)
		}
		id, _ := identify("/proc/thread-self/ns/net")
		r := a.records[p]
		if r == nil || r.Index != link.Attrs().Index || r.Device != id.dev || r.Inode != id.ino {
			boot, err := bootID()
			if err != nil {
				return err
			}
			r = &record{Boot: boot, Namespace: p.Namespace, Device: id.dev, Inode: id.ino, Interface: p.Interface, Index: link.Attrs().Index}
			a.records[p] = r
		}
		if r.users == nil {
			r.users = map[netip.Addr]int{}
		}
		return f(r, h, link)
	})
}

// attach does what is missing, each step noted before it is made.
func (a *Attacher) attach(r *record, h *netlink.Handle, link netlink.Link, addr netip.Addr) error {
	if err := a.settings(r, addr.Is6()); err != nil {
		return err
	}
	there, err := has(h, link, addr)
	if err != nil {
		return err
	}
	if !there {
		if err := a.plan(r, step{Address: addr}); err != nil {
			return err
		}
		if err := h.AddrAdd(link, addressOf(addr)); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add the address: %w", err)
		}
	}
	if err := a.plan(r, step{Source: addr}); err != nil {
		return err
	}
	if err := h.RuleAdd(ruleOf(addr)); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add a routing rule for what is sent from it: %w", err)
	}
	if err := h.RouteAppend(routeOf(r.Index, addr)); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add a route for what is sent from it: %w", err)
	}
	r.users[addr]++
	return nil
}

// plan notes a step that is about to be made.
func (a *Attacher) plan(r *record, s step) error {
	if slices.Contains(r.Steps, s) {
		return nil
	}
	r.Steps = append(r.Steps, s)
	return a.note(r)
}

// undo takes back the steps that are chosen, last first. Those that cannot be
// taken back stay in the journal.
func (a *Attacher) undo(r *record, chosen func(step) bool) error {
	var errs []error
	err := Within(r.Namespace, func() error {
		id, _ := identify("/proc/thread-self/ns/net")
		link, err := net.InterfaceByIndex(r.Index)
		if err != nil || link.Name != r.Interface || id != (identity{r.Device, r.Inode}) {
			return ErrNoInterface
		}
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("netlink: %w", err)
		}
		defer h.Close()
		for i := len(r.Steps) - 1; i >= 0; i-- {
			if s := r.Steps[i]; chosen(s) {
				if err := a.back(r, h, s); err != nil {
					errs = append(errs, err)
					continue
				}
				r.Steps = slices.Delete(r.Steps, i, i+1)
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, ErrNoInterface), errors.Is(err, ErrNoNamespace):
		err = a.orphans(r)
		r.Steps = nil
	}
	if err = errors.Join(append(errs, err)...); err != nil {
		err = fmt.Errorf("take back what was attached to %s: %w", r.place(), need(err, "CAP_NET_ADMIN", "take an address from an interface"))
	}
	if len(r.Steps) == 0 && a.records[r.place()] == r {
		return errors.Join(err, a.drop(r.place()))
	}
	return errors.Join(err, a.note(r))
}

// orphans removes the rules of an interface that went and took its addresses
// and routes along.
func (a *Attacher) orphans(r *record) error {
	err := Within(r.Namespace, func() error {
		if id, _ := identify("/proc/thread-self/ns/net"); id != (identity{r.Device, r.Inode}) {
			return ErrNoNamespace
		}
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("netlink: %w", err)
		}
		defer h.Close()
		for _, s := range r.Steps {
			if s.Source.IsValid() {
				if err := a.unrule(r, h, s.Source); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if errors.Is(err, ErrNoNamespace) {
		return nil
	}
	return err
}

// back takes back one step, unless somebody else has changed it since.
func (a *Attacher) back(r *record, h *netlink.Handle, s step) error {
	switch {
	case s.Sysctl != "":
		return restore(s)
	case s.Address.IsValid():
		link := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: r.Index, Name: r.Interface}}
		if err := h.AddrDel(link, addressOf(s.Address)); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove address %s: %w", s.Address, err)
		}
		return nil
	}
	if err := h.RouteDel(routeOf(r.Index, s.Source)); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("remove the route for %s: %w", s.Source, err)
	}
	return a.unrule(r, h, s.Source)
}

// unrule removes the routing rule of an address, unless another interface of
// the namespace needs it.
func (a *Attacher) unrule(r *record, h *netlink.Handle, addr netip.Addr) error {
	for _, other := range a.records {
		if other != r && other.Device == r.Device && other.Inode == r.Inode && slices.Contains(other.Steps, step{Source: addr}) {
			return nil
		}
	}
	if err := h.RuleDel(ruleOf(addr)); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("remove the routing rule for %s: %w", addr, err)
	}
	return nil
}

func has(h *netlink.Handle, link netlink.Link, addr netip.Addr) (bool, error) {
	all, err := h.AddrList(link, familyOf(addr))
	if err != nil {
		return false, fmt.Errorf("list the addresses of the interface: %w", err)
	}
	return slices.ContainsFunc(all, func(x netlink.Addr) bool { return x.IP.Equal(addr.AsSlice()) }), nil
}

func familyOf(a netip.Addr) int {
	if a.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func single(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

func addressOf(a netip.Addr) *netlink.Addr {
	x := &netlink.Addr{IPNet: single(a), Flags: unix.IFA_F_NOPREFIXROUTE, Scope: unix.RT_SCOPE_LINK}
	if a.Is6() {
		x.Scope = unix.RT_SCOPE_UNIVERSE
		x.Flags |= unix.IFA_F_NODAD
		x.ValidLft, x.PreferedLft = math.MaxUint32, 0 // deprecated, for ever
	}
	return x
}

func ruleOf(a netip.Addr) *netlink.Rule {
	r := netlink.NewRule()
	r.Family, r.Src, r.Table, r.Priority = familyOf(a), single(a), ownTable, ownPriority
	return r
}

// routeOf is the way to whoever is at the interface. IPv4 tells routes to the
// same place apart by their priority alone.
func routeOf(index int, a netip.Addr) *netlink.Route {
	everywhere := &net.IPNet{IP: make(net.IP, net.IPv4len), Mask: net.CIDRMask(0, 32)}
	if a.Is6() {
		everywhere = &net.IPNet{IP: make(net.IP, net.IPv6len), Mask: net.CIDRMask(0, 128)}
	}
	return &netlink.Route{
		Family: familyOf(a), Dst: everywhere, LinkIndex: index, Table: ownTable, Priority: index, Scope: unix.RT_SCOPE_LINK, Protocol: unix.RTPROT_STATIC,
	}
}
