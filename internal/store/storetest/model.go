package storetest

import (
	"cmp"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"openimds/internal/fault"
	"openimds/internal/store"
)

// model is what a store should be, in the simplest way.
type model struct {
	entries   map[string]store.Entry
	history   []store.Batch // history[i] is revision i+1
	compacted uint64
}

func (m *model) revision() uint64 { return uint64(len(m.history)) }

// commit returns false if a condition fails.
func (m *model) commit(tx store.Tx) bool {
	for _, c := range tx.If {
		e, there := m.entries[c.Key]
		switch {
		case c.Test == store.IsAbsent && there,
			c.Test == store.IsPresent && !there,
			c.Test == store.IsUnchanged && e.Modified != c.Revision:
			return false
		}
	}
	next := m.revision() + 1
	b := store.Batch{Revision: next}
	for _, p := range tx.Put {
		e := store.Entry{Key: p.Key, Value: append([]byte{}, p.Value...), Created: next, Modified: next}
		if old, there := m.entries[p.Key]; there {
			e.Created = old.Created
		}
		m.entries[p.Key] = e
		b.Events = append(b.Events, store.Event{Entry: e})
	}
	for _, key := range tx.Delete {
		if _, there := m.entries[key]; there {
			delete(m.entries, key)
			b.Events = append(b.Events, store.Event{Entry: store.Entry{Key: key, Modified: next}, Deleted: true})
		}
	}
	if len(b.Events) > 0 {
		slices.SortFunc(b.Events, func(x, y store.Event) int { return cmp.Compare(x.Key, y.Key) })
		m.history = append(m.history, b)
	}
	return true
}

// list returns what a listing gives, and whether there is more.
func (m *model) list(prefix string, o store.ListOptions) ([]store.Entry, bool) {
	var out []store.Entry
	for _, key := range slices.Sorted(maps.Keys(m.entries)) {
		if !strings.HasPrefix(key, prefix) || key <= o.After {
			continue
		}
		if o.Limit > 0 && len(out) == o.Limit {
			return out, true
		}
		out = append(out, m.entries[key])
	}
	return out, false
}

// events returns what revision r has done under a prefix.
func (m *model) events(r uint64, prefix string) (out []store.Event) {
	for _, e := range m.history[r-1].Events {
		if strings.HasPrefix(e.Key, prefix) {
			out = append(out, e)
		}
	}
	return out
}

// follower is a watch and how far it is.
type follower struct {
	w      store.Watcher
	prefix string
	at     uint64
}

// machine lets a store and the model do the same.
type machine struct {
	suite     Suite
	t         *testing.T
	st        store.Store
	m         model
	followers []*follower
}

var (
	someKey    = rapid.SampledFrom([]string{"\x00", "a", "a\x00", "a/", "a/1", "a/2", "b", "ba/1", "\xff", "\xff\xff"})
	somePrefix = rapid.SampledFrom([]string{"", "a", "a/", "a/1", "b", "c", "\xff"})
	someValue  = rapid.SliceOfN(rapid.Byte(), 0, 5)
)

// model runs random actions on a store and on the model.
func (s Suite) model(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{suite: s, t: t, st: s.Open(t, Limits{}), m: model{entries: map[string]store.Entry{}}}
		defer func() {
			if err := m.st.Close(); err != nil {
				rt.Errorf("Close: %v", err)
			}
		}()
		actions := map[string]func(*rapid.T){
			"commit":  m.commit,
			"commit2": m.commit, // oftener than the others
			"get":     m.get,
			"list":    m.list,
			"watch":   m.watch,
			"drain":   m.drain,
			"compact": m.compact,
		}
		if s.Reopen != nil {
			actions["reopen"] = m.reopen
		}
		rt.Repeat(actions)
		for len(m.followers) > 0 {
			m.drainOne(rt, 0)
			m.followers = m.followers[1:]
		}
	})
}

func (m *machine) commit(t *rapid.T) {
	keys := rapid.SliceOfNDistinct(someKey, 0, 5, rapid.ID[string]).Draw(t, "keys")
	var tx store.Tx
	for _, key := range keys {
		if rapid.Bool().Draw(t, "put") {
			tx.Put = append(tx.Put, store.Pair{Key: key, Value: someValue.Draw(t, "value")})
		} else {
			tx.Delete = append(tx.Delete, key)
		}
	}
	for range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "conditions") {
		key := someKey.Draw(t, "of")
		modified := m.m.entries[key].Modified
		tx.If = append(tx.If, rapid.SampledFrom([]store.Condition{
			store.Absent(key), store.Present(key), store.Unchanged(key, modified), store.Unchanged(key, modified+1),
		}).Draw(t, "condition"))
	}
	before := m.m.revision()
	ok := m.m.commit(tx)
	r, err := m.st.Commit(m.t.Context(), tx)
	switch {
	case ok && (err != nil || r != m.m.revision()):
		t.Fatalf("Commit(%+v): %d, %v; want %d", tx, r, err, m.m.revision())
	case !ok && fault.KindOf(err) != fault.Conflict:
		t.Fatalf("Commit(%+v): %d, %v; want a conflict at %d", tx, r, err, before)
	}
}

func (m *machine) get(t *rapid.T) {
	key := someKey.Draw(t, "key")
	e, err := m.st.Get(m.t.Context(), key)
	want, there := m.m.entries[key]
	if there != (err == nil) || there && !reflect.DeepEqual(e, want) || err != nil && fault.KindOf(err) != fault.NotFound {
		t.Fatalf("Get(%q): %+v, %v; want %+v, there %v", key, e, err, want, there)
	}
}

func (m *machine) list(t *rapid.T) {
	prefix := somePrefix.Draw(t, "prefix")
	o := store.ListOptions{Limit: rapid.IntRange(0, 4).Draw(t, "limit")}
	if rapid.Bool().Draw(t, "after") {
		o.After = someKey.Draw(t, "key")
	}
	if rapid.Bool().Draw(t, "now") {
		o.Revision = m.m.revision()
	}
	l, err := m.st.List(m.t.Context(), prefix, o)
	want, more := m.m.list(prefix, o)
	if err != nil || !reflect.DeepEqual(l.Entries, want) || l.More != more || l.Revision != m.m.revision() {
		t.Fatalf("List(%q, %+v): %+v, %v; want %+v, more %v, at %d", prefix, o, l, err, want, more, m.m.revision())
	}
}

func (m *machine) watch(t *rapid.T) {
	f := &follower{prefix: somePrefix.Draw(t, "prefix"), at: rapid.Uint64Range(0, m.m.revision()).Draw(t, "after")}
	var err error
	f.w, err = m.st.Watch(m.t.Context(), f.prefix, f.at)
	switch {
	case f.at < m.m.compacted && err == nil:
		_, err = nextOf(m.t, f.w)
		fallthrough
	case f.at < m.m.compacted:
		if !errors.Is(err, store.ErrCompacted) {
			t.Fatalf("Watch after %d: %v, history begins after %d", f.at, err, m.m.compacted)
		}
	case err != nil:
		t.Fatalf("Watch after %d: %v, history begins after %d", f.at, err, m.m.compacted)
	default:
		m.followers = append(m.followers, f)
	}
}

func (m *machine) drain(t *rapid.T) {
	if len(m.followers) > 0 {
		m.drainOne(t, rapid.IntRange(0, len(m.followers)-1).Draw(t, "watch"))
	}
}

// drainOne reads a watch to its end.
func (m *machine) drainOne(t *rapid.T, i int) {
	f := m.followers[i]
	for f.at < m.m.revision() {
		b, err := nextOf(m.t, f.w)
		if errors.Is(err, store.ErrCompacted) && f.at < m.m.compacted {
			f.at = m.m.revision()
			f.w.Close()
			if f.w, err = m.st.Watch(m.t.Context(), f.prefix, f.at); err != nil {
				t.Fatalf("Watch after %d: %v", f.at, err)
			}
			return
		}
		if err != nil || b.Revision <= f.at || b.Revision > m.m.revision() {
			t.Fatalf("Next: revision %d after %d, %v", b.Revision, f.at, err)
		}
		for f.at++; f.at < b.Revision; f.at++ {
			if missed := m.m.events(f.at, f.prefix); missed != nil {
				t.Fatalf("the watch of %q misses revision %d: %+v", f.prefix, f.at, missed)
			}
		}
		if want := m.m.events(f.at, f.prefix); !reflect.DeepEqual(b.Events, want) {
			t.Fatalf("the watch of %q gives at revision %d %+v, want %+v", f.prefix, f.at, b.Events, want)
		}
	}
}

func (m *machine) compact(t *rapid.T) {
	upTo := rapid.Uint64Range(0, m.m.revision()).Draw(t, "up to")
	if err := m.st.Compact(m.t.Context(), upTo); err != nil {
		t.Fatalf("Compact(%d): %v", upTo, err)
	}
	m.m.compacted = max(m.m.compacted, upTo)
}

func (m *machine) reopen(t *rapid.T) {
	m.st = m.suite.Reopen(m.t, m.st)
	m.followers = nil
	if r, err := m.st.Revision(m.t.Context()); err != nil || r != m.m.revision() {
		t.Fatalf("after a restart: revision %d, %v; want %d", r, err, m.m.revision())
	}
}
