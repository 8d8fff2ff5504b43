package main

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"openimds/internal/testnet"
)

// mountsEnv tells the test binary that it is the process with mounts of its
// own.
const mountsEnv = "OPENIMDS_OWN_MOUNTS"

// TestServeDisk runs the tests of disks that are full, read-only or broken, in
// a process with mounts of its own, which end with it.
func TestServeDisk(t *testing.T) {
	if os.Getenv(mountsEnv) != "" {
		t.Run("full", serveFull)
		t.Run("read-only", serveReadOnly)
		t.Run("turns read-only", serveTurnsReadOnly)
		return
	}
	testnet.Need(t, "root, for mounts of the test's own", os.Geteuid() == 0)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := testnet.Command(t.Context(), self, "-test.run=^TestServeDisk$", "-test.v")
	cmd.Env = append(os.Environ(), mountsEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Count(out, []byte("--- PASS")) < 3 {
		t.Fatalf("with mounts of its own: %v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// diskHost is a host whose state is on a disk of its own, with a launched
// instance that answers at 127.0.0.1.
type diskHost struct {
	host
	ec2      ec2Client
	ecs      ecsClient
	instance string
	process  *process
}

// newDiskHost makes a host; mount puts a disk at the given folder.
func newDiskHost(t *testing.T, mount func(folder string)) *diskHost {
	t.Helper()
	h := &diskHost{host: newHost(t)}
	if err := os.MkdirAll(h.state(), 0o700); err != nil {
		t.Fatal(err)
	}
	mount(h.state())
	t.Cleanup(func() {
		if h.process != nil {
			h.process.signal(t, syscall.SIGKILL)
		}
		if err := syscall.Unmount(h.state(), 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	h.seed(t)
	h.again(t)
	var status int
	var err error
	if h.instance, status, err = h.ec2.launch(t.Context(), "first", "me"); err != nil || status != http.StatusOK {
		t.Fatalf("launch: %d, %v", status, err)
	}
	return h
}

// again starts the program.
func (h *diskHost) again(t *testing.T) {
	t.Helper()
	h.process = h.start(t)
	h.ec2 = ec2Client{http.DefaultClient, h.process.addr["control"]}
	h.ecs = ecsClient{http.DefaultClient, h.process.addr["control"], &nonces{prefix: t.Name() + h.ec2.address}}
}

// serves wants reads of the APIs and of the instance to go on.
func (h *diskHost) serves(t *testing.T, hops, count int) {
	t.Helper()
	found, err := h.ec2.running(t.Context(), "me")
	if err != nil || found[h.instance] != (seen{hops - 1, count}) {
		t.Errorf("described as %+v, %v, want hop limit %d and count %d", found, err, hops, count)
	}
	if _, err := h.ecs.running(t.Context(), "me"); err != nil {
		t.Error(err)
	}
	if _, got := get(t, "127.0.0.1", "GET", "http://"+h.process.addr["ec2"]+"/latest/meta-data/instance-id"); got != h.instance {
		t.Errorf("the instance is told that it is %q", got)
	}
}

// refuses wants changes to be refused as the vendors do, and the log to say why.
func (h *diskHost) refuses(t *testing.T, why string) {
	t.Helper()
	// Some pages may still have room for a record or two.
	for i := 0; ; i++ {
		status, err := h.ec2.call(t.Context(), nil, "Action", "CreateTags", "ResourceId.1", h.instance, "Tag.1.Key", "count", "Tag.1.Value", "1")
		if err != nil {
			t.Fatal(err)
		}
		if status == http.StatusServiceUnavailable {
			break
		}
		if i == 1000 {
			t.Fatalf("CreateTags: still %d", status)
		}
	}
	p := &program{addr: h.process.addr}
	status, text := ec2api(t, p, http.DefaultClient, "Action", "CreateTags", "ResourceId.1", h.instance, "Tag.1.Key", "count", "Tag.1.Value", "9")
	if status != http.StatusServiceUnavailable || !strings.Contains(text, "<Code>Unavailable</Code>") {
		t.Errorf("EC2: %d %s", status, text)
	}
	if id, status, err := h.ecs.launch(t.Context(), "none", "me"); err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("ECS: %q, %d, %v", id, status, err)
	}
	if log := h.process.err.String(); !strings.Contains(log, why) {
		t.Errorf("%q is not in the log:\n%s", why, log)
	}
}

func mountTmpfs(t *testing.T, size string) func(string) {
	return func(folder string) {
		if err := syscall.Mount("disk", folder, "tmpfs", 0, "size="+size); err != nil {
			t.Fatalf("mount: %v", err)
		}
	}
}

func serveFull(t *testing.T) {
	h := newDiskHost(t, mountTmpfs(t, "4m"))
	if status, err := h.ec2.tag(t.Context(), h.instance, 1); err != nil || status != http.StatusOK {
		t.Fatalf("%d, %v", status, err)
	}
	filler := filepath.Join(h.state(), "filler")
	if err := os.WriteFile(filler, make([]byte, 16<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk does not fill up: %v", err)
	}
	h.refuses(t, "no space left on device")
	h.serves(t, 1, 1)

	// A restart on a full disk finds all of it.
	if code := h.process.signal(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, h.process.err)
	}
	h.again(t)
	h.refuses(t, "no space left on device")
	h.serves(t, 1, 1)

	// Once there is room, changes go on without one.
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if status, err := h.ec2.modify(t.Context(), h.instance, 4); err != nil || status != http.StatusOK {
		t.Errorf("with room: %d, %v", status, err)
	}
	h.serves(t, 5, 1)
	h.process.signal(t, syscall.SIGKILL)
	h.run(t, 0, "store", "check", h.storeAt())
	h.again(t)
	h.serves(t, 5, 1)
}

// A machine that comes up with a read-only disk serves its instances.
func serveReadOnly(t *testing.T) {
	h := newDiskHost(t, mountTmpfs(t, "4m"))
	if code := h.process.signal(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, h.process.err)
	}
	remount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("disk", h.state(), "tmpfs", syscall.MS_REMOUNT|flags, "size=4m"); err != nil {
			t.Fatalf("remount: %v", err)
		}
	}
	remount(syscall.MS_RDONLY)
	h.again(t)
	h.refuses(t, "the disk is read-only")
	h.serves(t, 1, 0)
	if code := h.process.signal(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, h.process.err)
	}
	remount(0)
	h.again(t)
	if status, err := h.ec2.tag(t.Context(), h.instance, 2); err != nil || status != http.StatusOK {
		t.Errorf("mounted for writing again: %d, %v", status, err)
	}
	h.serves(t, 1, 2)
}

// A file system that has found an error turns read-only under a program that
// writes.
func serveTurnsReadOnly(t *testing.T) {
	mkfs, err := exec.LookPath("mkfs.ext4")
	testnet.Need(t, "mkfs.ext4 (Debian: e2fsprogs)", err == nil)
	image := filepath.Join(t.TempDir(), "disk.img")
	var device string
	mount := func(folder string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), "mount", "-o", "loop,errors=remount-ro", image, folder).CombinedOutput(); err != nil {
			testnet.Need(t, "loop devices: "+string(out), false)
		}
		mounts, err := os.ReadFile("/proc/self/mounts")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(mounts)) {
			if fields := strings.Fields(line); fields[1] == folder {
				device = filepath.Base(fields[0])
			}
		}
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 32<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), mkfs, "-q", image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs: %v\n%s", err, out)
	}
	h := newDiskHost(t, mount)
	if status, err := h.ec2.tag(t.Context(), h.instance, 3); err != nil || status != http.StatusOK {
		t.Fatalf("%d, %v", status, err)
	}
	if err := os.WriteFile("/sys/fs/ext4/"+device+"/trigger_fs_error", []byte("test"), 0o200); err != nil {
		t.Fatal(err)
	}
	h.refuses(t, "read-only file system")
	h.serves(t, 1, 3)
	h.process.signal(t, syscall.SIGKILL)

	// What was acknowledged is on the disk, once it is mended.
	if err := syscall.Unmount(h.state(), 0); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "fsck.ext4", "-p", "-f", image).CombinedOutput(); err != nil && !strings.Contains(string(out), "blocks") {
		t.Fatalf("fsck: %v\n%s", err, out)
	}
	mount(h.state())
	h.run(t, 0, "store", "check", h.storeAt())
	h.again(t)
	h.serves(t, 1, 3)
	if status, err := h.ec2.modify(t.Context(), h.instance, 5); err != nil || status != http.StatusOK {
		t.Errorf("mended: %d, %v", status, err)
	}
	h.serves(t, 6, 3)
}
