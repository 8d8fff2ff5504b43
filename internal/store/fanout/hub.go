// Package fanout gives committed batches to any number of watches. A watch is
// a place in the history and nothing else: a store publishes each batch once,
// into one window that all share, so a commit costs the same whether nobody
// watches or everybody, and no slow reader can hold it up.
package fanout

import (
	"context"
	"sync"

	"openimds/internal/store"
)

// Bounds of the window that watches share, when a Config names none.
const (
	DefaultCount = 1024
	DefaultBytes = 16 << 20
)

// Config of a Hub.
type Config struct {
	// Head is the revision of the newest commit so far.
	Head uint64
	// Count and Bytes bound what a watch may be behind before it is cut off;
	// 0: the defaults.
	Count, Bytes int
	// Past reads history for a watch that starts behind the window: some of
	// the batches after a revision, at least the first of them, in order. The
	// error is store.ErrCompacted when that one is forgotten. The hub reads
	// the batches, and does not change them.
	Past func(ctx context.Context, after uint64) ([]store.Batch, error)
}

// Hub is the meeting place of one store's commits and watches. All methods may
// be called by many goroutines at once.
type Hub struct {
	past func(ctx context.Context, after uint64) ([]store.Batch, error)

	mu     sync.Mutex // guards what follows
	window Window
	head   uint64
	news   chan struct{} // closed and replaced when head rises or closed is set
	closed bool
}

// New returns a hub.
func New(c Config) *Hub {
	if c.Count <= 0 {
		c.Count = DefaultCount
	}
	if c.Bytes <= 0 {
		c.Bytes = DefaultBytes
	}
	return &Hub{past: c.Past, window: Window{Count: c.Count, Bytes: c.Bytes}, head: c.Head, news: make(chan struct{})}
}

// Head returns the revision of the newest batch that was published.
func (h *Hub) Head() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.head
}

// Publish makes batches, of the revisions that follow the head, known to all
// watches. The hub keeps them: they must not change any more.
func (h *Hub) Publish(batches ...store.Batch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range batches {
		if b.Revision != h.head+1 {
			panic("fanout: a batch is missing, or published twice")
		}
		h.window.Push(b)
		h.head = b.Revision
	}
	h.tell()
}

// Close ends all watches with store.ErrClosed.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.tell()
}

// tell wakes all who wait. The caller holds the lock.
func (h *Hub) tell() {
	close(h.news)
	h.news = make(chan struct{})
}

// Wait returns when the head has reached a revision. The error is the
// context's, or store.ErrClosed.
func (h *Hub) Wait(ctx context.Context, revision uint64) error {
	for {
		h.mu.Lock()
		head, closed, news := h.head, h.closed, h.news
		h.mu.Unlock()
		switch {
		case head >= revision:
			return nil
		case closed:
			return store.ErrClosed
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Watch returns a watch of a prefix after a revision. Whether the revision is
// still remembered, the store has found out.
func (h *Hub) Watch(prefix string, after uint64) (store.Watcher, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, store.ErrClosed
	case after > h.head:
		return nil, store.ErrCompacted
	}
	return &watcher{hub: h, prefix: prefix, at: after, told: after, done: make(chan struct{})}, nil
}
