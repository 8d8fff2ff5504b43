package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"openimds/internal/fault"
	"openimds/internal/store"
	"openimds/internal/store/boltstore"
)

func backup(t *testing.T, s *boltstore.Store) ([]byte, uint64) {
	t.Helper()
	var b bytes.Buffer
	r, err := s.Backup(t.Context(), &b)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), r
}

// onlyFile fails if there is anything beside the file, or if others may read
// it.
func onlyFile(t *testing.T, path string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 || left[0].Name() != filepath.Base(path) {
		t.Errorf("the folder has %v, %v; want one file", left, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestRestore(t *testing.T) {
	s := open(t, config(t))
	commit(t, s, put("a", "1"))
	commit(t, s, put("b", "1"))
	saved, r := backup(t, s)
	if r != 2 {
		t.Errorf("the backup has revision %d, want 2", r)
	}
	commit(t, s, put("a", "2"))

	// Into a place where there is nothing.
	c := config(t)
	r, err := boltstore.Restore(t.Context(), c, bytes.NewReader(saved), false)
	if err != nil || r != 1_000_000_002 {
		t.Fatalf("Restore: %d, %v", r, err)
	}
	onlyFile(t, c.Path)
	restored := open(t, c)
	check(t, restored)
	if got, want := content(t, restored), "a=1@1-1 b=1@2-2 "; got != want {
		t.Errorf("restored: %q, want %q", got, want)
	}
	// A reader that has seen what is no more has to begin anew.
	for after := range uint64(5) {
		if _, err := restored.Watch(t.Context(), "", after); !errors.Is(err, store.ErrCompacted) {
			t.Errorf("a watch after %d: %v", after, err)
		}
	}
	if got := commit(t, restored, put("a", "3")); got != r+1 {
		t.Errorf("the first commit has revision %d, want %d", got, r+1)
	}
	check(t, restored)

	// Over another store.
	if err := restored.Close(); err != nil {
		t.Fatal(err)
	}
	before := read(t, c.Path)
	_, err = boltstore.Restore(t.Context(), c, bytes.NewReader(saved), false)
	wantFault(t, "Restore over a file", err, fault.Exists, c.Path, "overwrite")
	if !bytes.Equal(read(t, c.Path), before) {
		t.Error("the file was changed")
	}
	if _, err := boltstore.Restore(t.Context(), c, bytes.NewReader(saved), true); err != nil {
		t.Fatalf("Restore: %v", err)
	}
	onlyFile(t, c.Path)
	restored = open(t, c)
	if got, want := content(t, restored), "a=1@1-1 b=1@2-2 "; got != want {
		t.Errorf("restored: %q, want %q", got, want)
	}
	if err := restored.Close(); err != nil {
		t.Fatal(err)
	}

	// Over one that is damaged, which is what it is for.
	for _, bad := range [][]byte{{}, []byte("x"), before[:len(before)/2], bytes.Repeat([]byte{0xff}, len(before))} {
		if err := os.WriteFile(c.Path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := boltstore.Restore(t.Context(), c, bytes.NewReader(saved), true); err != nil {
			t.Errorf("Restore over %d bytes: %v", len(bad), err)
		}
		onlyFile(t, c.Path)
	}
}

// A backup that is not good leaves everything as it was.
func TestRestoreRefuses(t *testing.T) {
	s := open(t, config(t))
	for i := range 30 {
		commit(t, s, put(fmt.Sprint(i), strings.Repeat("x", 1000)))
	}
	saved, _ := backup(t, s)
	// Some pages of a file are free: change the values wherever they are.
	changed := bytes.ReplaceAll(saved, []byte(strings.Repeat("x", 1000)), []byte(strings.Repeat("x", 999)+"y"))

	broken := errors.New("broken pipe")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tc := range map[string]struct {
		ctx    context.Context
		backup io.Reader
		kind   fault.Kind
		cause  error
	}{
		"empty":        {t.Context(), strings.NewReader(""), fault.Invalid, nil},
		"text":         {t.Context(), strings.NewReader(strings.Repeat("hello\n", 10_000)), fault.Invalid, nil},
		"cut off":      {t.Context(), bytes.NewReader(saved[:len(saved)-1]), fault.Invalid, nil},
		"half":         {t.Context(), bytes.NewReader(saved[:len(saved)/2]), fault.Invalid, nil},
		"changed":      {t.Context(), bytes.NewReader(changed), fault.Invalid, nil},
		"newer format": {t.Context(), bytes.NewReader(newerFormat(t)), fault.Invalid, nil},
		"foreign":      {t.Context(), bytes.NewReader(foreign(t)), fault.Invalid, nil},
		"broken":       {t.Context(), io.MultiReader(bytes.NewReader(saved[:5000]), failing{broken}), fault.Unavailable, broken},
		"context":      {ended, bytes.NewReader(saved), fault.Internal, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			c := config(t)
			old := open(t, c)
			commit(t, old, put("old", "1"))
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			_, err := boltstore.Restore(tc.ctx, c, tc.backup, true)
			wantFault(t, "Restore", err, tc.kind)
			if tc.cause != nil && !errors.Is(err, tc.cause) {
				t.Errorf("Restore: %v, want %v", err, tc.cause)
			}
			onlyFile(t, c.Path)
			if got := content(t, open(t, c)); got != "old=1@1-1 " {
				t.Errorf("the store has %q", got)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A backup is of one revision, whatever happens meanwhile.
func TestBackupWhileWriting(t *testing.T) {
	s := open(t, config(t))
	big := strings.Repeat("x", 100_000)
	tx := func(value string) store.Tx {
		return store.Tx{Put: []store.Pair{{Key: "first", Value: []byte(value)}, {Key: "last", Value: []byte(value)}, {Key: "z" + value, Value: []byte(big)}}}
	}
	for i := range 5 {
		commit(t, s, tx(fmt.Sprint(i)))
	}
	var b bytes.Buffer
	n := 5
	r, err := s.Backup(t.Context(), writerFunc(func(p []byte) (int, error) {
		commit(t, s, tx(fmt.Sprint(n)))
		n++
		return b.Write(p)
	}))
	if err != nil || r != 5 {
		t.Fatalf("Backup: revision %d, %v", r, err)
	}
	if n < 20 {
		t.Errorf("only %d commits during the backup", n-5)
	}
	check(t, s)
	c := config(t)
	if _, err := boltstore.Restore(t.Context(), c, &b, false); err != nil {
		t.Fatal(err)
	}
	restored := open(t, c)
	for _, key := range []string{"first", "last"} {
		if e, err := restored.Get(t.Context(), key); err != nil || string(e.Value) != "4" || e.Modified != 5 {
			t.Errorf("%s=%s@%d, %v; want 4@5", key, e.Value, e.Modified, err)
		}
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestBackupFails(t *testing.T) {
	s := open(t, config(t))
	full := errors.New("full")
	_, err := s.Backup(t.Context(), writerFunc(func([]byte) (int, error) { return 0, full }))
	wantFault(t, "Backup", err, fault.Unavailable, "write the backup")
	ctx, cancel := context.WithCancel(t.Context())
	_, err = s.Backup(ctx, writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Backup: %v", err)
	}
	commit(t, s, put("a", "1"))
}
