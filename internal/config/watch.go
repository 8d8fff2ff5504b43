package config

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"time"

	"openimds/internal/instance"
)

// DefaultInterval is how often a Watcher looks at its file.
const DefaultInterval = 250 * time.Millisecond

// Watcher follows an instances file as it is edited, replaced, deleted and made
// again. A change takes effect when two looks in a row have seen it, so that a
// file that is being written is not read in the middle. Its methods are for
// one goroutine at a time.
type Watcher struct {
	// Path of the file.
	Path string
	// Interval between looks; 0: DefaultInterval.
	Interval time.Duration
	// OnChange is given the instances of a good file: when its content is
	// another than that of the last good one, and when it is good again after
	// an error.
	OnChange func([]*instance.Instance)
	// OnError is given what is wrong with the file, once for each error. The
	// instances given last stay in force.
	OnError func(error)

	good    *content    // in force; nil: none yet
	pending content     // seen by the last look, and not yet by two
	settled bool        // pending has been acted on
	rushed  int         // looks since pending settled last
	problem string      // the error reported last; empty: the file is good
	stat    os.FileInfo // of the last look
	looked  time.Time   // when that was
}

// content identifies what a file held, or the error of opening it.
type content struct {
	sum [sha256.Size]byte
	err string
}

// Load reads the file at once. The content that it returns instances for is
// the one that Run compares with.
func (w *Watcher) Load() ([]*instance.Instance, error) {
	data, c, err := w.read()
	if err != nil {
		return nil, err
	}
	all, err := ParseInstances(w.Path, data)
	if err == nil {
		w.good, w.pending, w.settled = &c, c, true
	}
	return all, err
}

// Run looks at the file until ctx is done. Without Load before it, the first
// good content is a change.
func (w *Watcher) Run(ctx context.Context) {
	interval := w.Interval
	if interval <= 0 {
		interval = DefaultInterval
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.look()
		}
	}
}

// mostRushed is how many looks a file that changes all the time is given to
// settle before it is read as it is.
const mostRushed = 8

// look is one look at the file.
func (w *Watcher) look() {
	now, err := os.Stat(w.Path)
	if err == nil && (w.settled && w.unchanged(now) || !now.Mode().IsRegular() && !now.IsDir()) {
		// Pipes, which Load may have read, give nothing a second time.
		return
	}
	data, c, err := w.read()
	if c != w.pending && w.rushed < mostRushed {
		w.pending, w.settled = c, false
		w.rushed++
		return
	}
	w.rushed = 0
	if c == w.pending && w.settled {
		return
	}
	w.pending, w.settled = c, true
	if err != nil {
		w.fail(err)
		return
	}
	if w.good != nil && *w.good == c && w.problem == "" {
		return
	}
	all, err := ParseInstances(w.Path, data)
	if err != nil {
		w.fail(err)
		return
	}
	w.good, w.problem = &c, ""
	w.OnChange(all)
}

func (w *Watcher) fail(err error) {
	if text := err.Error(); text != w.problem {
		w.problem = text
		w.OnError(err)
	}
}

// settling is how long after its time of modification a file may change again
// without the time showing it: file systems count in steps of up to 2 s.
const settling = 3 * time.Second

// unchanged reports whether the file is surely the one that was read last.
func (w *Watcher) unchanged(now os.FileInfo) bool {
	return w.stat != nil && w.looked.Sub(w.stat.ModTime()) >= settling &&
		os.SameFile(now, w.stat) && now.Size() == w.stat.Size() && now.ModTime().Equal(w.stat.ModTime())
}

// read reads the file and remembers its stat.
func (w *Watcher) read() ([]byte, content, error) {
	w.stat = nil
	fail := func(err error) ([]byte, content, error) {
		err = fmt.Errorf("read instances file: %w", err)
		return nil, content{err: err.Error()}, err
	}
	f, err := os.Open(w.Path)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	// One byte more than allowed is enough to see that a file is too large.
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return fail(err)
	}
	w.stat, w.looked = stat, time.Now()
	return data, content{sum: sha256.Sum256(data)}, nil
}
