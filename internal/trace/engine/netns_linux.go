package engine

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// namespaces returns a process of each network namespace, by inode.
func namespaces() map[uint32]int {
	all := map[uint32]int{}
	for _, pid := range pids() {
		if n, ok := netnsOf(pid); ok {
			if _, had := all[n]; !had {
				all[n] = pid
			}
		}
	}
	return all
}

func netnsOf(pid int) (uint32, bool) {
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(link, "net:["), "]"), 10, 32)
	return uint32(n), err == nil
}

// pids lists processes.
func pids() []int {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	var all []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// inNamespace calls do on a thread in the network namespace of a process. The
// thread is not used for anything else.
func inNamespace(pid int, do func() error) error {
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return fmt.Errorf("open the network namespace of process %d: %w", pid, err)
	}
	defer f.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the network namespace of process %d: %w", pid, os.NewSyscallError("setns", err))
			return
		}
		done <- do()
	}()
	return <-done
}
