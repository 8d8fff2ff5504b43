package boltstore

import (
	"slices"
	"sync"

	"openimds/internal/store"
)

// Bounds of the commits that share one sync.
const (
	groupCount = 1024
	groupBytes = 8 << 20
)

// request is a commit that waits for its turn, and then for its outcome.
type request struct {
	tx   store.Tx
	size int
	done chan struct{} // closed when revision and err are set

	revision uint64
	err      error
}

// queue holds the requests that nobody has taken yet.
type queue struct {
	ready chan struct{} // has an element when there may be something to take

	mu      sync.Mutex // guards what follows
	waiting []*request
	closed  bool
}

// add reports false if the queue is closed.
func (q *queue) add(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.waiting = append(q.waiting, r)
	q.wake()
	return true
}

// withdraw reports false if the request has been taken.
func (q *queue) withdraw(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, r)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}

// take waits for requests and returns as many as may share a sync; none when
// the queue is closed and empty.
func (q *queue) take() []*request {
	for {
		if group, closed := q.cut(); len(group) > 0 || closed {
			return group
		}
		<-q.ready
	}
}

func (q *queue) cut() (group []*request, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for n < len(q.waiting) && n < groupCount && (n == 0 || size+q.waiting[n].size <= groupBytes) {
		size += q.waiting[n].size
		n++
	}
	group = slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	return group, q.closed
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake()
}

func (q *queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// wake lets take look again. The caller holds the lock.
func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}
