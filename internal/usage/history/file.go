package history

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"openimds/internal/fault"
	"openimds/internal/usage/series"
)

// tier is where the points of a resolution are.
type tier struct {
	series.Resolution
	bucket []byte
	span   time.Duration // of one record
}

// tiers are those of all resolutions, the finest first. A record holds some
// dozens of steps.
var tiers = func() (all []tier) {
	for i, r := range series.Resolutions() {
		all = append(all, tier{r, fmt.Appendf(nil, "%d", int(r.Step/time.Second)), []time.Duration{time.Hour, 24 * time.Hour, 14 * 24 * time.Hour}[i]})
	}
	return all
}()

// tierOf returns the tier of a resolution.
func tierOf(r series.Resolution) tier {
	for _, t := range tiers {
		if t.Step == r.Step {
			return t
		}
	}
	return tiers[len(tiers)-1]
}

// Config is what a File is made of. Path is required.
type Config struct {
	// Path of the file. It is made if there is none.
	Path string
	// Timeout is how long to wait for a process that holds the file; 5 s by default.
	Timeout time.Duration
	// Together is how long a report waits for others to share a write with; 20 ms by default.
	Together time.Duration
	// Passing: the file need not outlive the machine, and is not written through.
	Passing bool
	// Taken is told of each report that was taken, once, after it is on the disk. It must not block.
	Taken  func(series.Report)
	Now    func() time.Time
	Logger *slog.Logger
}

// File is the series of all instances. Its methods are safe for concurrent use.
type File struct {
	cfg Config
	db  *bolt.DB
	log *slog.Logger

	mu      sync.Mutex // guards waiting, owner, and closed
	waiting []*request
	owner   func(instance string) (Owner, bool)
	closed  bool
	wake    chan struct{} // holds one
	done    chan struct{}
}

// request is a report that is to be written.
type request struct {
	report series.Report
	done   chan error
}

var (
	metaBucket  = []byte("meta")
	nodesBucket = []byte("nodes")
	gapsBucket  = []byte("gaps")
	layoutKey   = []byte("layout")
)

// layout is the version of the file's form.
const layout = "1"

// Open opens or makes a file.
func Open(cfg Config) (*File, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Together == 0 {
		cfg.Together = 20 * time.Millisecond
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	db, err := bolt.Open(cfg.Path, 0o600, &bolt.Options{Timeout: cfg.Timeout, FreelistType: bolt.FreelistMapType, NoSync: cfg.Passing, NoFreelistSync: cfg.Passing})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fault.New(fault.Unavailable, "open usage file %s: another process holds it", cfg.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("open usage file %s: %w", cfg.Path, err)
	}
	f := &File{cfg: cfg, db: db, log: cfg.Logger, wake: make(chan struct{}, 1), done: make(chan struct{})}
	if err := db.Update(f.begin); err != nil {
		return nil, errors.Join(fmt.Errorf("open usage file %s: %w", cfg.Path, err), db.Close())
	}
	go f.write()
	return f, nil
}

// begin makes what is missing and notes that the file is in use.
func (f *File) begin(tx *bolt.Tx) error {
	for _, r := range tiers {
		if _, err := tx.CreateBucketIfNotExists(r.bucket); err != nil {
			return err
		}
	}
	for _, name := range [][]byte{metaBucket, nodesBucket, gapsBucket, callersBucket, servedBucket, findingsBucket, ownersBucket, batchesBucket, takenBucket} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	meta := tx.Bucket(metaBucket)
	switch l := meta.Get(layoutKey); {
	case l == nil:
		if err := meta.Put(layoutKey, []byte(layout)); err != nil {
			return err
		}
	case string(l) != layout:
		return fault.New(fault.Unsupported, "it has the form %.8q, this program knows %q: use a newer one", l, layout)
	}
	return nil
}

// Close writes what was accepted and closes the file.
func (f *File) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil
	}
	f.closed = true
	f.mu.Unlock()
	f.stir()
	<-f.done
	return f.db.Close()
}

// Record adds a report. When it returns nil, the report is on the disk, or was
// before. A report that is too far ahead of others of its node is
// fault.Conflict: those come first. Samples from before what is kept are left
// out; what a node's wrong clock says is put right.
func (f *File) Record(ctx context.Context, r series.Report) error {
	if r.Sequence == 0 || r.Boot == "" {
		return fault.New(fault.Invalid, "a usage report needs its node's boot and a sequence number from 1")
	}
	q := &request{r, make(chan error, 1)}
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return fault.New(fault.Unavailable, "the usage file is closed")
	}
	f.waiting = append(f.waiting, q)
	f.mu.Unlock()
	f.stir()
	select {
	case err := <-q.done:
		return err
	case <-ctx.Done():
		return ctx.Err() // it may be written all the same: the sender sends it again
	}
}

func (f *File) stir() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// write writes what waits, together, until the file is closed.
func (f *File) write() {
	defer close(f.done)
	for range f.wake {
		f.mu.Lock()
		closed := f.closed
		f.mu.Unlock()
		if !closed {
			time.Sleep(f.cfg.Together)
		}
		f.mu.Lock()
		batch := f.waiting
		f.waiting = nil
		closed = f.closed
		f.mu.Unlock()
		f.writeAll(batch)
		if closed {
			return
		}
	}
}

// writeAll writes a batch in one transaction. Where one report cannot be
// written, each is tried by itself.
func (f *File) writeAll(batch []*request) {
	if len(batch) == 0 {
		return
	}
	var fresh []series.Report
	err := f.db.Update(func(tx *bolt.Tx) error {
		fresh = nil
		for _, q := range batch {
			taken, err := f.put(tx, q.report)
			if err != nil {
				return err
			}
			if taken {
				fresh = append(fresh, q.report)
			}
		}
		return nil
	})
	if err != nil && len(batch) > 1 {
		for _, q := range batch {
			f.writeAll([]*request{q})
		}
		return
	}
	if err != nil && fault.KindOf(err) == fault.Internal {
		err = fault.Wrap(fault.Unavailable, err, "a usage report was not written")
	}
	if f.cfg.Taken != nil && err == nil {
		for _, r := range fresh {
			f.cfg.Taken(r)
		}
	}
	for _, q := range batch {
		q.done <- err
	}
}

// put adds a report within a transaction. It is false for one that was taken
// before.
func (f *File) put(tx *bolt.Tx, r series.Report) (bool, error) {
	nodes := tx.Bucket(nodesBucket)
	key := nodeKey(r.Node, r.Boot)
	s, err := decodeSeen(nodes.Get(key))
	if err != nil {
		return false, fmt.Errorf("reports of node %q: %w", r.Node, err)
	}
	if s.behind(r.Sequence) {
		return false, nil
	}
	if r.Skipped > 0 {
		s.skip(r.Sequence, r.Skipped)
	}
	if !s.take(r.Sequence) {
		return false, fault.New(fault.Conflict, "report %d of node %q is too far ahead: report %d has not come", r.Sequence, r.Node, s.upTo+1)
	}
	if r.Skipped > 0 {
		if err := putGap(tx, Gap{Node: r.Node, From: r.Lost, To: r.From}); err != nil {
			return false, err
		}
	}
	now := f.cfg.Now()
	right(&r, now)
	settled := frozen(tx)
	for _, sample := range r.Samples {
		at := time.Unix(sample.Minute*60, 0)
		if sample.Counts.Zero() || sample.Instance == "" {
			continue
		}
		for _, res := range tiers {
			if now.Sub(at) > res.Keep {
				continue
			}
			if err := addTo(tx.Bucket(res.bucket), res, sample); err != nil {
				return false, fmt.Errorf("instance %q: %w", sample.Instance, err)
			}
		}
		if sample.Minute <= settled {
			if err := addLate(tx, sample); err != nil {
				return false, fmt.Errorf("instance %q: %w", sample.Instance, err)
			}
		}
	}
	if err := putCallers(tx, r.Callers); err != nil {
		return false, err
	}
	if err := putServed(tx, r); err != nil {
		return false, err
	}
	if err := f.putOwners(tx, r, now); err != nil {
		return false, err
	}
	if s.at == 0 {
		f.missed(tx, r)
	}
	s.at = now.Unix()
	s.cover(r)
	return true, nodes.Put(key, s.encode())
}

func addTo(b *bolt.Bucket, r tier, s series.Sample) error {
	seconds := s.Minute * 60
	span := int64(r.span / time.Second)
	at := seconds / span
	key := recordKey(at, s.Instance)
	data, err := add(b.Get(key), uint64((seconds-at*span)/int64(r.Step/time.Second)), s.Counts)
	if err != nil {
		return err
	}
	return b.Put(key, data)
}

// recordKey is a span and an instance: what is old is together, and goes
// together.
func recordKey(span int64, instance string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(span)), instance...)
}

func nodeKey(node, boot string) []byte { return []byte(node + "\x00" + boot) }

// Range returns what an instance did from a time on and before another, in
// steps of a resolution, in order; steps without any counts are left out. Both
// times are rounded down to steps.
func (f *File) Range(instance string, from, to time.Time, r series.Resolution) ([]series.Point, error) {
	var points []series.Point
	t := tierOf(r)
	step, span := int64(t.Step/time.Second), int64(t.span/time.Second)
	first, last := from.Unix()/step*step, to.Unix()/step*step // the latter is not included
	err := f.db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket(t.bucket)
		for at := first / span; at*span < last; at++ {
			err := decode(b.Get(recordKey(at, instance)), func(e entry) bool {
				if start := at*span + int64(e.slot)*step; start >= first && start < last {
					points = append(points, series.Point{Start: time.Unix(start, 0).UTC(), Counts: e.counts})
				}
				return true
			})
			if err != nil {
				return fmt.Errorf("usage of instance %q: %w", instance, err)
			}
		}
		return nil
	})
	return points, err
}

// Totals calls yield for every instance that did anything from a time on and
// before another, with what it did, at the resolution of a window; from is
// rounded down to its step. An instance comes once.
func (f *File) Totals(from, to time.Time, yield func(instance string, total Total)) error {
	return f.TotalsIn(from, to, f.Resolution(from, to), yield)
}

// Resolution is what Totals reads a window at: the finest that reaches back so
// far; but where the window is long, whole hours are enough, and a tenth as
// much.
func (f *File) Resolution(from, to time.Time) series.Resolution {
	now := f.cfg.Now()
	if minTime(to, now).Sub(from) > 48*time.Hour {
		return tiers[len(tiers)-1].Resolution
	}
	return series.Finest(from, now)
}

// TotalsIn is Totals at a resolution.
func (f *File) TotalsIn(from, to time.Time, resolution series.Resolution, yield func(instance string, total Total)) error {
	r := tierOf(resolution)
	step, span := int64(r.Step/time.Second), int64(r.span/time.Second)
	first, last := from.Unix()/step*step, to.Unix()
	all := map[string]*Total{}
	err := f.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(r.bucket).Cursor()
		for k, v := c.Seek(recordKey(first/span, "")); k != nil; k, v = c.Next() {
			at := int64(binary.BigEndian.Uint64(k))
			if at*span >= last {
				break
			}
			id := string(k[8:])
			err := decode(v, func(e entry) bool {
				start := at*span + int64(e.slot)*step
				if start < first || start >= last {
					return true
				}
				t := all[id]
				if t == nil {
					t = &Total{}
					all[id] = t
				}
				t.add(time.Unix(start, 0).UTC(), e.counts)
				return true
			})
			if err != nil {
				return fmt.Errorf("usage of instance %q: %w", id, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for id, t := range all {
		yield(id, *t)
	}
	return nil
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Total is what an instance did in a window.
type Total struct {
	Counts series.Counts
	// First and Last are the starts of the first and the last step with any counts.
	First, Last time.Time
}

func (t *Total) add(at time.Time, c series.Counts) {
	t.Counts.Add(c)
	if t.First.IsZero() || at.Before(t.First) {
		t.First = at
	}
	if at.After(t.Last) {
		t.Last = at
	}
}

// Sweep forgets what is older than it is kept. It takes little at a time, so
// that reports do not wait for it.
func (f *File) Sweep(ctx context.Context) error {
	now := f.cfg.Now()
	for _, r := range tiers {
		limit := recordKey(now.Add(-r.Keep).Unix()/int64(r.span/time.Second), "")
		for more := true; more; {
			if err := ctx.Err(); err != nil {
				return err
			}
			err := f.db.Update(func(tx *bolt.Tx) error {
				more = drop(tx.Bucket(r.bucket), limit, 1000)
				return nil
			})
			if err != nil {
				return fmt.Errorf("forget old usage: %w", err)
			}
		}
	}
	limit := now.Add(-tiers[len(tiers)-1].Keep)
	return f.db.Update(func(tx *bolt.Tx) error {
		drop(tx.Bucket(gapsBucket), binary.BigEndian.AppendUint64(nil, uint64(limit.UnixMilli())), 1000)
		return errors.Join(sweepRuns(tx, limit), sweepServed(tx, limit), sweepCallers(tx, limit), sweepFindings(tx, limit), sweepOwners(tx, limit), sweepBatches(tx, now.Add(-batchesKept)), sweepShipping(tx, limit, now))
	})
}

// drop deletes keys below limit, some at most, and reports whether there are
// more.
func drop(b *bolt.Bucket, limit []byte, most int) bool {
	c := b.Cursor()
	for k, _ := c.First(); k != nil && bytes.Compare(k, limit) < 0; k, _ = c.First() {
		if most--; most < 0 {
			return true
		}
		_ = c.Delete() // fails only in a transaction that reads
	}
	return false
}
