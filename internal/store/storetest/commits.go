package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"openimds/internal/fault"
	"openimds/internal/store"
)

// Guarantee 1: all or nothing.
func (s Suite) atomic(t *testing.T) {
	st := s.open(t, Limits{})
	commit(t, st, put("a", "1", "b", "1"))
	before := content(t, st)
	w := watch(t, st, "", 1)

	big := make([]byte, store.MaxValue+1)
	for name, tx := range map[string]store.Tx{
		"last condition fails": {If: []store.Condition{store.Present("a"), store.Absent("c"), store.Absent("b")}, Put: put("a", "2", "c", "2").Put, Delete: []string{"b"}},
		"one value too large":  {Put: []store.Pair{{Key: "a", Value: []byte("2")}, {Key: "c", Value: big}}, Delete: []string{"b"}},
		"one key empty":        {Put: put("a", "2", "", "2").Put, Delete: []string{"b"}},
	} {
		if _, err := st.Commit(t.Context(), tx); err == nil {
			t.Errorf("%s: committed", name)
		}
		if got := content(t, st); !slices.Equal(got, before) {
			t.Errorf("%s: the store has %q, want %q", name, got, before)
		}
	}

	tx := put("a", "2", "c", "2")
	tx.Delete = []string{"b"}
	commit(t, st, tx)
	wantContent(t, st, "a=2@1-2", "c=2@2-2")
	wantNext(t, w, "2: a=2@1-2 -b@2 c=2@2-2")
}

// Guarantee 2: what Commit has acknowledged outlives the store.
func (s Suite) durable(t *testing.T) {
	st := s.Open(t, Limits{})
	defer func() {
		if err := st.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	for range 3 {
		at := revision(t, st)
		n := strconv.FormatUint(at, 10)
		commit(t, st, put("always", n, "n"+n, n))
		commit(t, st, store.Tx{Delete: []string{"n" + n}})
		want := content(t, st)

		st = s.Reopen(t, st)
		if got := content(t, st); !slices.Equal(got, want) {
			t.Errorf("after a restart: %q, want %q", got, want)
		}
		if r := revision(t, st); r != at+2 {
			t.Errorf("after a restart: revision %d, want %d", r, at+2)
		}
		// A watch goes on over the restart.
		w := watch(t, st, "n", at)
		wantNext(t, w, fmt.Sprintf("%d: n%s=%s@%[1]d-%[1]d", at+1, n, n))
		wantNext(t, w, fmt.Sprintf("%d: -n%s@%[1]d", at+2, n))
	}
	if err := st.Compact(t.Context(), revision(t, st)); err != nil {
		t.Fatal(err)
	}
	st = s.Reopen(t, st)
	_, err := st.Watch(t.Context(), "", revision(t, st)-1)
	wantError(t, "after a restart, a watch from before the compaction", err, store.ErrCompacted)
}

// Guarantee 3: one revision a commit, and none for what is no change.
func (s Suite) linear(t *testing.T) {
	st := s.open(t, Limits{})
	if r := revision(t, st); r != 0 {
		t.Errorf("a new store is at revision %d", r)
	}
	for _, step := range []struct {
		name string
		tx   store.Tx
		want uint64
		kind fault.Kind // if want is 0
	}{
		{"put", put("a", "1"), 1, 0},
		{"many changes", put("a", "2", "b", "2", "c", "2"), 2, 0},
		{"the same value", put("a", "2"), 3, 0},
		{"a failed condition", store.Tx{If: []store.Condition{store.Absent("a")}, Put: put("a", "x").Put}, 0, fault.Conflict},
		{"a malformed one", put("", "x"), 0, fault.Invalid},
		{"conditions alone", store.Tx{If: []store.Condition{store.Present("a")}}, 3, 0},
		{"nothing at all", store.Tx{}, 3, 0},
		{"an absent key deleted", store.Tx{Delete: []string{"x", "y"}}, 3, 0},
		{"an absent and a present key deleted", store.Tx{Delete: []string{"x", "a"}}, 4, 0},
		{"put again", put("a", "3"), 5, 0},
	} {
		before := revision(t, st)
		got, err := st.Commit(t.Context(), step.tx)
		if step.want == 0 {
			wantKind(t, step.name, err, step.kind)
			if now := revision(t, st); now != before {
				t.Errorf("%s: revision %d, want %d as before", step.name, now, before)
			}
			continue
		}
		if now := revision(t, st); err != nil || got != step.want || now != step.want {
			t.Errorf("%s: Commit returns %d, %v; the store is at %d; want %d", step.name, got, err, now, step.want)
		}
	}
	wantContent(t, st, "a=3@5-5", "b=2@2-2", "c=2@2-2")
}

// Guarantee 3: conditions hold at the moment of the commit.
func (s Suite) conditions(t *testing.T) {
	st := s.open(t, Limits{})
	commit(t, st, put("old", "1", "gone", "1", "again", "1")) // 1
	commit(t, st, put("old", "2"))                            // 2
	commit(t, st, store.Tx{Delete: []string{"gone", "again"}})
	commit(t, st, put("again", "2")) // 4
	for _, c := range []struct {
		condition store.Condition
		holds     bool
	}{
		{store.Absent("old"), false},
		{store.Absent("gone"), true},
		{store.Absent("never"), true},
		{store.Present("old"), true},
		{store.Present("gone"), false},
		{store.Present("never"), false},
		{store.Present("ol"), false},
		{store.Unchanged("old", 2), true},
		{store.Unchanged("old", 1), false},
		{store.Unchanged("old", 0), false},
		{store.Unchanged("again", 4), true},
		{store.Unchanged("again", 1), false},
		{store.Unchanged("gone", 1), false},
		{store.Unchanged("gone", 0), true},
		{store.Unchanged("never", 0), true},
	} {
		_, err := st.Commit(t.Context(), store.Tx{If: []store.Condition{store.Present("old"), c.condition}})
		if c.holds {
			if err != nil {
				t.Errorf("%v: %v", c.condition, err)
			}
			continue
		}
		wantKind(t, c.condition.String(), err, fault.Conflict)
		var failed *store.ConditionError
		if !errors.As(err, &failed) || failed.Index != 1 || failed.Condition != c.condition {
			t.Errorf("%v: the error names %+v", c.condition, failed)
		}
	}
}

// Guarantee 3, with many writers: revisions are handed out once each, without
// gaps, and history has each commit under its own.
func (s Suite) linearConcurrent(t *testing.T) {
	const writers, commits = 8, 25
	st := s.open(t, Limits{})
	var mu sync.Mutex
	keys := map[uint64]string{} // by revision
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range commits {
				key := fmt.Sprintf("%d/%d", w, i)
				r, err := st.Commit(t.Context(), put(key, "", "last", key))
				if err != nil {
					t.Errorf("Commit: %v", err)
					return
				}
				// One that fails, in between.
				if _, err := st.Commit(t.Context(), store.Tx{If: []store.Condition{store.Absent(key)}, Put: put(key, "x").Put}); fault.KindOf(err) != fault.Conflict {
					t.Errorf("a second creation of %s: %v", key, err)
				}
				mu.Lock()
				if other, taken := keys[r]; taken {
					t.Errorf("revision %d is that of %s and of %s", r, other, key)
				}
				keys[r] = key
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if t.Failed() {
		return
	}
	w := watch(t, st, "", 0)
	for r := uint64(1); r <= writers*commits; r++ {
		key := keys[r]
		b := next(t, w)
		if b.Revision != r || len(b.Events) != 2 || b.Events[0].Key != key || string(b.Events[1].Value) != key {
			t.Fatalf("history has %q at revision %d, want the commit of %q", text(b), r, key)
		}
	}
}

// Guarantee 3: read, change, commit if unchanged, try again. No update is lost.
func (s Suite) noLostUpdate(t *testing.T) {
	const writers, updates = 8, 25
	st := s.open(t, Limits{})
	commit(t, st, put("counter", "0"))
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for range updates {
				for {
					e, err := st.Get(t.Context(), "counter")
					if err != nil {
						t.Errorf("Get: %v", err)
						return
					}
					n, _ := strconv.Atoi(string(e.Value))
					tx := put("counter", strconv.Itoa(n+1))
					tx.If = []store.Condition{store.Unchanged("counter", e.Modified)}
					if _, err = st.Commit(t.Context(), tx); err == nil {
						break
					}
					if fault.KindOf(err) != fault.Conflict {
						t.Errorf("Commit: %v", err)
						return
					}
				}
			}
		})
	}
	group.Wait()
	wantContent(t, st, fmt.Sprintf("counter=%d@1-%d", writers*updates, writers*updates+1))
}

// Whoever puts or gets a value keeps the memory to themselves.
func (s Suite) copies(t *testing.T) {
	st := s.open(t, Limits{})
	w1, w2 := watch(t, st, "", 0), watch(t, st, "", 0)
	tx := put("k", "value")
	commit(t, st, tx)
	spoil := func(b []byte) {
		for i := range b {
			b[i] = 'X'
		}
	}
	check := func(after string) {
		t.Helper()
		wantContent(t, st, "k=value@1-1")
		if e, err := st.Get(t.Context(), "k"); err != nil || string(e.Value) != "value" {
			t.Errorf("after changing %s: Get gives %q, %v", after, e.Value, err)
		}
	}
	spoil(tx.Put[0].Value)
	check("what was put")
	spoil(next(t, w1).Events[0].Value)
	check("what a watch gave")
	wantNext(t, w2, "1: k=value@1-1")
	e, err := st.Get(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	spoil(e.Value)
	check("what Get gave")
	spoil(list(t, st, "", store.ListOptions{}).Entries[0].Value)
	check("what List gave")
	wantNext(t, watch(t, st, "", 0), "1: k=value@1-1")
}

// What is within the limits is kept, byte for byte; what is beyond is refused.
func (s Suite) limits(t *testing.T) {
	st := s.open(t, Limits{})
	long := strings.Repeat("k", store.MaxKey)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	big := bytes.Repeat(all, store.MaxValue/len(all))
	for key, value := range map[string][]byte{
		long: big, string(all): all, "\x00": nil, "\xff": {}, "\xff\xff": []byte("x"), "ÿ": []byte("x"),
	} {
		commit(t, st, store.Tx{Put: []store.Pair{{Key: key, Value: value}}})
		if e, err := st.Get(t.Context(), key); err != nil || e.Key != key || !bytes.Equal(e.Value, value) || e.Value == nil {
			t.Errorf("key of %d bytes, value of %d: Get gives %d bytes, nil %v, %v", len(key), len(value), len(e.Value), e.Value == nil, err)
		}
	}
	many := func(n int) (tx store.Tx) {
		for i := range n {
			tx.Put = append(tx.Put, store.Pair{Key: fmt.Sprintf("many/%d", i)})
		}
		return tx
	}
	commit(t, st, many(store.MaxChanges))
	var large store.Tx
	for i := range store.MaxBytes/store.MaxValue + 1 {
		large.Put = append(large.Put, store.Pair{Key: strconv.Itoa(i), Value: big})
	}
	for name, tx := range map[string]store.Tx{
		"no key to put":     put("", ""),
		"no key to delete":  {Delete: []string{""}},
		"no key to test":    {If: []store.Condition{store.Absent("")}},
		"long key":          put(long+"k", ""),
		"long key deleted":  {Delete: []string{long + "k"}},
		"large value":       {Put: []store.Pair{{Key: "x", Value: append(big, 0)}}},
		"put twice":         put("x", "1", "y", "1", "x", "1"),
		"put and deleted":   {Put: put("x", "1").Put, Delete: []string{"x"}},
		"deleted twice":     {Delete: []string{"x", "x"}},
		"unknown condition": {If: []store.Condition{{Key: "x", Test: 99}}},
		"many changes":      many(store.MaxChanges + 1),
		"many bytes":        large,
	} {
		_, err := st.Commit(t.Context(), tx)
		wantKind(t, name, err, fault.Invalid)
	}
	_, err := st.Get(t.Context(), "")
	wantKind(t, "Get of no key", err, fault.Invalid)
	_, err = st.Get(t.Context(), "nothing")
	wantKind(t, "Get of an absent key", err, fault.NotFound)
	_, err = st.List(t.Context(), "", store.ListOptions{Limit: -1})
	wantKind(t, "List of fewer than none", err, fault.Invalid)
}
