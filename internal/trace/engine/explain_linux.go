package engine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// explain adds to an error what a person can do about it.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errMount):
		return fmt.Errorf("missing CAP_SYS_ADMIN, or mount it beforehand: %w", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		if missing := missingCapabilities(unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN); missing != "" {
			return fmt.Errorf("missing %s (run as root, or grant them): %w", missing, short(err))
		}
		if mode := lockdown(); mode == "confidentiality" {
			return fmt.Errorf("the kernel is locked down (%s), which forbids reading its memory: %w", mode, short(err))
		}
		if line := refusal(err); line != "" {
			return fmt.Errorf("the verifier of the kernel %s refuses the program (%s): %w", release(), line, short(err))
		}
		return fmt.Errorf("the kernel forbids it, though the capabilities are there: %w", short(err))
	case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, btf.ErrNotFound), errors.Is(err, unix.EINVAL) && refusal(err) == "":
		if _, no := os.Stat("/sys/kernel/btf/vmlinux"); no != nil {
			return fmt.Errorf("the kernel %s has no BTF (/sys/kernel/btf/vmlinux), or is too old: %w", release(), short(err))
		}
		return fmt.Errorf("the kernel %s is too old for this engine, or was built without what it needs: %w", release(), short(err))
	}
	if line := refusal(err); line != "" {
		return fmt.Errorf("the verifier of the kernel %s refuses the program (%s): %w", release(), line, short(err))
	}
	return err
}

// short leaves out the verifier's log, which is of many lines.
func short(err error) error {
	if v, ok := errors.AsType[*ebpf.VerifierError](err); ok {
		return v.Cause
	}
	return err
}

// refusal is the line of the verifier's log that says why; empty: it was not
// the verifier.
func refusal(err error) string {
	v, ok := errors.AsType[*ebpf.VerifierError](err)
	if !ok {
		return ""
	}
	for _, line := range slices.Backward(v.Log) {
		// What comes last is how much was looked at.
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "processed ") && !strings.HasPrefix(line, "verification time") && !strings.HasPrefix(line, "stack depth") {
			return line
		}
	}
	return ""
}

func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "(unknown)"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// lockdown is the kernel's lockdown mode; "": none, or not known.
func lockdown() string {
	b, err := os.ReadFile("/sys/kernel/security/lockdown")
	if err != nil {
		return ""
	}
	_, after, _ := bytes.Cut(b, []byte("["))
	mode, _, _ := bytes.Cut(after, []byte("]"))
	return string(mode)
}

var capabilityNames = map[int]string{
	unix.CAP_BPF: "CAP_BPF", unix.CAP_PERFMON: "CAP_PERFMON", unix.CAP_NET_ADMIN: "CAP_NET_ADMIN",
	unix.CAP_NET_RAW: "CAP_NET_RAW", unix.CAP_SYS_PTRACE: "CAP_SYS_PTRACE", unix.CAP_SYS_ADMIN: "CAP_SYS_ADMIN",
}

// missingCapabilities names those of caps that are not in effect. What has
// CAP_SYS_ADMIN needs neither CAP_BPF nor CAP_PERFMON.
func missingCapabilities(caps ...int) string {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return ""
	}
	has := func(c int) bool { return data[c/32].Effective&(1<<(c%32)) != 0 }
	missing := ""
	for _, c := range caps {
		if has(c) || has(unix.CAP_SYS_ADMIN) && (c == unix.CAP_BPF || c == unix.CAP_PERFMON) {
			continue
		}
		if missing != "" {
			missing += ", "
		}
		missing += capabilityNames[c]
	}
	return missing
}
