package netenv

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Within runs f on a thread that is in a network namespace, given by name or
// path; an empty one is that of the process. Sockets that f opens stay there.
// The rest of the process notices nothing. f must not start goroutines that
// are to be in the namespace, nor end its own.
func Within(namespace string, f func() error) error {
	if namespace == "" {
		return f()
	}
	done := make(chan error, 1)
	go func() { done <- within(namespacePath(namespace), f) }()
	return <-done
}

// within is Within on a goroutine of its own. When the thread cannot come
// back, it stays locked, and the runtime throws it away with the goroutine.
func within(path string, f func() error) error {
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open the process's own network namespace: %w", err)
	}
	defer unix.Close(home)
	if err := enter(path); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err = f()
	if back := unix.Setns(home, unix.CLONE_NEWNET); back == nil {
		runtime.UnlockOSThread()
	}
	return err
}

// enter moves the thread to a namespace, or leaves it where it is.
func enter(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%s: %w", path, ErrNoNamespace)
	}
	if err != nil {
		return forbidden(path, &os.PathError{Op: "open network namespace", Path: path, Err: err})
	}
	defer unix.Close(fd)
	err = unix.Setns(fd, unix.CLONE_NEWNET)
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%s is no network namespace: %w", path, ErrNoNamespace)
	}
	if err != nil {
		return fmt.Errorf("enter network namespace %s: %w", path, need(err, "CAP_SYS_ADMIN", "enter another network namespace"))
	}
	return nil
}

// forbidden says what is needed to reach a namespace by a file that may not be
// read.
func forbidden(path string, err error) error {
	if strings.HasPrefix(path, "/proc/") {
		return need(err, "CAP_SYS_PTRACE", "reach the network namespace of a process of another user")
	}
	return err
}

// Make makes a network namespace. It lives as long as the file is open, a
// socket or process is in it, or its file is mounted somewhere.
func Make() (*os.File, error) {
	type made struct {
		file *os.File
		err  error
	}
	done := make(chan made, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- made{err: need(err, "CAP_SYS_ADMIN", "make a network namespace")}
			return
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		done <- made{f, err}
	}()
	m := <-done
	if m.err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", m.err)
	}
	return m.file, nil
}

// identity tells namespaces apart, whatever their names.
type identity struct{ dev, ino uint64 }

// identify finds the namespace of a file; it is false for a file that is none
// or not there.
func identify(path string) (identity, bool) {
	var fs unix.Statfs_t
	if unix.Statfs(path, &fs) != nil || fs.Type != unix.NSFS_MAGIC {
		return identity{}, false
	}
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return identity{}, false
	}
	return identity{uint64(st.Dev), st.Ino}, true //nolint:unconvert // its type differs between architectures
}
