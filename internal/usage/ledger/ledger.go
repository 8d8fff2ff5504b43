// Package ledger is usage as whoever asks sees it: what is kept, with what has
// been counted since; and where the reports of nodes are taken.
package ledger

import (
	"context"
	"slices"
	"sync"
	"time"

	"openimds/internal/fault"
	"openimds/internal/usage"
	"openimds/internal/usage/history"
	"openimds/internal/usage/series"
)

// Config is what a Ledger is made of. Open is required.
type Config struct {
	// File says where usage is kept; its Taken is the ledger's.
	File history.Config
	// Assigned tells whether an instance is assigned to a node. Nil: it never is.
	Assigned func(node, instance string) bool
}

// Ledger is the usage of all instances. Its methods are safe for concurrent
// use; those that read flush what the data plane of this process has counted.
type Ledger struct {
	cfg  Config
	file *history.File

	mu    sync.Mutex // guards what follows
	flush func(context.Context) error
	past  Past
	taken []func(series.Report)
}

// Open opens the file.
func Open(cfg Config) (*Ledger, error) {
	l := &Ledger{cfg: cfg}
	cfg.File.Taken = l.tell
	var err error
	l.file, err = history.Open(cfg.File)
	return l, err
}

// Close closes the file.
func (l *Ledger) Close() error { return l.file.Close() }

// FlushWith makes a function bring in what was counted here, before each read.
func (l *Ledger) FlushWith(flush func(context.Context) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush = flush
}

// SetAssigned sets Config.Assigned, for who knows it later.
func (l *Ledger) SetAssigned(assigned func(node, instance string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cfg.Assigned = assigned
}

// OnReport makes the ledger tell of each report that it takes, once, when it is
// kept. What is told must not block.
func (l *Ledger) OnReport(tell func(series.Report)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken = append(l.taken, tell)
}

func (l *Ledger) tell(r series.Report) {
	l.mu.Lock()
	taken := slices.Clone(l.taken)
	l.mu.Unlock()
	for _, tell := range taken {
		tell(r)
	}
}

// Record takes a report of this process's own data plane.
func (l *Ledger) Record(ctx context.Context, r series.Report) error { return l.file.Record(ctx, r) }

// Report takes a report of another node, which has proved its name. What it says
// of instances that are not its own, and were not, is left out.
func (l *Ledger) Report(ctx context.Context, node string, r series.Report) error {
	if node == "" {
		return fault.New(fault.Denied, "a usage report needs the name of its node")
	}
	l.mu.Lock()
	assigned := l.cfg.Assigned
	l.mu.Unlock()
	known := map[string]bool{}
	own := func(id string) bool {
		ok, asked := known[id]
		if !asked {
			ok = assigned != nil && assigned(node, id)
			if !ok {
				// The last of an instance that has moved comes late.
				s, err := l.file.Served(id)
				ok = err == nil && slices.Contains(s.Nodes, node)
			}
			known[id] = ok
		}
		return ok
	}
	r.Node = node
	foreign := func(id string) bool { return !own(id) }
	r.Samples = slices.DeleteFunc(slices.Clone(r.Samples), func(s series.Sample) bool { return foreign(s.Instance) })
	r.Callers = slices.DeleteFunc(slices.Clone(r.Callers), func(c series.Caller) bool { return foreign(c.Instance) })
	r.Began = slices.DeleteFunc(slices.Clone(r.Began), foreign)
	r.Ended = slices.DeleteFunc(slices.Clone(r.Ended), foreign)
	return l.file.Record(ctx, r)
}

// current brings in what was counted here.
func (l *Ledger) current(ctx context.Context) error {
	l.mu.Lock()
	flush := l.flush
	l.mu.Unlock()
	if flush == nil {
		return nil
	}
	return flush(ctx)
}

// Range is history.File.Range, of now.
func (l *Ledger) Range(ctx context.Context, instance string, from, to time.Time, r series.Resolution) ([]series.Point, error) {
	if err := l.current(ctx); err != nil {
		return nil, err
	}
	return l.Past(ctx).Range(instance, from, to, r)
}

// Totals is history.File.Totals, of now.
func (l *Ledger) Totals(ctx context.Context, from, to time.Time, yield func(instance string, total history.Total)) error {
	if err := l.current(ctx); err != nil {
		return err
	}
	return l.Past(ctx).Totals(from, to, yield)
}

// Callers is history.File.Callers, of now.
func (l *Ledger) Callers(ctx context.Context, instance string, since time.Time) ([]usage.Caller, error) {
	if err := l.current(ctx); err != nil {
		return nil, err
	}
	return l.file.Callers(instance, since)
}

// Kept returns what is kept, without what has been counted since.
func (l *Ledger) Kept() *history.File { return l.file }

// Flush brings in what was counted here.
func (l *Ledger) Flush(ctx context.Context) error { return l.current(ctx) }

// Findings takes what tracers in instances have found. It tells whether that had
// come before, and is not counted again.
func (l *Ledger) Findings(batch history.Found) (repeated bool, err error) {
	return l.file.PutFound(batch)
}

// Sweep forgets what is older than it is kept.
func (l *Ledger) Sweep(ctx context.Context) error { return l.file.Sweep(ctx) }
