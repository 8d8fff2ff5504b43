package netenv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

// settings changes what of the kernel's settings stands in the way, on the
// interface alone. The thread is in its namespace.
func (a *Attacher) settings(r *record, six bool) error {
	if six {
		return a.settings6(r)
	}
	const conf = "net/ipv4/conf"
	filter, err := effective(conf, r.Interface, "rp_filter")
	if err != nil {
		return err
	}
	if filter == "1" {
		if err := a.set(r, path.Join(conf, r.Interface, "rp_filter"), "2"); err != nil {
			return err
		}
	}
	if ignore, err := effective(conf, r.Interface, "arp_ignore"); err == nil && (ignore == "2" || ignore == "8") {
		a.Logger.Warn("arp_ignore keeps the host from answering for link-local addresses: set net.ipv4.conf.all.arp_ignore to 0 or 1",
			"place", r.place().String(), "arp_ignore", ignore)
	}
	return nil
}

func (a *Attacher) settings6(r *record) error {
	conf := path.Join("net/ipv6/conf", r.Interface)
	off, err := sysctl(path.Join(conf, "disable_ipv6"))
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("the kernel has no IPv6: it was started with ipv6.disable=1, or built without")
	}
	if err != nil || off == "0" {
		return err
	}
	if err := a.set(r, path.Join(conf, "accept_ra"), "0"); err != nil {
		return err
	}
	return a.set(r, path.Join(conf, "disable_ipv6"), "0")
}

// effective is the larger of an interface's setting and that of all, which is
// what the kernel goes by for those that are used here.
func effective(conf, iface, name string) (string, error) {
	own, err := sysctl(path.Join(conf, iface, name))
	if err != nil {
		return "", err
	}
	all, err := sysctl(path.Join(conf, "all", name))
	if err != nil {
		return "", err
	}
	return max(own, all), nil // one digit each
}

// set changes a setting, noted before.
func (a *Attacher) set(r *record, name, value string) error {
	old, err := sysctl(name)
	if err != nil || old == value {
		return err
	}
	if err := a.plan(r, step{Sysctl: name, Old: old, New: value}); err != nil {
		return err
	}
	return write(name, value)
}

// restore puts back the old value, where the new one is still there.
func restore(s step) error {
	now, err := sysctl(s.Sysctl)
	if errors.Is(err, fs.ErrNotExist) || err == nil && now != s.New {
		return nil
	}
	if err != nil {
		return err
	}
	return write(s.Sysctl, s.Old)
}

func sysctl(name string) (string, error) {
	b, err := os.ReadFile(path.Join("/proc/sys", name))
	if err != nil {
		return "", fmt.Errorf("read kernel setting: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func write(name, value string) error {
	if err := os.WriteFile(path.Join("/proc/sys", name), []byte(value), 0); err != nil {
		return fmt.Errorf("set kernel setting %s to %s: %w (/proc/sys must be writable: ProtectKernelTunables=no in the systemd unit)", name, value, err)
	}
	return nil
}
