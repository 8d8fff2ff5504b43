package confine

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// keep are the capabilities that reading about other users' processes needs.
var keep = []int{unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH}

// keepPackets are those that the engine without eBPF needs besides: it opens
// sockets in namespaces as these appear.
var keepPackets = []int{unix.CAP_NET_RAW, unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN}

// keepDetach are those that taking programs away needs where the kernel does
// not do it when the process ends (before Linux 5.7), and reading their maps.
var keepDetach = []int{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN}

// keepMaps are those that reading maps needs where who has no rights may not
// call bpf at all (before Linux 5.19).
var keepMaps = []int{unix.CAP_BPF}

// Need is what an engine does once it runs, and needs rights for.
type Need struct {
	// Packets: it opens packet sockets in new namespaces.
	Packets bool
	// Detach: it must take its programs away itself.
	Detach bool
	// Maps: reading maps needs a right.
	Maps bool
}

// Drop gives up everything that is not needed, in all threads and for good.
func Drop(n Need) error {
	kept := slices.Clone(keep)
	for _, more := range []struct {
		needed bool
		rights []int
	}{{n.Packets, keepPackets}, {n.Detach, keepDetach}, {n.Maps, keepMaps}} {
		if more.needed {
			kept = append(kept, more.rights...)
		}
	}
	errs := []error{dropCapabilities(kept)}
	if _, _, e := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); e != 0 {
		errs = append(errs, os.NewSyscallError("prctl", e))
	} else {
		errs = append(errs, restrict(n.Packets))
	}
	return errors.Join(errs...)
}

func dropCapabilities(kept []int) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", os.NewSyscallError("capget", err))
	}
	var mask [2]uint32
	for _, c := range kept {
		mask[c/32] |= 1 << (c % 32)
	}
	// Not even a program that it would start could have the others.
	for c := 0; c <= unix.CAP_LAST_CAP; c++ {
		if mask[c/32]&(1<<(c%32)) == 0 {
			_, _, e := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0, 0)
			if e != 0 && e != unix.EINVAL && e != unix.EPERM { // unknown to this kernel, or not allowed to
				return fmt.Errorf("drop capability %d: %w", c, os.NewSyscallError("prctl", e))
			}
		}
	}
	for i := range data {
		data[i].Permitted &= mask[i]
		data[i].Effective = data[i].Permitted
		data[i].Inheritable = 0
	}
	_, _, e := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	runtime.KeepAlive(&header)
	runtime.KeepAlive(&data)
	if e != 0 {
		return fmt.Errorf("drop capabilities: %w", os.NewSyscallError("capset", e))
	}
	return nil
}
