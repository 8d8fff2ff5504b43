package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"

	"openimds/internal/fault"
	"openimds/internal/store"
)

// Guarantee 5, with many writers and watches from different revisions: each
// commit once, in order, whole, and not before it can be read.
func (s Suite) watchConcurrent(t *testing.T) {
	const writers, commits = 4, 40
	st := s.open(t, Limits{})
	openAccounts(t, st)
	end := make(chan uint64, 16) // the last revision, for each watch
	var writing, watching sync.WaitGroup
	follow := func(after uint64) {
		w := watch(t, st, "account/", after)
		balance := map[string]store.Entry{}
		if after > 0 {
			for _, e := range list(t, st, "account/", store.ListOptions{Revision: after}).Entries {
				balance[e.Key] = e
			}
		}
		watching.Go(func() {
			var last uint64
			for at := after; last == 0 || at < last; {
				b, err := nextOf(t, w)
				if err != nil {
					t.Errorf("Next: %v", err)
					return
				}
				if b.Revision <= at {
					t.Errorf("revision %d after %d", b.Revision, at)
				}
				at = b.Revision
				for _, e := range b.Events {
					if !strings.HasPrefix(e.Key, "account/") || e.Deleted || e.Modified != b.Revision {
						t.Errorf("event %+v in revision %d", e, b.Revision)
					}
					balance[e.Key] = e.Entry
					if now, err := st.Get(t.Context(), e.Key); err != nil || now.Modified < b.Revision {
						t.Errorf("the watch is at revision %d and Get at %d, %v", b.Revision, now.Modified, err)
					}
				}
				var all []store.Entry
				for _, e := range balance {
					all = append(all, e)
				}
				if sum(all) != total {
					t.Errorf("the accounts have %d after revision %d, want %d", sum(all), at, total)
				}
				if last == 0 {
					select {
					case last = <-end:
					default:
					}
				}
			}
			l, err := st.List(t.Context(), "account/", store.ListOptions{})
			for _, e := range l.Entries {
				if !reflect.DeepEqual(balance[e.Key], e) {
					t.Errorf("the watch ends with %+v, the store with %+v", balance[e.Key], e)
				}
			}
			if err != nil {
				t.Errorf("List: %v", err)
			}
		})
	}
	follow(0)
	follow(1)
	for w := range writers {
		writing.Go(func() {
			for i := range commits {
				if err := transfer(t.Context(), st, (w+i)%accounts, (w+i+2)%accounts); err != nil {
					t.Errorf("transfer: %v", err)
					return
				}
				if _, err := st.Commit(t.Context(), put("other", strconv.Itoa(i))); err != nil {
					t.Errorf("Commit: %v", err)
				}
			}
		})
	}
	writing.Wait()
	end <- revision(t, st) + 1
	end <- revision(t, st) + 1
	// Something that both wait for.
	commit(t, st, put("account/0", string(list(t, st, "account/0", store.ListOptions{}).Entries[0].Value)))
	watching.Wait()
}

// Guarantee 5: who watches a quiet corner learns how far the store is.
func (s Suite) bookmarks(t *testing.T) {
	st := s.open(t, Limits{})
	w := watch(t, st, "quiet/", 0)
	commit(t, st, put("loud", "1"))
	commit(t, st, put("quiet/a", "1", "loud", "2"))
	reach := func(want uint64) (batches []string) {
		t.Helper()
		for {
			b := next(t, w)
			if len(b.Events) > 0 {
				batches = append(batches, text(b))
			}
			if b.Revision >= want {
				return batches
			}
		}
	}
	if got, want := reach(2), []string{"2: quiet/a=1@2-2"}; !reflect.DeepEqual(got, want) {
		t.Errorf("the watch gives %q, want %q", got, want)
	}
	for i := range 10 {
		commit(t, st, put("loud", strconv.Itoa(i)))
	}
	if got := reach(12); got != nil {
		t.Errorf("the watch gives %q, want bookmarks", got)
	}
	commit(t, st, store.Tx{Delete: []string{"quiet/a", "loud"}})
	if got, want := reach(13), []string{"13: -quiet/a@13"}; !reflect.DeepEqual(got, want) {
		t.Errorf("the watch gives %q, want %q", got, want)
	}
	// There is nothing else, not even a bookmark.
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan string)
	go func() {
		b, err := w.Next(ctx)
		got <- fmt.Sprint(text(b), err)
	}()
	cancel()
	if g := <-got; g != "0:context canceled" {
		t.Errorf("Next of a watch that has all: %s", g)
	}
}

// Guarantee 5: a slow watch holds nobody up, and loses nothing.
func (s Suite) slowWatch(t *testing.T) {
	const lag, commits = 8, 100
	st := s.open(t, Limits{Lag: lag})
	w := watch(t, st, "", 0)
	for i := range commits {
		commit(t, st, put("k", strconv.Itoa(i)))
	}
	cuts, at := 0, uint64(0)
	for at < commits {
		b, err := nextOf(t, w)
		if errors.Is(err, store.ErrLagging) {
			if _, again := nextOf(t, w); !errors.Is(again, store.ErrLagging) {
				t.Errorf("Next after ErrLagging: %v", again)
			}
			if cuts++; cuts > commits {
				t.Fatal("cut off again and again, without any commit")
			}
			w = watch(t, st, "", at)
			continue
		}
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		if want := fmt.Sprintf("%d: k=%d@1-%[1]d", at+1, at); text(b) != want {
			t.Fatalf("after %d cuts: %q, want %q", cuts, text(b), want)
		}
		at++
	}
	// One that is always just in time is never cut off.
	for i := range commits {
		commit(t, st, put("k", strconv.Itoa(i)))
		if i%lag == lag-1 {
			for range lag {
				next(t, w)
			}
		}
	}
	// One that has got something and then stops reading is.
	for i := range commits {
		commit(t, st, put("k", strconv.Itoa(i)))
	}
	if _, err := nextOf(t, w); err == nil {
		t.Errorf("a watch that is %d behind goes on, with a bound of %d", commits, lag)
	} else {
		wantError(t, "a watch that is behind", err, store.ErrLagging)
		if fault.KindOf(err) != fault.Unavailable {
			t.Errorf("ErrLagging has kind %v", fault.KindOf(err))
		}
	}
}

// Guarantee 5: a watch ends when it is told to, and only then.
func (s Suite) endOfWatch(t *testing.T) {
	st := s.open(t, Limits{})
	ctx, cancel := context.WithCancel(t.Context())
	w, err := st.Watch(ctx, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	cancel() // bounds the call alone
	commit(t, st, put("a", "1"))
	wantNext(t, w, "1: a=1@1-1")

	ended := make(chan error)
	go func() { ended <- second(nextOf(t, w)) }()
	w.Close()
	w.Close()
	wantError(t, "Next during Close", <-ended, store.ErrClosed)
	commit(t, st, put("a", "2"))
	wantError(t, "Next after Close", second(w.Next(t.Context())), store.ErrClosed)

	_, err = st.Watch(t.Context(), "", 3)
	wantError(t, "Watch after a revision to come", err, store.ErrCompacted)
}

// firstError watches and returns the first error, from Watch or from Next.
func firstError(t testing.TB, st store.Store, after uint64) error {
	w, err := st.Watch(t.Context(), "", after)
	if err != nil {
		return err
	}
	defer w.Close()
	b, err := nextOf(t, w)
	if err == nil && b.Revision != after+1 {
		return fmt.Errorf("next after revision %d gives %d", after, b.Revision)
	}
	return err
}

// Guarantee 6: what is forgotten is reported as such, and nothing else is.
func (s Suite) compaction(t *testing.T) {
	st := s.open(t, Limits{})
	for i := range 10 {
		commit(t, st, put("k", strconv.Itoa(i), "k"+strconv.Itoa(i), ""))
	}
	before := content(t, st)
	for _, upTo := range []uint64{0, 4, 3, 4, 10} {
		if err := st.Compact(t.Context(), upTo); err != nil {
			t.Fatalf("Compact(%d): %v", upTo, err)
		}
		remembered := max(upTo, 4)
		if upTo == 0 {
			remembered = 0
		}
		for after := range uint64(10) {
			err := firstError(t, st, after)
			switch {
			case after >= remembered && err != nil:
				t.Errorf("compacted up to %d: a watch after %d: %v", remembered, after, err)
			case after < remembered:
				wantError(t, fmt.Sprintf("compacted up to %d: a watch after %d", remembered, after), err, store.ErrCompacted)
			}
		}
	}
	wantKind(t, "Compact up to a revision to come", st.Compact(t.Context(), 11), fault.Invalid)
	if r := revision(t, st); r != 10 {
		t.Errorf("revision %d, want 10", r)
	}
	if got := content(t, st); !reflect.DeepEqual(got, before) {
		t.Errorf("the store has %q, want %q", got, before)
	}
	// The way on.
	l := list(t, st, "", store.ListOptions{})
	w := watch(t, st, "", l.Revision)
	commit(t, st, put("k", "x"))
	wantNext(t, w, "11: k=x@1-11")
}

// Guarantee 6: a store forgets by itself, but not what it was told to keep.
func (s Suite) automaticCompaction(t *testing.T) {
	const keep = 20
	st := s.open(t, Limits{Keep: keep, Lag: 4})
	for i := range 5 * keep {
		commit(t, st, put("k", strconv.Itoa(i)))
		if at := uint64(i + 1); i%keep == 0 && at > keep {
			if err := firstError(t, st, at-keep); err != nil {
				t.Errorf("at revision %d a watch after %d: %v", at, at-keep, err)
			}
		}
	}
	wantError(t, "a watch from the beginning", firstError(t, st, 0), store.ErrCompacted)
}

// Guarantees 5 and 6: whatever commits and compactions do, a reader that keeps
// the rules has what the store has, and never goes back.
func (s Suite) compactionConcurrent(t *testing.T) {
	const commits = 150
	st := s.open(t, Limits{Keep: 20, Lag: 4})
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		defer close(done)
		for i := range commits {
			tx := put(fmt.Sprintf("k%d", i%7), strconv.Itoa(i))
			if i%5 == 4 {
				tx = store.Tx{Put: tx.Put, Delete: []string{fmt.Sprintf("k%d", (i+3)%7)}}
			}
			r, err := st.Commit(t.Context(), tx)
			if err == nil && i%10 == 9 {
				err = st.Compact(t.Context(), r-uint64(i%4))
			}
			if err != nil {
				t.Errorf("commit %d: %v", i, err)
				return
			}
		}
	})
	for range 3 {
		group.Go(func() { s.reader(t, st, done, commits) })
	}
	group.Wait()
}

// reader mirrors a store by list and watch until it has reached a revision.
func (s Suite) reader(t *testing.T, st store.Store, done <-chan struct{}, until uint64) {
	mirror := map[string]store.Entry{}
	at, have := uint64(0), false
	for at < until {
		if !have {
			l, err := st.List(t.Context(), "", store.ListOptions{})
			if err != nil || l.Revision < at {
				t.Errorf("List at revision %d after %d, %v", l.Revision, at, err)
				return
			}
			clear(mirror)
			for _, e := range l.Entries {
				mirror[e.Key] = e
			}
			at, have = l.Revision, true
		}
		w, err := st.Watch(t.Context(), "", at)
		for err == nil && at < until {
			var b store.Batch
			if b, err = nextOf(t, w); err != nil {
				break
			}
			if b.Revision != at+1 {
				t.Errorf("revision %d after %d", b.Revision, at)
				return
			}
			at = b.Revision
			for _, e := range b.Events {
				if _, there := mirror[e.Key]; e.Deleted && !there {
					t.Errorf("revision %d deletes %s, which is not there", at, e.Key)
				}
				delete(mirror, e.Key)
				if !e.Deleted {
					mirror[e.Key] = e.Entry
				}
			}
		}
		if w != nil {
			w.Close()
		}
		switch {
		case err == nil, errors.Is(err, store.ErrLagging):
		case errors.Is(err, store.ErrCompacted):
			have = false
		default:
			t.Errorf("watch after %d: %v", at, err)
			return
		}
	}
	<-done
	for _, e := range list(t, st, "", store.ListOptions{}).Entries {
		if !reflect.DeepEqual(mirror[e.Key], e) {
			t.Errorf("the mirror has %+v, the store %+v", mirror[e.Key], e)
		}
		delete(mirror, e.Key)
	}
	if len(mirror) > 0 {
		t.Errorf("the mirror has more than the store: %v", mirror)
	}
}
