package boltstore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"openimds/internal/fault"
	"openimds/internal/store"
	"openimds/internal/store/boltstore"
)

// foreign is a file of bbolt that is not ours.
func foreign(t *testing.T) []byte {
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte("entries"))
		return err
	}), db.Close()); err != nil {
		t.Fatal(err)
	}
	return read(t, path)
}

// newerFormat is a file of ours from a time to come.
func newerFormat(t *testing.T) []byte {
	c := config(t)
	s := open(t, c)
	if err := errors.Join(s.Raw(func(_, _, meta *bolt.Bucket) error {
		return meta.Put([]byte("format"), binary.BigEndian.AppendUint64(nil, 2))
	}), s.Close()); err != nil {
		t.Fatal(err)
	}
	return read(t, c.Path)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// flip returns a value with one bit changed.
func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[(at+len(b))%len(b)] ^= 1
	return b
}

// Check finds whatever does not fit together.
func TestCheckFinds(t *testing.T) {
	for name, tc := range map[string]struct {
		damage func(entries, history, meta *bolt.Bucket) error
		says   string
	}{
		"a value": {func(e, _, _ *bolt.Bucket) error { return e.Put([]byte("a"), flip(e.Get([]byte("a")), -1)) }, `entry of key "a": the checksum`},
		"a key": {func(e, _, _ *bolt.Bucket) error {
			return errors.Join(e.Put([]byte("A"), bytes.Clone(e.Get([]byte("a")))), e.Delete([]byte("a")))
		}, `entry of key "A": the checksum`},
		"a short entry":      {func(e, _, _ *bolt.Bucket) error { return e.Put([]byte("a"), []byte("x")) }, `entry of key "a": it ends too early`},
		"an entry too few":   {func(e, _, _ *bolt.Bucket) error { return e.Delete([]byte("b")) }, `entry of key "b": it is missing, revision 3`},
		"an entry too old":   {func(e, _, _ *bolt.Bucket) error { return e.Put([]byte("b"), bytes.Clone(e.Get([]byte("old")))) }, `entry of key "b"`},
		"a batch":            {func(_, h, _ *bolt.Bucket) error { return h.Put(number(3), flip(h.Get(number(3)), 5)) }, "history at revision 3: the checksum"},
		"a batch too few":    {func(_, h, _ *bolt.Bucket) error { return h.Delete(number(3)) }, "where revision 3 should be"},
		"a batch too many":   {func(_, h, _ *bolt.Bucket) error { return h.Put(number(6), bytes.Clone(h.Get(number(5)))) }, "history ends at revision 6, and the newest is 5"},
		"the last batch":     {func(_, h, _ *bolt.Bucket) error { return h.Delete(number(5)) }, "history ends at revision 4, and the newest is 5"},
		"a key of history":   {func(_, h, _ *bolt.Bucket) error { return h.Put([]byte("x"), nil) }, "where revision 6 should be"},
		"the revision":       {func(_, _, m *bolt.Bucket) error { return m.Put([]byte("revision"), number(4)) }, "history ends at revision 5, and the newest is 4"},
		"what is forgotten":  {func(_, _, m *bolt.Bucket) error { return m.Put([]byte("compacted"), number(7)) }, "history is forgotten up to revision 7"},
		"the size":           {func(_, _, m *bolt.Bucket) error { return m.Put([]byte("historyBytes"), number(7)) }, "7 are recorded"},
		"a bucket for entry": {func(e, _, _ *bolt.Bucket) error { _, err := e.CreateBucket([]byte("x")); return err }, `entry of key "x": it ends too early`},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, config(t))
			commit(t, s, put("old", "1"))
			if err := s.Compact(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			commit(t, s, put("a", "1"))
			commit(t, s, put("b", "1"))
			commit(t, s, put("c", "1"))
			commit(t, s, store.Tx{Delete: []string{"c"}})
			check(t, s)
			if err := s.Raw(tc.damage); err != nil {
				t.Fatal(err)
			}
			err := s.Check(t.Context())
			wantFault(t, "Check", err, fault.Internal, s.Path(), tc.says)
			if strings.Count(err.Error(), "\n") > 5 {
				t.Errorf("one thing is wrong, and Check says: %v", err)
			}
		})
	}
}

// What is damaged is an error for who reads it, and for nobody else.
func TestDamagedEntry(t *testing.T) {
	s := open(t, config(t))
	commit(t, s, put("a", "1"))
	commit(t, s, put("b", "1"))
	if err := s.Raw(func(e, h, _ *bolt.Bucket) error {
		return errors.Join(e.Put([]byte("a"), flip(e.Get([]byte("a")), -1)), h.Put(number(1), flip(h.Get(number(1)), -1)))
	}); err != nil {
		t.Fatal(err)
	}
	_, err := s.Get(t.Context(), "a")
	wantFault(t, "Get", err, fault.Internal, s.Path(), `key "a"`, "restore a backup")
	_, err = s.List(t.Context(), "", store.ListOptions{})
	wantFault(t, "List", err, fault.Internal, `key "a"`)
	if e, err := s.Get(t.Context(), "b"); err != nil || string(e.Value) != "1" {
		t.Errorf("Get of another key: %+v, %v", e, err)
	}
	if _, err := s.List(t.Context(), "b", store.ListOptions{}); err != nil {
		t.Errorf("List of other keys: %v", err)
	}
}

func TestCheckContext(t *testing.T) {
	s := open(t, config(t))
	commit(t, s, put("a", "1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Check(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Check: %v", err)
	}
}

var damages = flag.Uint64("damages", 300, "how many files TestDamagedFile damages")

// Whatever a disk does to a file, to open it and to check it does not end the
// process. Damage that both let pass has changed nothing that is read.
func TestDamagedFile(t *testing.T) {
	c := config(t)
	s := open(t, c)
	for i := range 40 {
		commit(t, s, put(fmt.Sprintf("%02d", i%20), strings.Repeat(fmt.Sprint(i), 300)))
	}
	want := content(t, s)
	whole, _ := backup(t, s) // without the part of the file that was never used
	folder := t.TempDir()
	refused, found, passed := 0, 0, 0
	for seed := range *damages {
		r := rand.New(rand.NewPCG(seed, 0))
		bad := bytes.Clone(whole)
		at, n := r.IntN(len(bad)), 1+r.IntN(64)
		for i := at; i < min(at+n, len(bad)); i++ {
			bad[i] = byte(r.Uint32())
		}
		c := boltstore.Config{Path: filepath.Join(folder, fmt.Sprint(seed))}
		if err := os.WriteFile(c.Path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := boltstore.Open(c)
		if err != nil {
			refused++
			continue
		}
		if err := s.Check(t.Context()); err != nil {
			found++
		} else if got := content(t, s); got != want {
			t.Errorf("seed %d: bytes %d to %d are damaged, Check says nothing, and the store has something else", seed, at, at+n)
		} else {
			passed++
		}
		if err := s.Close(); err != nil {
			t.Errorf("seed %d: Close: %v", seed, err)
		}
	}
	t.Logf("%d refused by Open, %d found by Check, %d harmless", refused, found, passed)
}
