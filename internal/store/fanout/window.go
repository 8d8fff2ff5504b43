package fanout

import "openimds/internal/store"

// Window is the newest part of a history: batches of successive revisions,
// bounded in number and in bytes. It is for one goroutine at a time.
type Window struct {
	// Count and Bytes are the bounds. The newest batch stays, whatever its
	// size.
	Count, Bytes int

	batches []store.Batch
	sizes   []int
	bytes   int
}

// Push adds the batch of the next revision, and drops old ones.
func (w *Window) Push(b store.Batch) {
	size := batchSize(b)
	w.batches, w.sizes, w.bytes = append(w.batches, b), append(w.sizes, size), w.bytes+size
	for len(w.batches) > 1 && (len(w.batches) > w.Count || w.bytes > w.Bytes) {
		w.drop()
	}
}

// Forget drops the batches up to and including a revision.
func (w *Window) Forget(revision uint64) {
	for len(w.batches) > 0 && w.batches[0].Revision <= revision {
		w.drop()
	}
}

func (w *Window) drop() {
	w.bytes -= w.sizes[0]
	w.batches[0] = store.Batch{}
	w.batches, w.sizes = w.batches[1:], w.sizes[1:]
}

// After returns the batches after a revision, in a slice that is good until the
// window changes. It reports false when the first of them is no longer there;
// head is the revision of the newest commit.
func (w *Window) After(revision, head uint64) ([]store.Batch, bool) {
	if revision >= head {
		return nil, true
	}
	missing := head - revision
	if missing > uint64(len(w.batches)) {
		return nil, false
	}
	return w.batches[uint64(len(w.batches))-missing:], true
}

// overhead is about what an event takes in memory beside its key and value.
const overhead = 64

func batchSize(b store.Batch) int {
	n := overhead
	for _, e := range b.Events {
		n += overhead + len(e.Key) + len(e.Value)
	}
	return n
}
