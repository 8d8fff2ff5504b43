//go:build linux && guest

package e2e

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"openimds/internal/testnet"
)

// guestFiles is where scripts/install-guest puts what guests boot.
const guestFiles = ".cache/guest"

// guestModules are what Debian's kernel for clouds needs for a network
// interface of QEMU, in the order in which they are loaded.
var guestModules = []string{
	"drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_legacy_dev",
	"drivers/virtio/virtio_pci_modern_dev", "drivers/virtio/virtio_pci",
	"net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net",
}

// file is one of an archive.
type file struct {
	name string
	mode uint32 // as of stat(2)
	data []byte
}

// initramfs makes what a guest has for a disk: BusyBox, the modules, and the
// program that it runs with these parameters.
func initramfs(t *testing.T, parameters string) (path string) {
	t.Helper()
	read := func(name string) []byte { return check[[]byte](t)(os.ReadFile(name)) }
	kernels := check[[]string](t)(filepath.Glob(guestFiles + "/root/lib/modules/*/kernel"))
	testnet.Need(t, "a guest's kernel (scripts/install-guest)", len(kernels) == 1)
	const dir, program, plain = 0o040755, 0o100755, 0o100644
	files := []file{
		{"bin", dir, nil}, {"bin/busybox", program, read(guestFiles + "/root/bin/busybox")},
		{"init", program, read("testdata/guest/init")}, {"parameters", plain, []byte(parameters)},
		{"modules", dir, nil},
	}
	var order bytes.Buffer
	for _, m := range guestModules {
		name := filepath.Base(m) + ".ko"
		files = append(files, file{"modules/" + name, plain, read(filepath.Join(kernels[0], m+".ko"))})
		fmt.Fprintln(&order, name)
	}
	files = append(files, file{"modules/order", plain, order.Bytes()})
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(newc(files))
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "initramfs")
	if err := os.WriteFile(path, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newc is an archive in the only form that kernels read (Linux,
// Documentation/driver-api/early-userspace/buffer-format.rst).
func newc(files []file) []byte {
	var b bytes.Buffer
	pad := func() {
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
	}
	for i, f := range append(files, file{name: "TRAILER!!!"}) {
		// Magic, inode, mode, owner, group, links, time, size, four device
		// numbers, length of the name with its end, no checksum.
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
			i+1, f.mode, 0, 0, 1, 0, len(f.data), 0, 0, 0, 0, len(f.name)+1, 0)
		b.WriteString(f.name + "\x00")
		pad()
		b.Write(f.data)
		pad()
	}
	return b.Bytes()
}
