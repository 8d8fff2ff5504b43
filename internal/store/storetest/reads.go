package storetest

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"testing"

	"openimds/internal/fault"
	"openimds/internal/store"
)

// accounts whose sum never changes, for who looks at one revision.
const (
	accounts = 5
	total    = accounts * 100
)

func account(i int) string { return fmt.Sprintf("account/%d", i) }

func openAccounts(t testing.TB, st store.Store) {
	var tx store.Tx
	for i := range accounts {
		tx.Put = append(tx.Put, put(account(i), "100").Put...)
	}
	commit(t, st, tx)
}

// transfer moves one unit, unless somebody else was faster.
func transfer(ctx context.Context, st store.Store, from, to int) error {
	var tx store.Tx
	for i, change := range map[int]int{from: -1, to: +1} {
		e, err := st.Get(ctx, account(i))
		if err != nil {
			return err
		}
		n, _ := strconv.Atoi(string(e.Value))
		tx.Put = append(tx.Put, put(e.Key, strconv.Itoa(n+change)).Put...)
		tx.If = append(tx.If, store.Unchanged(e.Key, e.Modified))
	}
	if _, err := st.Commit(ctx, tx); fault.KindOf(err) != fault.Conflict {
		return err
	}
	return nil
}

func sum(entries []store.Entry) (n int) {
	for _, e := range entries {
		v, _ := strconv.Atoi(string(e.Value))
		n += v
	}
	return n
}

// Guarantee 4: no read sees half a commit, and none misses one that was
// acknowledged before it began.
func (s Suite) oneRevision(t *testing.T) {
	const writers, transfers = 4, 50
	st := s.open(t, Limits{})
	openAccounts(t, st)
	stop := make(chan struct{})
	var writing, reading sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range transfers {
				if err := transfer(t.Context(), st, (w+i)%accounts, (w+i+1)%accounts); err != nil {
					t.Errorf("transfer: %v", err)
					return
				}
				// A commit of our own is there when we look.
				key := fmt.Sprintf("mine/%d", w)
				r, err := st.Commit(t.Context(), put(key, ""))
				if err != nil {
					t.Errorf("Commit: %v", err)
					return
				}
				if e, err := st.Get(t.Context(), key); err != nil || e.Modified != r {
					t.Errorf("Get gives revision %d of a key that revision %d has put, %v", e.Modified, r, err)
				}
				if now, err := st.Revision(t.Context()); err != nil || now < r {
					t.Errorf("Revision gives %d after the commit of %d, %v", now, r, err)
				}
			}
		})
	}
	for range 2 {
		reading.Go(func() {
			for last := uint64(0); ; {
				select {
				case <-stop:
					return
				default:
				}
				l, err := st.List(t.Context(), "account/", store.ListOptions{})
				if err != nil || len(l.Entries) != accounts || sum(l.Entries) != total {
					t.Errorf("at revision %d there are %d accounts with %d in all, want %d with %d (%v)", l.Revision, len(l.Entries), sum(l.Entries), accounts, total, err)
					return
				}
				if l.Revision < last {
					t.Errorf("List at revision %d after one at %d", l.Revision, last)
				}
				last = l.Revision
				for _, e := range l.Entries {
					if e.Modified > l.Revision {
						t.Errorf("List at revision %d has an entry of revision %d", l.Revision, e.Modified)
					}
				}
			}
		})
	}
	writing.Wait()
	close(stop)
	reading.Wait()
}

// Guarantee 4: prefixes, and pages that fit together.
func (s Suite) pages(t *testing.T) {
	st := s.open(t, Limits{})
	all := []string{"\x00", "a", "a\x00", "a/", "a/1", "a/2", "a/2/x", "a/3", "a0", "b", "\xff", "\xff\xff", "\xff\xff\xff"}
	for _, key := range all {
		commit(t, st, put(key, key))
	}
	at := revision(t, st)
	for _, c := range []struct {
		prefix, after string
		want          []string
	}{
		{"", "", all},
		{"a/", "", []string{"a/", "a/1", "a/2", "a/2/x", "a/3"}},
		{"a/", "a/", []string{"a/1", "a/2", "a/2/x", "a/3"}},
		{"a/", "a/2", []string{"a/2/x", "a/3"}},
		{"a/", "a/25", []string{"a/3"}},
		{"a/", "a/3", nil},
		{"a/", "a", []string{"a/", "a/1", "a/2", "a/2/x", "a/3"}},
		{"a/", "b", nil},
		{"\xff", "", []string{"\xff", "\xff\xff", "\xff\xff\xff"}},
		{"\xff", "\xff\xff", []string{"\xff\xff\xff"}},
		{"none", "", nil},
		{"", "\xff\xff\xff", nil},
	} {
		for limit := range len(all) + 2 {
			var got []string
			o := store.ListOptions{After: c.after, Limit: limit, Revision: at}
			for more := true; more; {
				l := list(t, st, c.prefix, o)
				if l.Revision != at || limit > 0 && len(l.Entries) > limit || l.More && len(l.Entries) < limit {
					t.Fatalf("List(%q, %+v): %d entries, more %v, revision %d", c.prefix, o, len(l.Entries), l.More, l.Revision)
				}
				for _, e := range l.Entries {
					got = append(got, e.Key)
					o.After = e.Key
				}
				more = l.More
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("List(%q) after %q in pages of %d: %q, want %q", c.prefix, c.after, limit, got, c.want)
			}
		}
	}

	_, err := st.List(t.Context(), "", store.ListOptions{Revision: at + 1})
	wantKind(t, "List at a revision to come", err, fault.Invalid)
	commit(t, st, put("a", "2"))
	// Either the store remembers, and then rightly, or it says that it does not.
	l, err := st.List(t.Context(), "", store.ListOptions{Revision: at})
	if err != nil {
		wantError(t, "List at an old revision", err, store.ErrCompacted)
	} else if l.Revision != at || len(l.Entries) != len(all) || string(l.Entries[1].Value) != "a" {
		t.Errorf("List at revision %d gives revision %d", at, l.Revision)
	}
}

// Guarantee 7: what was, stays, and can be read.
func (s Suite) writesFail(t *testing.T) {
	st := s.open(t, Limits{})
	commit(t, st, put("a", "1", "b", "1"))
	early := watch(t, st, "", 0)
	mend := s.Break(t, st)
	for range 3 {
		_, err := st.Commit(t.Context(), store.Tx{Put: put("a", "2", "c", "2").Put, Delete: []string{"b"}})
		wantKind(t, "Commit", err, fault.Unavailable)
		// Whatever the disk: who asks for the impossible is told so.
		_, err = st.Commit(t.Context(), store.Tx{If: []store.Condition{store.Absent("a")}, Put: put("a", "2").Put})
		wantKind(t, "Commit that cannot be", err, fault.Conflict)
		if r := revision(t, st); r != 1 {
			t.Errorf("revision %d, want 1", r)
		}
		wantContent(t, st, "a=1@1-1", "b=1@1-1")
		if e, err := st.Get(t.Context(), "a"); err != nil || string(e.Value) != "1" {
			t.Errorf("Get: %q, %v", e.Value, err)
		}
	}
	wantNext(t, early, "1: a=1@1-1 b=1@1-1")
	wantNext(t, watch(t, st, "", 0), "1: a=1@1-1 b=1@1-1")

	// Many at once fail alike.
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			_, err := st.Commit(t.Context(), put(strconv.Itoa(i), ""))
			wantKind(t, "Commit", err, fault.Unavailable)
		})
	}
	group.Wait()
	wantContent(t, st, "a=1@1-1", "b=1@1-1")

	mend()
	if r := commit(t, st, put("a", "3")); r != 2 {
		t.Errorf("the first commit that succeeds again makes revision %d, want 2", r)
	}
	wantContent(t, st, "a=3@1-2", "b=1@1-1")
	wantNext(t, early, "2: a=3@1-2")
}

// A context that has ended is reported as such, and nothing happens.
func (s Suite) context(t *testing.T) {
	st := s.open(t, Limits{})
	commit(t, st, put("a", "1"))
	w := watch(t, st, "", 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"Get":      second(st.Get(ctx, "a")),
		"List":     second(st.List(ctx, "", store.ListOptions{})),
		"Commit":   second(st.Commit(ctx, put("a", "2"))),
		"Watch":    second(st.Watch(ctx, "", 0)),
		"Next":     second(w.Next(ctx)),
		"Compact":  st.Compact(ctx, 1),
		"Revision": second(st.Revision(ctx)),
	} {
		wantError(t, name, err, context.Canceled)
	}
	wantContent(t, st, "a=1@1-1")
	wantNext(t, w, "1: a=1@1-1")
}

func second[T any](_ T, err error) error { return err }

// After Close there is nothing but ErrClosed.
func (s Suite) closed(t *testing.T) {
	st := s.open(t, Limits{})
	commit(t, st, put("a", "1"))
	behind, waiting := watch(t, st, "", 0), watch(t, st, "", 1)
	ended := make(chan error)
	go func() { ended <- second(nextOf(t, waiting)) }()
	for range 2 {
		if err := st.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	for name, err := range map[string]error{
		"Get":          second(st.Get(t.Context(), "a")),
		"List":         second(st.List(t.Context(), "", store.ListOptions{})),
		"Commit":       second(st.Commit(t.Context(), put("a", "2"))),
		"Watch":        second(st.Watch(t.Context(), "", 1)),
		"Next":         second(behind.Next(t.Context())),
		"waiting Next": <-ended,
		"Compact":      st.Compact(t.Context(), 1),
		"Revision":     second(st.Revision(t.Context())),
	} {
		wantError(t, name, err, store.ErrClosed)
		if fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: kind %v", name, fault.KindOf(err))
		}
	}
}

// All that a store has comes over, and nothing is mixed.
func (s Suite) copyStore(t *testing.T) {
	from, to := s.open(t, Limits{}), s.open(t, Limits{})
	big := make([]byte, store.MaxValue)
	want := map[string]string{}
	for i := range 5 {
		key := fmt.Sprintf("big/%d", i)
		want[key] = string(big)
		commit(t, from, store.Tx{Put: []store.Pair{{Key: key, Value: big}}})
	}
	var tx store.Tx
	for i := range 300 {
		key := fmt.Sprintf("%d", i)
		want[key] = key
		tx.Put = append(tx.Put, put(key, key).Put...)
	}
	commit(t, from, tx)
	if n, err := store.Copy(t.Context(), from, to); err != nil || n != len(want) {
		t.Fatalf("Copy: %d, %v; want %d", n, err, len(want))
	}
	got := map[string]string{}
	for _, e := range list(t, to, "", store.ListOptions{}).Entries {
		got[e.Key] = string(e.Value)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the copy has %d entries, and not the %d of the source", len(got), len(want))
	}
	_, err := store.Copy(t.Context(), from, to)
	wantKind(t, "Copy into a store with entries", err, fault.Exists)
}
