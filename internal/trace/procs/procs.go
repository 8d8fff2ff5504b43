// Package procs describes processes: what the kernel told of one when it
// connected, and what /proc adds to it as long as the process lives. Nothing
// is taken from /proc that could belong to another process with the same
// number.
package procs

import (
	"cmp"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"openimds/internal/trace/finding"
	"openimds/internal/trace/record"
	"openimds/internal/trace/redact"
)

// Limits of a description.
const (
	MaxParents = 8
	maxCmdline = 1024 // of the process, bytes
	maxParent  = 256  // of an ancestor
)

// Cmdline says how much of command lines is told.
type Cmdline string

// Values of Cmdline.
const (
	Full Cmdline = "full" // of the process and its ancestors
	Self Cmdline = "self" // of the process alone
	Off  Cmdline = "off"
)

// Clocks relate the kernel's clocks to each other at one moment.
type Clocks struct {
	Now       time.Time
	Monotonic time.Duration // the clock of records
	Boot      time.Duration // the clock of processes' start times
}

// Wall is the time of a record.
func (c Clocks) Wall(ns uint64) time.Time {
	return c.Now.Add(time.Duration(ns) - c.Monotonic)
}

// Reader describes processes. It is used by one goroutine.
type Reader struct {
	root    string
	cmdline Cmdline
	parents map[parentKey]finding.Parent // of processes that may live long
}

type parentKey struct {
	pid   int
	start uint64 // ticks
}

// maxCached bounds the ancestors that are remembered.
const maxCached = 2048

// New returns a Reader of a /proc file system.
func New(root string, c Cmdline) *Reader {
	return &Reader{root: root, cmdline: cmp.Or(c, Full), parents: map[parentKey]finding.Parent{}}
}

// Describe describes the process of a record of time at (as in the record).
func (r *Reader) Describe(w *record.Who, at uint64, c Clocks) finding.Process {
	p := finding.Process{
		PID: w.PID, NSPID: w.NSPID, TID: w.TID, UID: w.UID,
		Comm: cmp.Or(w.Leader, w.Comm), NetNS: w.NetNS,
	}
	if w.LoginUID != record.NoLogin {
		p.LoginUID = &w.LoginUID
	}
	s, alive := r.live(w, at, c)
	if alive {
		p.Comm = cmp.Or(w.Leader, s.comm)
	}
	if w.Comm != p.Comm {
		p.Thread = w.Comm
	}
	if start := cmp.Or(w.Start, s.start*tick); start != 0 {
		p.Start = c.Now.Add(time.Duration(start) - c.Boot).UTC().Round(time.Millisecond)
	}
	r.place(&p, w, alive)
	args := w.Args
	if alive && r.same(w, s) {
		p.Exe = r.exe(w.PID)
		if len(args) == 0 || w.ArgsCut {
			args = longer(r.args(w.PID), args)
		}
		if p.NetNS == 0 {
			p.NetNS = r.netns(w.PID)
		}
	}
	if r.cmdline != Off {
		p.Cmdline = redact.Args(args, maxCmdline)
	}
	switch {
	case len(w.Parents) > 0:
		for _, up := range w.Parents {
			p.Parents = append(p.Parents, r.parent(up.PID, up.Start/tick, up.Comm))
		}
	case alive:
		p.Parents = r.ancestors(s)
	}
	return p
}

// live reads the process's state, if it is still the one that connected.
func (r *Reader) live(w *record.Who, at uint64, c Clocks) (stat, bool) {
	s, err := r.stat(w.PID)
	switch {
	case err != nil:
		return stat{}, false
	case w.Start != 0:
		return s, s.start == w.Start/tick
	default:
		// Whoever has the number now and began before had it then.
		boot := at + uint64(c.Boot-c.Monotonic)
		return s, s.start*tick <= boot
	}
}

// same reports whether the process still runs the program that it ran when it
// connected, as far as its name tells.
func (r *Reader) same(w *record.Who, s stat) bool {
	if w.Leader != "" {
		return w.Leader == s.comm
	}
	if w.TID == w.PID || w.TID == 0 {
		return w.Comm == s.comm
	}
	return true // the name is that of a thread
}

// ancestors walks up from a process that lives.
func (r *Reader) ancestors(s stat) []finding.Parent {
	var all []finding.Parent
	for len(all) < MaxParents && s.ppid > 0 {
		up, err := r.stat(s.ppid)
		if err != nil || up.start > s.start {
			break
		}
		all = append(all, r.parent(s.ppid, up.start, up.comm))
		s = up
	}
	return all
}

// parent describes an ancestor that began at start, in ticks.
func (r *Reader) parent(pid int, start uint64, comm string) finding.Parent {
	key := parentKey{pid, start}
	if p, ok := r.parents[key]; ok && p.Comm == comm {
		return p
	}
	p := finding.Parent{PID: pid, Comm: comm}
	if r.cmdline != Full {
		return p
	}
	if s, err := r.stat(pid); err != nil || s.start != start || s.comm != comm {
		return p
	}
	p.Cmdline = redact.Args(r.args(pid), maxParent)
	if len(r.parents) >= maxCached {
		clear(r.parents)
	}
	r.parents[key] = p
	return p
}

func (r *Reader) path(pid int, name string) string {
	return filepath.Join(r.root, strconv.Itoa(pid), name)
}

func (r *Reader) exe(pid int) string {
	exe, err := os.Readlink(r.path(pid, "exe"))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(exe, " (deleted)")
}

func (r *Reader) args(pid int) []string {
	b, err := readFile(r.path(pid, "cmdline"), 4096)
	if err != nil {
		return nil
	}
	return record.Args(b)
}

func (r *Reader) netns(pid int) uint32 {
	link, err := os.Readlink(r.path(pid, "ns/net"))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(strings.Trim(strings.TrimPrefix(link, "net:"), "[]"), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// longer returns a, or b if a is not longer.
func longer(a, b []string) []string {
	if len(a) >= len(b) {
		return a
	}
	return b
}
