//go:build linux

package confine

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// judge runs a filter of system calls as the kernel does.
func judge(p []unix.SockFilter, arch, number uint32) uint32 {
	var a uint32
	for i := 0; i < len(p); i++ {
		switch ins := p[i]; ins.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = map[uint32]uint32{offNumber: number, offArchitecture: arch}[ins.K]
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			met := a == ins.K
			if ins.Code&0xf0 == unix.BPF_JGE {
				met = a >= ins.K
			}
			if met {
				i += int(ins.Jt)
			} else {
				i += int(ins.Jf)
			}
		case unix.BPF_RET | unix.BPF_K:
			return ins.K
		}
	}
	return 0
}

func TestFilter(t *testing.T) {
	p := filter(denied)
	for _, n := range []uint32{unix.SYS_READ, unix.SYS_OPENAT, unix.SYS_BPF, unix.SYS_SETNS, unix.SYS_CLONE, unix.SYS_EPOLL_PWAIT} {
		if slices.Contains(denied, n) || judge(p, architecture, n) != unix.SECCOMP_RET_ALLOW {
			t.Errorf("call %d is refused", n)
		}
	}
	for _, n := range denied {
		if judge(p, architecture, n) != unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM) {
			t.Errorf("call %d is allowed", n)
		}
	}
	if judge(p, 1, unix.SYS_READ) == unix.SECCOMP_RET_ALLOW {
		t.Error("calls of another architecture are allowed")
	}
	if maxNumber != 0 && judge(p, architecture, maxNumber+59) == unix.SECCOMP_RET_ALLOW {
		t.Error("calls of x32 are allowed")
	}
}
