package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"openimds/internal/fault"
	"openimds/internal/store"
	"openimds/internal/store/boltstore"
	"openimds/internal/store/storetest"
)

// The test binary is also the process that TestKill kills.
func TestMain(m *testing.M) {
	flag.Parse()
	if path := os.Getenv(crashEnv); path != "" {
		os.Exit(crashWriter(path))
	}
	os.Exit(m.Run())
}

func config(t testing.TB) boltstore.Config {
	return boltstore.Config{Path: filepath.Join(t.TempDir(), "state.db")}
}

func open(t testing.TB, c boltstore.Config) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func put(key, value string) store.Tx {
	return store.Tx{Put: []store.Pair{{Key: key, Value: []byte(value)}}}
}

func commit(t testing.TB, s store.Store, tx store.Tx) uint64 {
	t.Helper()
	r, err := s.Commit(t.Context(), tx)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func content(t testing.TB, s store.Store) string {
	t.Helper()
	l, err := s.List(t.Context(), "", store.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := ""
	for _, e := range l.Entries {
		out += fmt.Sprintf("%s=%s@%d-%d ", e.Key, e.Value, e.Created, e.Modified)
	}
	return out
}

func check(t testing.TB, s *boltstore.Store) {
	t.Helper()
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
}

// wantFault looks at the kind of an error and at what it says.
func wantFault(t testing.TB, what string, err error, kind fault.Kind, says ...string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Errorf("%s: %v, want an error of kind %v", what, err, kind)
		return
	}
	for _, want := range says {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, want it to say %q", what, err, want)
		}
	}
}

func TestStore(t *testing.T) {
	configs := map[store.Store]boltstore.Config{}
	reopen := func(t testing.TB, c boltstore.Config) store.Store {
		s, err := boltstore.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		configs[s] = c
		return s
	}
	storetest.Suite{
		Open: func(t testing.TB, l storetest.Limits) store.Store {
			c := config(t)
			c.Keep, c.Lag = l.Keep, l.Lag
			return reopen(t, c)
		},
		Reopen: func(t testing.TB, s store.Store) store.Store {
			check(t, s.(*boltstore.Store))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return reopen(t, configs[s])
		},
		Break: func(_ testing.TB, s store.Store) (mend func()) {
			s.(*boltstore.Store).Fail(boltstore.Failure{Cause: syscall.ENOSPC})
			return func() { s.(*boltstore.Store).Fail(boltstore.Failure{}) }
		},
	}.Run(t)
}

func TestFile(t *testing.T) {
	c := config(t)
	s := open(t, c)
	if !s.Syncs() {
		t.Error("commits do not sync")
	}
	info, err := os.Stat(c.Path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	commit(t, s, put("a", "1"))
	check(t, s)
	left, err := os.ReadDir(filepath.Dir(c.Path))
	if err != nil || len(left) != 1 {
		t.Errorf("%d files are left, want 1 (%v)", len(left), err)
	}
	if s.Path() != c.Path {
		t.Errorf("Path() = %q", s.Path())
	}
}

// One process at a time; readers wait for it too.
func TestLocked(t *testing.T) {
	c := config(t)
	c.Timeout = time.Millisecond
	s := open(t, c)
	for _, readOnly := range []bool{false, true} {
		other := c
		other.ReadOnly = readOnly
		_, err := boltstore.Open(other)
		wantFault(t, "a second Open", err, fault.Unavailable, c.Path, "in use by another process")
	}
	_, err := boltstore.Restore(t.Context(), c, strings.NewReader(""), true)
	wantFault(t, "Restore", err, fault.Invalid)
	var backup bytes.Buffer
	if _, err := s.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	_, err = boltstore.Restore(t.Context(), c, &backup, true)
	wantFault(t, "Restore", err, fault.Unavailable, c.Path, "in use by another process")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c.ReadOnly = true
	open(t, c)
	open(t, c) // readers do not mind each other
}

// Processes that start at once all get the same store, one after the other.
func TestOpenTogether(t *testing.T) {
	c := config(t)
	c.Timeout = time.Minute
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			s, err := boltstore.Open(c)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := s.Commit(t.Context(), put("k", "")); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got, want := content(t, open(t, c)), "k=@1-8 "; got != want {
		t.Errorf("the store has %q, want %q", got, want)
	}
}

func TestReadOnly(t *testing.T) {
	c := config(t)
	s := open(t, c)
	commit(t, s, put("a", "1"))
	commit(t, s, put("b", "1"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c.ReadOnly = true
	s = open(t, c)
	for range 2 {
		_, err := s.Commit(t.Context(), put("a", "2"))
		wantFault(t, "Commit", err, fault.Unavailable, "reading only")
		wantFault(t, "Compact", s.Compact(t.Context(), 1), fault.Unavailable, "reading only")
	}
	if got, want := content(t, s), "a=1@1-1 b=1@2-2 "; got != want {
		t.Errorf("the store has %q, want %q", got, want)
	}
	w, err := s.Watch(t.Context(), "", 1)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := w.Next(t.Context()); err != nil || b.Revision != 2 {
		t.Errorf("Next: %+v, %v", b, err)
	}
	check(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = s.Commit(t.Context(), put("a", "2"))
	if !errors.Is(err, store.ErrClosed) {
		t.Errorf("Commit after Close: %v", err)
	}
}

// What is not ours, or not whole, is refused with advice, and left as it is.
func TestOpenRefuses(t *testing.T) {
	good := config(t)
	s := open(t, good)
	for i := range 50 {
		commit(t, s, put(fmt.Sprint(i), strings.Repeat("x", 1000)))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(good.Path)
	if err != nil {
		t.Fatal(err)
	}
	newer := newerFormat(t)
	for name, tc := range map[string]struct {
		content []byte
		kind    fault.Kind
		says    string
	}{
		"empty":         {[]byte{}, fault.Unsupported, "is empty"},
		"short text":    {[]byte("hello\n"), fault.Unsupported, "no state file"},
		"long text":     {bytes.Repeat([]byte("hello\n"), 10_000), fault.Unsupported, "no state file"},
		"foreign bbolt": {foreign(t), fault.Unsupported, "no state file"},
		"newer format":  {newer, fault.Unsupported, "format 2"},
		"cut off":       {whole[:40_000], fault.Internal, "cut off"},
		"one page":      {whole[:os.Getpagesize()], fault.Unsupported, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			c := config(t)
			if err := os.WriteFile(c.Path, tc.content, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, readOnly := range []bool{false, true} {
				c.ReadOnly = readOnly
				_, err := boltstore.Open(c)
				wantFault(t, "Open", err, tc.kind, c.Path, tc.says)
			}
			if now, err := os.ReadFile(c.Path); err != nil || !bytes.Equal(now, tc.content) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
	t.Run("folder", func(t *testing.T) {
		_, err := boltstore.Open(boltstore.Config{Path: t.TempDir()})
		wantFault(t, "Open", err, fault.Unsupported, "is not a file")
	})
	t.Run("no folder", func(t *testing.T) {
		c := config(t)
		c.Path = filepath.Join(filepath.Dir(c.Path), "no", "state.db")
		_, err := boltstore.Open(c)
		wantFault(t, "Open", err, fault.Unavailable, c.Path, "make its folder")
	})
	t.Run("read only and absent", func(t *testing.T) {
		c := config(t)
		c.ReadOnly = true
		_, err := boltstore.Open(c)
		wantFault(t, "Open", err, fault.Unavailable, c.Path)
	})
}

// A commit that has not begun is withdrawn by its context; one that has is
// waited for.
func TestWithdraw(t *testing.T) {
	s := open(t, config(t))
	inside, leave := make(chan struct{}), make(chan struct{})
	s.Fail(boltstore.Failure{Cause: errors.New("late"), Late: true, Times: 1, Meanwhile: func() { close(inside); <-leave }})
	ctx, cancel := context.WithCancel(t.Context())
	begun := make(chan error)
	go func() {
		_, err := s.Commit(ctx, put("begun", ""))
		begun <- err
	}()
	<-inside
	waiting := make(chan error)
	go func() {
		_, err := s.Commit(ctx, put("waiting", ""))
		waiting <- err
	}()
	s.Waiting(1)
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("the commit that waits: %v", err)
	}
	close(leave)
	if err := <-begun; err != nil {
		t.Errorf("the commit that had begun: %v", err)
	}
	if got, want := content(t, s), "begun=@1-1 "; got != want {
		t.Errorf("the store has %q, want %q", got, want)
	}
}

// A file that is replaced while a process waits for it is not the one that it
// gets: what would be written to that would be lost.
func TestReplacedWhileWaiting(t *testing.T) {
	c := config(t)
	saved := func() []byte {
		s := open(t, c)
		commit(t, s, put("a", "restored"))
		saved, _ := backup(t, s)
		commit(t, s, put("a", "old"))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return saved
	}()
	readOnly := c
	readOnly.ReadOnly = true
	reader := open(t, readOnly)
	opened := make(chan *boltstore.Store)
	go func() {
		waits := c
		waits.Timeout = time.Minute
		s, err := boltstore.Open(waits)
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	time.Sleep(50 * time.Millisecond) // if it does not wait yet, it has it easy
	if _, err := boltstore.Restore(t.Context(), c, bytes.NewReader(saved), true); err != nil {
		t.Fatal(err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	s := <-opened
	commit(t, s, put("b", "1"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := content(t, open(t, c)), "a=restored@1-1 b=1@1000000002-1000000002 "; got != want {
		t.Errorf("the store has %q, want %q", got, want)
	}
}

// Close waits for commits that were accepted, and accepts no more.
func TestCloseWaits(t *testing.T) {
	const n = 5
	c := config(t)
	s := open(t, c)
	inside, leave := make(chan struct{}), make(chan struct{})
	s.Fail(boltstore.Failure{Cause: errors.New("late"), Late: true, Times: 1, Meanwhile: func() { close(inside); <-leave }})
	var group sync.WaitGroup
	accepted := func(key string) {
		group.Go(func() {
			if _, err := s.Commit(t.Context(), put(key, "")); err != nil {
				t.Errorf("%s: %v", key, err)
			}
		})
	}
	accepted("first")
	<-inside
	for i := range n {
		accepted(fmt.Sprint(i))
	}
	s.Waiting(n)
	group.Go(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	for {
		if _, err := s.Revision(t.Context()); errors.Is(err, store.ErrClosed) {
			break
		}
	}
	if _, err := s.Commit(t.Context(), put("late", "")); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Commit after Close: %v", err)
	}
	close(leave)
	group.Wait()
	s = open(t, c)
	check(t, s)
	if r, _ := s.Revision(t.Context()); r != 1+n {
		t.Errorf("revision %d, %d commits were accepted", r, 1+n)
	}
}
