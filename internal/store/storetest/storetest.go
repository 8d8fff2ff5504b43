// Package storetest is the suite that every implementation of store.Store is
// held to: each of the seven guarantees by its number, a state machine against
// a simple model, and many goroutines at once. It is for tests, and means most
// under the race detector.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"openimds/internal/fault"
	"openimds/internal/store"
)

// Suite is an implementation under test.
type Suite struct {
	// Open returns an empty store. Who asked for it closes it.
	Open func(t testing.TB, l Limits) store.Store
	// Reopen closes a store and opens what it has left. Nil: it leaves nothing.
	Reopen func(t testing.TB, s store.Store) store.Store
	// Break makes writes of the store fail until mend is called. Nil: they
	// cannot fail.
	Break func(t testing.TB, s store.Store) (mend func())
}

// Limits are bounds to set for a test; 0: whatever is usual.
type Limits struct {
	Keep int // revisions of history
	Lag  int // batches that a watch may be behind
}

// Run runs the suite.
func (s Suite) Run(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(*testing.T)
		may  bool
	}{
		{"1 atomic", s.atomic, true},
		{"2 durable", s.durable, s.Reopen != nil},
		{"3 linear", s.linear, true},
		{"3 conditions", s.conditions, true},
		{"3 concurrent", s.linearConcurrent, true},
		{"3 no lost update", s.noLostUpdate, true},
		{"4 one revision", s.oneRevision, true},
		{"4 pages", s.pages, true},
		{"5 watch", s.watchConcurrent, true},
		{"5 bookmarks", s.bookmarks, true},
		{"5 slow watch", s.slowWatch, true},
		{"5 end of a watch", s.endOfWatch, true},
		{"6 compaction", s.compaction, true},
		{"6 automatic compaction", s.automaticCompaction, true},
		{"6 compaction meanwhile", s.compactionConcurrent, true},
		{"7 writes fail", s.writesFail, s.Break != nil},
		{"copies", s.copies, true},
		{"limits", s.limits, true},
		{"context", s.context, true},
		{"closed", s.closed, true},
		{"copy of a store", s.copyStore, true},
		{"model", s.model, true},
	} {
		if test.may {
			t.Run(test.name, test.run)
		}
	}
}

// open opens a store for the length of a test.
func (s Suite) open(t testing.TB, l Limits) store.Store {
	t.Helper()
	st := s.Open(t, l)
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return st
}

// patience ends a test that hangs; no test waits for it.
const patience = 2 * time.Minute

// nextOf is Next with patience.
func nextOf(t testing.TB, w store.Watcher) (store.Batch, error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return w.Next(ctx)
}

func put(pairs ...string) store.Tx {
	var tx store.Tx
	for i := 0; i < len(pairs); i += 2 {
		tx.Put = append(tx.Put, store.Pair{Key: pairs[i], Value: []byte(pairs[i+1])})
	}
	return tx
}

func commit(t testing.TB, s store.Store, tx store.Tx) uint64 {
	t.Helper()
	r, err := s.Commit(t.Context(), tx)
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return r
}

func revision(t testing.TB, s store.Store) uint64 {
	t.Helper()
	r, err := s.Revision(t.Context())
	if err != nil {
		t.Fatalf("Revision: %v", err)
	}
	return r
}

func list(t testing.TB, s store.Store, prefix string, o store.ListOptions) store.Listing {
	t.Helper()
	l, err := s.List(t.Context(), prefix, o)
	if err != nil {
		t.Fatalf("List(%q, %+v): %v", prefix, o, err)
	}
	return l
}

// content is all there is, as key=value@created-modified.
func content(t testing.TB, s store.Store) []string {
	t.Helper()
	out := []string{}
	for _, e := range list(t, s, "", store.ListOptions{}).Entries {
		out = append(out, fmt.Sprintf("%s=%s@%d-%d", e.Key, e.Value, e.Created, e.Modified))
	}
	return out
}

func wantContent(t testing.TB, s store.Store, want ...string) {
	t.Helper()
	if got := content(t, s); !reflect.DeepEqual(got, append([]string{}, want...)) {
		t.Errorf("the store has %q, want %q", got, want)
	}
}

func wantKind(t testing.TB, what string, err error, want fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != want {
		t.Errorf("%s: %v, want an error of kind %v", what, err, want)
	}
}

func wantError(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func watch(t testing.TB, s store.Store, prefix string, after uint64) store.Watcher {
	t.Helper()
	w, err := s.Watch(t.Context(), prefix, after)
	if err != nil {
		t.Fatalf("Watch(%q, %d): %v", prefix, after, err)
	}
	t.Cleanup(w.Close)
	return w
}

// text writes a batch on one line.
func text(b store.Batch) string {
	out := fmt.Sprint(b.Revision, ":")
	for _, e := range b.Events {
		if e.Deleted {
			out += fmt.Sprintf(" -%s@%d", e.Key, e.Modified)
		} else {
			out += fmt.Sprintf(" %s=%s@%d-%d", e.Key, e.Value, e.Created, e.Modified)
		}
	}
	return out
}

func next(t testing.TB, w store.Watcher) store.Batch {
	t.Helper()
	b, err := nextOf(t, w)
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	return b
}

func wantNext(t testing.TB, w store.Watcher, want string) {
	t.Helper()
	if got := text(next(t, w)); got != want {
		t.Errorf("Next gives %q, want %q", got, want)
	}
}
