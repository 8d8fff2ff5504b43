//go:build linux && guest

package e2e

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"openimds/internal/testnet"
)

// The packages, installed by dpkg in a Debian with systemd that QEMU boots: the
// units start what they are for, with the keys that systemd hands over; a
// reload of either makes another process the main one, and nobody who asks
// meanwhile is refused; a stop is in order, also after that, and takes what was
// put on interfaces; a process that is killed comes again. `make guest-units`
// runs it.
func TestGuestUnits(t *testing.T) {
	testnet.RequireIsolated(t)
	root := check[string](t)(filepath.Abs(guestFiles + "/debian"))
	_, err := os.Stat(root + "/usr/lib/systemd/systemd")
	testnet.Need(t, "a Debian with systemd (scripts/install-guest units)", err == nil)
	qemu := emulator(t)
	packages := t.TempDir()
	build := exec.CommandContext(t.Context(), "../scripts/package", packages)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the packages: %v\n%s", err, out)
	}
	image := filepath.Join(t.TempDir(), "initramfs")
	if err := os.WriteFile(image, newc(system(t, root, packages)), 0o600); err != nil {
		t.Fatal(err)
	}
	args := slices.Clone(qemu[1:])
	args[slices.Index(args, "-m")+1] = "1024"
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
	defer cancel()
	console, err := exec.CommandContext(ctx, qemu[0], append(args, "-initrd", image)...).Output()
	if err != nil {
		t.Fatalf("QEMU: %v:\n%s", err, console)
	}
	var said []string
	for line := range strings.Lines(string(console)) {
		if _, text, found := strings.Cut(strings.TrimSpace(line), "guest: "); found {
			said = append(said, text)
		}
	}
	all := strings.Join(said, "\n")
	t.Logf("the guest says:\n%s", all)
	for _, want := range []string{
		"active: inactive inactive", "start imds: 0", "seal-key", "restart imds with a feed: 0", "start imds-node: 0",
		"the guest reads: i-0a1b2c3d4e5f60001", "addresses that the node has put there: 1",
		"stop imds-node: 0", "stop imds: 0", "addresses that are left: 0", "start both: 0",
		"after kill -9 the guest reads: i-0a1b2c3d4e5f60001", "stop both: 0", "addresses that are left in the end: 0", "done",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	for what, n := range map[string]int{
		"the main process is another: yes, the old one is gone: yes": 4, "ActiveState=failed": 0, " 0 good": 0, " 0 bad": 2, "Result=success": strings.Count(all, "Result="),
	} {
		if got := strings.Count(all, what); got != n {
			t.Errorf("it says %q %d times, want %d", what, got, n)
		}
	}
	if t.Failed() {
		t.Logf("its console:\n%s", console)
	}
}

// system is a Debian, with what it is to do and what it needs for that.
func system(t *testing.T, root, packages string) (files []file) {
	t.Helper()
	const symlink = 0o120777
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		f := file{name: strings.TrimPrefix(path, root+"/"), mode: uint32(info.Mode().Perm())}
		switch {
		case e.IsDir():
			f.mode |= 0o040000
		case info.Mode().IsRegular():
			f.mode |= 0o100000
			f.data, err = os.ReadFile(path)
		case info.Mode()&fs.ModeSymlink != 0:
			var to string
			to, err = os.Readlink(path)
			f.mode, f.data = symlink, []byte(to)
		default:
			return nil // devices: the kernel makes them
		}
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	const dir, program, plain = 0o040755, 0o100755, 0o100644
	read := func(name string) []byte { return check[[]byte](t)(os.ReadFile(name)) }
	veth := check[[]string](t)(filepath.Glob(guestFiles + "/root/lib/modules/*/kernel/drivers/net/veth.ko"))
	testnet.Need(t, "a guest's kernel (scripts/install-guest)", len(veth) == 1)
	const units = "etc/systemd/system/"
	files = append(files,
		file{"init", symlink, []byte("usr/lib/systemd/systemd")},
		file{"modules", dir, nil}, file{"modules/veth.ko", plain, read(veth[0])},
		file{"check-units", program, read("testdata/guest/check-units")},
		file{units + "check-units.service", plain, []byte("[Unit]\nAfter=basic.target\n[Service]\nExecStart=/check-units\n")},
		file{units + "multi-user.target.wants/check-units.service", symlink, []byte("../check-units.service")},
		file{units + "default.target", symlink, []byte("/usr/lib/systemd/system/multi-user.target")},
		file{units + "serial-getty@ttyS0.service", symlink, []byte("/dev/null")}, // the console is the test's
		file{"packages", dir, nil},
	)
	for _, deb := range check[[]string](t)(filepath.Glob(packages + "/*.deb")) {
		files = append(files, file{"packages/" + filepath.Base(deb), plain, read(deb)})
	}
	return files
}
