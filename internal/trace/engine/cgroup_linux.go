package engine

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// rootInode is that of the root of the cgroup v2 hierarchy. In a cgroup
// namespace the mounted directory is a subtree, and has another.
const rootInode = 1

// cgroupRoot opens the root of the cgroup v2 hierarchy. Where it is mounted
// nowhere, it is mounted for this process alone, in no mount table.
func cgroupRoot() (*os.File, error) {
	points, err := mountPoints("cgroup2")
	if err != nil {
		return nil, err
	}
	for _, p := range points {
		if f, err := os.Open(p); err == nil {
			if isRoot(f) {
				return f, nil
			}
			f.Close()
		}
	}
	f, err := mount("cgroup2")
	if err != nil {
		return nil, fmt.Errorf("no root of cgroup v2 is mounted, and mounting it: %w", err)
	}
	if !isRoot(f) {
		f.Close()
		return nil, errors.New("only a part of the cgroup v2 hierarchy is visible: run in the host's cgroup namespace (in a container: mount the host's /sys/fs/cgroup)")
	}
	return f, nil
}

func isRoot(f *os.File) bool {
	var s unix.Stat_t
	return unix.Fstat(int(f.Fd()), &s) == nil && s.Ino == rootInode
}

// fdPath is a path of an open file for those that want a path.
func fdPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// mountPoints returns where file systems of a type are mounted.
func mountPoints(kind string) ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find mounted file systems: %w", err)
	}
	defer f.Close()
	var all []string
	for s := bufio.NewScanner(f); s.Scan(); {
		before, after, ok := strings.Cut(s.Text(), " - ")
		fields := strings.Fields(before)
		if ok && len(fields) > 4 && strings.HasPrefix(after, kind+" ") {
			all = append(all, strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`).Replace(fields[4]))
		}
	}
	return all, nil
}

// errMount is what mount returns without the right to.
var errMount = errors.New("mounting is not permitted")

// mount makes a file system that has no place in the directory tree, and is
// gone when it is closed.
func mount(kind string) (*os.File, error) {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if errors.Is(err, unix.EPERM) {
		return nil, errMount
	} else if err != nil {
		return nil, os.NewSyscallError("fsopen "+kind, err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, os.NewSyscallError("fsconfig "+kind, err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fsmount "+kind, err)
	}
	return os.NewFile(uintptr(fd), kind), nil
}
