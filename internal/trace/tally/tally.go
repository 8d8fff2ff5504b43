// Package tally sums findings up by program: what people ask for is not the
// list of requests but who makes them, how often, since when, and what to do.
package tally

import (
	"cmp"
	"slices"
	"time"

	"openimds/internal/trace/finding"
)

// Bounds of a table.
const (
	maxRows  = 4096
	maxPIDs  = 256
	maxPaths = 32
)

// Row is what one program did, in one container, unit and under one user.
type Row struct {
	Comm, Exe, Container, Unit string
	UID                        uint32
	// Process is the one that was seen last.
	Process finding.Process
	// UserAgent and Cloud are those of the last request without a token, or of
	// the last one.
	UserAgent, Cloud string

	TokenFree, Refused, Tokened, TokenRequests, Attempts, Unreadable uint64
	First, Last, LastTokenFree                                       time.Time
	LastPath                                                         string
	// Paths are those asked for without a token, most often first.
	Paths []Path

	pids  map[int]struct{}
	paths map[string]uint64
}

// Path is a path and how often it was asked for.
type Path struct {
	Path  string
	Count uint64
}

// Processes is how many processes there were, up to 256.
func (r *Row) Processes() int { return len(r.pids) }

// Table sums findings up. The zero value is an empty one; it is used by one
// goroutine.
type Table struct {
	// Missed counts requests of programs for which there was no room.
	Missed uint64
	rows   map[key]*Row
	// files are those of programs, by their keys without one; ambiguous if there
	// are several.
	files map[key]string
}

// ambiguous is no file's name.
const ambiguous = "\x00"

type key struct {
	comm, exe, container, unit string
	uid                        uint32
}

// Add adds a finding.
func (t *Table) Add(f *finding.Finding) {
	if t.rows == nil {
		t.rows, t.files = map[key]*Row{}, map[key]string{}
	}
	p := &f.Process
	k := t.keyOf(p)
	r := t.rows[k]
	if r == nil {
		if len(t.rows) >= maxRows {
			t.Missed += f.Count
			return
		}
		r = &Row{Comm: p.Comm, Exe: p.Exe, Container: p.Container, Unit: p.Unit, UID: p.UID, pids: map[int]struct{}{}, paths: map[string]uint64{}}
		t.rows[k] = r
	}
	r.add(f)
}

// keyOf returns the key of a process's row. Of one that had ended the file could
// not be read: it is counted with the others of that name, if these have one
// file.
func (t *Table) keyOf(p *finding.Process) key {
	without := key{comm: p.Comm, container: p.Container, unit: p.Unit, uid: p.UID}
	k := without
	known, seen := t.files[without]
	switch k.exe = p.Exe; {
	case p.Comm == "" || len(t.files) >= maxRows && !seen:
	case p.Exe == "":
		if seen && known != ambiguous {
			k.exe = known
		}
	case !seen:
		t.files[without] = p.Exe
		if r := t.rows[without]; r != nil {
			delete(t.rows, without)
			r.Exe = p.Exe
			t.rows[k] = r
		}
	case known != p.Exe:
		t.files[without] = ambiguous
	}
	return k
}

func (r *Row) add(f *finding.Finding) {
	if len(r.pids) < maxPIDs {
		r.pids[f.Process.PID] = struct{}{}
	}
	if r.First.IsZero() || f.Time.Before(r.First) {
		r.First = f.Time
	}
	later := !f.Time.Before(r.Last)
	if later {
		r.Last, r.Process = f.Time, f.Process
		if f.Path != "" {
			r.LastPath = f.Path
		}
	}
	switch f.Mode {
	case finding.TokenFree:
		r.TokenFree += f.Count
		if f.Refused {
			r.Refused += f.Count
		}
		if !f.Time.Before(r.LastTokenFree) {
			r.LastTokenFree, r.UserAgent, r.Cloud = f.Time, f.UserAgent, f.Cloud
		}
		if _, ok := r.paths[f.Path]; ok || len(r.paths) < maxPaths {
			r.paths[f.Path] += f.Count
		}
	case finding.Tokened:
		r.Tokened += f.Count
	case finding.TokenRequest:
		r.TokenRequests += f.Count
	case finding.Attempt:
		r.Attempts += f.Count
	case finding.Unreadable:
		r.Unreadable += f.Count
	}
	if later && r.TokenFree == 0 {
		r.UserAgent, r.Cloud = f.UserAgent, f.Cloud
	}
}

// Rows returns the rows, those with the most requests without a token first.
func (t *Table) Rows() []*Row {
	all := make([]*Row, 0, len(t.rows))
	for _, r := range t.rows {
		r.Paths = r.Paths[:0]
		for p, n := range r.paths {
			r.Paths = append(r.Paths, Path{p, n})
		}
		slices.SortFunc(r.Paths, func(a, b Path) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Path, b.Path)) })
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *Row) int {
		return cmp.Or(cmp.Compare(b.TokenFree, a.TokenFree), cmp.Compare(b.Tokened, a.Tokened), b.Last.Compare(a.Last), cmp.Compare(a.Comm, b.Comm))
	})
	return all
}
