package engine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"openimds/internal/trace/record"
)

// owners finds the process that holds each socket. Where several do, because
// one forked, it is the one that the others come from: it had the socket first.
// Where there is no such one, nobody can tell, and a wrong name is worse than
// none.
func owners(inodes map[uint32]bool) map[uint32]*record.Who {
	holders := map[uint32][]int{}
	for _, pid := range pids() {
		for _, inode := range sockets(pid) {
			if inodes[inode] && !slices.Contains(holders[inode], pid) {
				holders[inode] = append(holders[inode], pid)
			}
		}
	}
	found := map[uint32]*record.Who{}
	for inode, pids := range holders {
		if pid := first(pids); pid != 0 {
			if w := processWho(pid); w != nil {
				found[inode] = w
			}
		}
	}
	return found
}

// first returns that of some processes which all the others come from; 0: none
// of them.
func first(pids []int) int {
	for _, candidate := range pids {
		all := true
		for _, p := range pids {
			all = all && comesFrom(p, candidate)
		}
		if all {
			return candidate
		}
	}
	return 0
}

// comesFrom reports whether a process is another, or was started by it or by
// what it started.
func comesFrom(pid, ancestor int) bool {
	for range 64 {
		if pid == ancestor {
			return true
		}
		if pid = parentOf(pid); pid == 0 {
			return false
		}
	}
	return false
}

// sockets returns the inodes of the sockets that a process holds.
func sockets(pid int) []uint32 {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	var all []uint32
	for _, name := range names {
		link, err := os.Readlink(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		if digits, ok := strings.CutPrefix(link, "socket:["); ok {
			if n, err := strconv.ParseUint(strings.TrimSuffix(digits, "]"), 10, 32); err == nil {
				all = append(all, uint32(n))
			}
		}
	}
	return all
}

// processWho is what /proc tells of a process that is needed to describe it.
func processWho(pid int) *record.Who {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil
	}
	w := &record.Who{PID: pid, TID: pid, LoginUID: record.NoLogin}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":\t")
		switch name {
		case "Name":
			w.Comm = unescape(value)
		case "Uid":
			uid, _, _ := strings.Cut(value, "\t")
			if n, err := strconv.ParseUint(uid, 10, 32); err == nil {
				w.UID = uint32(n)
			}
		case "NSpid":
			if fields := strings.Fields(value); len(fields) > 0 {
				w.NSPID, _ = strconv.Atoi(fields[len(fields)-1])
			}
		}
	}
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/loginuid", pid)); err == nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32); err == nil {
			w.LoginUID = uint32(n)
		}
	}
	w.NetNS, _ = netnsOf(pid)
	return w
}

// unescape undoes how the kernel writes names in /proc/PID/status.
func unescape(s string) string {
	return strings.NewReplacer(`\\`, `\`, `\n`, "\n").Replace(s)
}

// ownerOf finds the process that holds a socket which was just made, without
// looking at all processes: whoever began last is the likeliest, and whoever
// else can have it is related to that one.
func ownerOf(inode uint32) *record.Who {
	all := pids()
	slices.SortFunc(all, func(a, b int) int { return b - a })
	at := slices.IndexFunc(all, func(pid int) bool { return holds(pid, inode) })
	if at < 0 {
		return nil
	}
	found := all[at]
	w := processWho(found) // before it ends
	for up := parentOf(found); up > 1 && holds(up, inode); up = parentOf(up) {
		found = up
	}
	for _, sibling := range children(parentOf(found)) {
		if sibling != found && holds(sibling, inode) {
			return nil // both have it from a parent that let go of it
		}
	}
	if found != all[at] {
		return processWho(found)
	}
	return w
}

func holds(pid int, inode uint32) bool { return slices.Contains(sockets(pid), inode) }

func parentOf(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name, in parentheses, can have anything in it.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	up, _ := strconv.Atoi(fields[1])
	return up
}

// children of a process's first thread; nil where the kernel does not tell.
func children(pid int) []int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var all []int
	for _, field := range strings.Fields(string(b)) {
		if n, err := strconv.Atoi(field); err == nil {
			all = append(all, n)
		}
	}
	return all
}
