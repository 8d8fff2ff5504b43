package fanout

import (
	"bytes"
	"context"
	"strings"
	"sync"

	"openimds/internal/store"
)

// watcher is a place in the history of a hub.
type watcher struct {
	hub    *Hub
	prefix string
	once   sync.Once
	done   chan struct{} // closed by Close

	// What follows belongs to Next.
	at   uint64        // every batch up to here has been looked at
	told uint64        // the reader knows that
	past []store.Batch // read from the store's history, after at
	live bool          // at has been in the window: from now on it must stay there
}

func (w *watcher) Close() { w.once.Do(func() { close(w.done) }) }

func (w *watcher) Next(ctx context.Context) (store.Batch, error) {
	for {
		// Asked first, so that an ended watch does not go on because there
		// happens to be a batch.
		select {
		case <-w.done:
			return store.Batch{}, store.ErrClosed
		default:
		}
		if err := ctx.Err(); err != nil {
			return store.Batch{}, err
		}
		b, news, err := w.look(ctx)
		switch {
		case err != nil:
			return store.Batch{}, err
		case news == nil:
			w.at = b.Revision
			if b = w.pick(b); len(b.Events) > 0 {
				w.told = w.at
				return b, nil
			}
		case w.told < w.at:
			w.told = w.at
			return store.Batch{Revision: w.at}, nil
		default:
			select {
			case <-news:
			case <-w.done:
			case <-ctx.Done():
			}
		}
	}
}

// look returns the batch after w.at, or if there is none yet the channel that
// is closed when there is.
func (w *watcher) look(ctx context.Context) (store.Batch, <-chan struct{}, error) {
	if len(w.past) > 0 {
		b := w.past[0]
		w.past = w.past[1:]
		return b, nil, nil
	}
	b, news, err := w.lookLive()
	if b.Revision > 0 || news != nil || err != nil {
		return b, news, err
	}
	past, err := w.hub.past(ctx, w.at)
	if err != nil {
		return store.Batch{}, nil, err
	}
	w.past = past[1:]
	return past[0], nil, nil
}

// lookLive is look in the hub's window. It returns nothing if the place of the
// watch is before that.
func (w *watcher) lookLive() (store.Batch, <-chan struct{}, error) {
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	batches, there := h.window.After(w.at, h.head)
	switch {
	case h.closed:
		return store.Batch{}, nil, store.ErrClosed
	case !there && w.live:
		return store.Batch{}, nil, store.ErrLagging
	case !there:
		return store.Batch{}, nil, nil
	}
	w.live = true
	if len(batches) == 0 {
		return store.Batch{}, h.news, nil
	}
	return batches[0], nil, nil
}

// pick returns what of a batch is under the watch's prefix, as a copy.
func (w *watcher) pick(b store.Batch) store.Batch {
	out := store.Batch{Revision: b.Revision}
	for _, e := range b.Events {
		if strings.HasPrefix(e.Key, w.prefix) {
			e.Value = bytes.Clone(e.Value)
			out.Events = append(out.Events, e)
		}
	}
	return out
}
