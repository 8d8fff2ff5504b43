package boltstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"openimds/internal/fault"
	"openimds/internal/store"
	"openimds/internal/store/boltstore"
	"openimds/internal/testnet"
)

// diskEnv tells the test binary that it is the process with mounts of its own.
const diskEnv = "OPENIMDS_OWN_MOUNTS"

// TestDisk runs the tests that fill disks and make them read-only, in a
// process with mounts of its own. Without root that takes a user namespace.
func TestDisk(t *testing.T) {
	if os.Getenv(diskEnv) != "" {
		t.Run("full", diskFull)
		t.Run("filled by others", diskFilled)
		t.Run("full at the start", diskFullAtStart)
		t.Run("read-only", diskReadOnly)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := testnet.Server(self, "-test.run=^TestDisk$", "-test.v")
	cmd.Env = append(os.Environ(), diskEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if id := os.Geteuid(); id != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		t.Errorf("with mounts of its own: %v\n%s", err, out)
	case err != nil:
		t.Skipf("mounts of our own need root or user namespaces: %v", err)
	case bytes.Count(out, []byte("--- PASS")) != 5:
		t.Errorf("not all tests have run:\n%s", out)
	}
}

// disk is a small disk, which is full when it is full.
type disk struct{ path string }

func newDisk(t *testing.T, size string) disk {
	t.Helper()
	d := disk{t.TempDir()}
	if err := syscall.Mount("disk", d.path, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.path, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return d
}

func (d disk) config() boltstore.Config {
	return boltstore.Config{Path: filepath.Join(d.path, "state.db")}
}

func (d disk) remount(t *testing.T, flags uintptr, size string) {
	t.Helper()
	if err := syscall.Mount("disk", d.path, "tmpfs", syscall.MS_REMOUNT|flags, "size="+size); err != nil {
		t.Fatalf("remount: %v", err)
	}
}

// fill takes what is free.
func (d disk) fill(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(d.path, "filler")
	if err := os.WriteFile(path, make([]byte, 16<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk does not fill up: %v", err)
	}
	return path
}

// wantFull commits what has no room.
func wantFull(t *testing.T, s *boltstore.Store) {
	t.Helper()
	before, at := content(t, s), revision(t, s)
	_, err := s.Commit(t.Context(), put("big", strings.Repeat("x", store.MaxValue)))
	wantFault(t, "Commit on a full disk", err, fault.Unavailable, "the disk is full", s.Path())
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the cause is lost: %v", err)
	}
	_, err = s.Commit(t.Context(), store.Tx{If: []store.Condition{store.Present("nothing")}})
	wantFault(t, "Commit that cannot be", err, fault.Conflict)
	if content(t, s) != before || revision(t, s) != at {
		t.Error("a commit that failed has changed something")
	}
	check(t, s)
	w, err := s.Watch(t.Context(), "", at-1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if b, err := w.Next(t.Context()); err != nil || b.Revision != at {
		t.Errorf("Next: revision %d, %v; want %d", b.Revision, err, at)
	}
	var saved bytes.Buffer
	if r, err := s.Backup(t.Context(), &saved); err != nil || r != at {
		t.Errorf("Backup: %d, %v; want %d", r, err, at)
	}
}

func revision(t *testing.T, s store.Store) uint64 {
	t.Helper()
	r, err := s.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func diskFull(t *testing.T) {
	d := newDisk(t, "2m")
	s := open(t, d.config())
	n := 0
	for ; ; n++ {
		if _, err := s.Commit(t.Context(), put(fmt.Sprintf("%04d", n), strings.Repeat("x", 5000))); err != nil {
			wantFault(t, "Commit on a full disk", err, fault.Unavailable, "the disk is full")
			break
		}
		if n > 1000 {
			t.Fatal("the disk does not fill up")
		}
	}
	if r := revision(t, s); r != uint64(n) || n < 50 {
		t.Errorf("revision %d after %d commits", r, n)
	}
	wantFull(t, s)

	// After a restart all is as it was.
	before := content(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, d.config())
	if content(t, s) != before || revision(t, s) != uint64(n) {
		t.Error("after a restart the store has something else")
	}
	wantFull(t, s)

	// And when there is room, commits go on.
	d.remount(t, 0, "16m")
	if r := commit(t, s, put("big", strings.Repeat("x", store.MaxValue))); r != uint64(n+1) {
		t.Errorf("revision %d, want %d", r, n+1)
	}
	check(t, s)
}

func diskFilled(t *testing.T) {
	d := newDisk(t, "4m")
	s := open(t, d.config())
	commit(t, s, put("a", "1"))
	filler := d.fill(t)
	wantFull(t, s)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if r := commit(t, s, put("b", strings.Repeat("x", 200_000))); r != 2 {
		t.Errorf("revision %d, want 2", r)
	}
	check(t, s)
}

func diskFullAtStart(t *testing.T) {
	d := newDisk(t, "2m")
	s := open(t, d.config())
	commit(t, s, put("a", "1"))
	saved, _ := backup(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	filler := d.fill(t)

	other := boltstore.Config{Path: filepath.Join(d.path, "other.db")}
	_, err := boltstore.Open(other)
	wantFault(t, "Open of a new file", err, fault.Unavailable, "the disk is full", other.Path)
	_, err = boltstore.Restore(t.Context(), d.config(), bytes.NewReader(saved), true)
	wantFault(t, "Restore", err, fault.Unavailable, "the disk is full", d.path)
	if left, err := os.ReadDir(d.path); err != nil || len(left) != 2 {
		t.Errorf("the disk has %v, %v; want the store and the filler", left, err)
	}

	s = open(t, d.config())
	if got, want := content(t, s), "a=1@1-1 "; got != want {
		t.Errorf("the store has %q, want %q", got, want)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	open(t, other)
}

func diskReadOnly(t *testing.T) {
	d := newDisk(t, "4m")
	saved := oneEntry(t, d.config())
	d.remount(t, syscall.MS_RDONLY, "4m")
	readOnly(t, d.config(), saved, syscall.EROFS, "mounted read-only")
	d.remount(t, 0, "4m")
	if r := commit(t, open(t, d.config()), put("a", "2")); r != 2 {
		t.Errorf("revision %d, want 2", r)
	}
}

// Files that belong to somebody else are like a disk that is read-only.
func TestPermissions(t *testing.T) {
	c := config(t)
	folder := filepath.Dir(c.Path)
	saved := oneEntry(t, c)
	if err := errors.Join(os.Chmod(c.Path, 0o444), os.Chmod(folder, 0o555), os.Chmod(filepath.Dir(folder), 0o755)); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		// This thread opens files as somebody who is not root.
		runtime.LockOSThread()
		if err := syscall.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
	}
	readOnly(t, c, saved, syscall.EACCES, "give the user that runs this program")
	if os.Geteuid() == 0 {
		if err := syscall.Setfsuid(0); err != nil {
			t.Fatal(err)
		}
		runtime.UnlockOSThread()
	}
	if err := errors.Join(os.Chmod(c.Path, 0o600), os.Chmod(folder, 0o700)); err != nil {
		t.Fatal(err)
	}
	if r := commit(t, open(t, c), put("a", "2")); r != 2 {
		t.Errorf("revision %d, want 2", r)
	}
}

// oneEntry makes a store with one entry, and returns its backup.
func oneEntry(t *testing.T, c boltstore.Config) []byte {
	t.Helper()
	s := open(t, c)
	commit(t, s, put("a", "1"))
	saved, _ := backup(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return saved
}

// readOnly tries to write where that is not possible, and then reads.
func readOnly(t *testing.T, c boltstore.Config, saved []byte, cause error, says string) {
	t.Helper()
	_, err := boltstore.Open(c)
	wantFault(t, "Open", err, fault.Unavailable, c.Path, says)
	if !errors.Is(err, cause) {
		t.Errorf("Open: %v, want %v", err, cause)
	}
	other := boltstore.Config{Path: filepath.Join(filepath.Dir(c.Path), "other.db")}
	_, err = boltstore.Open(other)
	wantFault(t, "Open of a new file", err, fault.Unavailable, other.Path, says)
	_, err = boltstore.Restore(t.Context(), c, bytes.NewReader(saved), true)
	wantFault(t, "Restore", err, fault.Unavailable, c.Path, says)

	c.ReadOnly = true
	s := open(t, c)
	if got, want := content(t, s), "a=1@1-1 "; got != want {
		t.Errorf("the store has %q, want %q", got, want)
	}
	check(t, s)
	_, err = s.Commit(t.Context(), put("a", "2"))
	wantFault(t, "Commit", err, fault.Unavailable, "reading only")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
