package trace

import (
	"cmp"
	"slices"
	"time"

	"openimds/internal/trace/finding"
)

// Limiter bounds how much is told without losing count: of findings alike, of
// one process, the first few in a minute are handed on, and at its end one that
// stands for the rest. The counts of what it hands out add up to what it took.
// It is used by one goroutine.
type Limiter struct {
	// Each is how many of a kind are told one by one in a minute.
	Each int
	// Rate is how many findings in all are told in a second.
	Rate int
	// Suppressed counts findings that were told only in a sum.
	Suppressed uint64

	kinds     map[kind]*tally
	processes map[who]int // kinds of each process
	minute    time.Time   // when the window ends
	second    time.Time   // when the budget of Rate began
	told      int         // of that budget
}

const (
	window       = time.Minute
	maxKinds     = 4096
	maxOfProcess = 64   // kinds of one process; what it does besides is told as one
	maxOfUnknown = 1024 // of all processes together that are not known
	// Others is the path of findings of a process that does too many things
	// for each to be told.
	Others = "(others)"
)

// who names a process.
type who struct {
	pid       int
	start     int64
	container string
}

// kind is what findings alike have in common.
type kind struct {
	who
	mode         finding.Mode
	method, path string
	dst          string
	status       int
}

type tally struct {
	told int
	sum  finding.Finding // of those not told; Count is 0 if there are none
}

// Add takes a finding and returns what is to be told now.
func (l *Limiter) Add(f finding.Finding, now time.Time) []finding.Finding {
	out := l.Tick(now)
	k, f := l.kindOf(f)
	t := l.kinds[k]
	if t == nil {
		t = &tally{}
		l.kinds[k] = t
		l.processes[k.who]++
	}
	if now.Sub(l.second) >= time.Second {
		l.second, l.told = now, 0
	}
	if t.told < l.Each && l.told < l.Rate {
		t.told++
		l.told++
		return append(out, f)
	}
	l.Suppressed += f.Count
	f.Count += t.sum.Count
	t.sum = f
	return out
}

// kindOf returns the kind under which f is counted. When there are too many,
// it leaves out what a request can choose freely, of which f loses it too.
func (l *Limiter) kindOf(f finding.Finding) (kind, finding.Finding) {
	if l.kinds == nil {
		l.kinds, l.processes = map[kind]*tally{}, map[who]int{}
	}
	w := who{f.Process.PID, f.Process.Start.UnixNano(), f.Process.Container}
	k := kind{w, f.Mode, f.Method, f.Path, f.Dst, f.Status}
	if f.Mode == finding.Unreadable {
		k.method, k.path = "", "" // whatever they were
	}
	most := maxOfProcess
	if w.pid == 0 {
		most = maxOfUnknown
	}
	if l.kinds[k] != nil || l.processes[w] < most && len(l.kinds) < maxKinds {
		return k, f
	}
	k.method, k.path, k.dst, k.status = "", Others, "", 0
	if len(l.kinds) >= 2*maxKinds {
		// More processes than can be told apart.
		k.who = who{}
		f.Process = finding.Process{}
	}
	f.Method, f.Path, f.Host, f.Status = "", Others, "", 0
	return k, f
}

// Tick returns the sums when a minute is over. Add does it too.
func (l *Limiter) Tick(now time.Time) []finding.Finding {
	if l.minute.IsZero() {
		l.minute = now.Add(window)
	}
	if now.Before(l.minute) {
		return nil
	}
	return l.Flush(now)
}

// Flush returns all sums, and begins a new minute.
func (l *Limiter) Flush(now time.Time) []finding.Finding {
	var out []finding.Finding
	for _, t := range l.kinds {
		if t.sum.Count > 0 {
			out = append(out, t.sum)
		}
	}
	slices.SortFunc(out, func(a, b finding.Finding) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Process.PID, b.Process.PID), cmp.Compare(a.Path, b.Path))
	})
	clear(l.kinds)
	clear(l.processes)
	l.minute = now.Add(window)
	return out
}
