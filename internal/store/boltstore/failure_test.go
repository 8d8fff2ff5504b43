package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"openimds/internal/fault"
	"openimds/internal/store"
	"openimds/internal/store/boltstore"
)

// The cause of a failed write is in the error, in words and to be found.
func TestCause(t *testing.T) {
	s := open(t, config(t))
	for _, tc := range []struct {
		cause error
		says  string
	}{
		{syscall.ENOSPC, "the disk is full"},
		{syscall.EDQUOT, "the disk is full"},
		{syscall.EROFS, "the disk is read-only"},
		{syscall.EIO, "the change was not saved: write " + s.Path()},
	} {
		s.Fail(boltstore.Failure{Cause: tc.cause})
		_, err := s.Commit(t.Context(), put("a", "1"))
		wantFault(t, "Commit", err, fault.Unavailable, tc.says)
		if !errors.Is(err, tc.cause) || errors.Is(err, store.ErrUncertain) {
			t.Errorf("the error is %v, want its cause %v", err, tc.cause)
		}
	}
}

// If only the last sync fails, the commit can be read from the file, although
// it is not durable. Writing once more makes it so.
func TestLateFailureIsRepaired(t *testing.T) {
	c := config(t)
	s := open(t, c)
	commit(t, s, put("a", "1"))
	attempts := s.Fail(boltstore.Failure{Cause: syscall.EIO, Late: true, Times: 1})
	if r := commit(t, s, put("a", "2")); r != 2 {
		t.Errorf("revision %d, want 2", r)
	}
	if n := attempts.Load(); n != 2 {
		t.Errorf("%d transactions were written, want 2", n)
	}
	check(t, s)
	w, err := s.Watch(t.Context(), "", 1)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := w.Next(t.Context()); err != nil || b.Revision != 2 {
		t.Errorf("Next: %+v, %v", b, err)
	}
	if r := commit(t, s, put("a", "3")); r != 3 {
		t.Errorf("revision %d, want 3", r)
	}
}

// If that fails too, nobody knows; but whoever asks gets one answer.
func TestLateFailureStays(t *testing.T) {
	c := config(t)
	s := open(t, c)
	commit(t, s, put("a", "1"))
	w, err := s.Watch(t.Context(), "", 1)
	if err != nil {
		t.Fatal(err)
	}
	s.Fail(boltstore.Failure{Cause: syscall.EIO, Late: true})
	r, err := s.Commit(t.Context(), put("a", "2"))
	wantFault(t, "Commit", err, fault.Unavailable, "may be lost")
	if r != 2 || !errors.Is(err, store.ErrUncertain) || !errors.Is(err, syscall.EIO) {
		t.Errorf("Commit: %d, %v; want revision 2, uncertain", r, err)
	}
	if got, want := content(t, s), "a=2@1-2 "; got != want {
		t.Errorf("the store has %q, want %q", got, want)
	}
	if b, err := w.Next(t.Context()); err != nil || b.Revision != 2 {
		t.Errorf("Next: %+v, %v", b, err)
	}
	if _, err := s.Commit(t.Context(), store.Tx{If: []store.Condition{store.Unchanged("a", 1)}}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a condition on the old state: %v", err)
	}
	s.Fail(boltstore.Failure{})
	if r := commit(t, s, put("a", "3")); r != 3 {
		t.Errorf("revision %d, want 3", r)
	}
	check(t, s)
}

// Guarantee 2: between the last write and its sync a commit is in the file,
// and nobody sees it.
func TestNotSeenBeforeDurable(t *testing.T) {
	s := open(t, config(t))
	commit(t, s, put("a", "1"))
	w, err := s.Watch(t.Context(), "", 1)
	if err != nil {
		t.Fatal(err)
	}
	inside, leave := make(chan struct{}), make(chan struct{})
	s.Fail(boltstore.Failure{Cause: syscall.EIO, Late: true, Times: 1, Meanwhile: func() { close(inside); <-leave }})
	committed := make(chan error)
	go func() {
		_, err := s.Commit(t.Context(), put("a", "2"))
		committed <- err
	}()
	<-inside
	if r, err := s.Revision(t.Context()); r != 1 || err != nil {
		t.Errorf("Revision: %d, %v", r, err)
	}
	// Whoever asks waits, here for as long as their context lets them.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if e, err := s.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("before it was durable Get gave %q, %v", e.Value, err)
	}
	if b, err := w.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("before it was durable Next gave revision %d, %v", b.Revision, err)
	}
	got := make(chan string)
	go func() {
		e, err := s.Get(t.Context(), "a")
		got <- fmt.Sprintf("%s %v", e.Value, err)
	}()
	close(leave)
	if err := <-committed; err != nil {
		t.Errorf("Commit: %v", err)
	}
	if g := <-got; g != "2 <nil>" {
		t.Errorf("the Get that waited: %s", g)
	}
}

// Commits share transactions of the file, and each has its own outcome.
func TestGroup(t *testing.T) {
	const n = 50
	s := open(t, config(t))
	commit(t, s, put("there", ""))
	attempts, results := group(t, s, boltstore.Failure{Cause: errors.New("late"), Late: true, Times: 1}, n)
	// The first of them, its repair, and the others together.
	if got := attempts(); got > 5 {
		t.Errorf("%d commits took %d transactions of the file", n, got)
	}
	for i, err := range results {
		if i%5 == 4 != (fault.KindOf(err) == fault.Conflict && err != nil) || i%5 != 4 && err != nil {
			t.Errorf("commit %d: %v", i, err)
		}
	}
	if r, _ := s.Revision(t.Context()); r != 1+1+n-n/5 {
		t.Errorf("revision %d, want %d", r, 2+n-n/5)
	}
	check(t, s)
}

// More than fits into one transaction goes into several.
func TestLargeGroup(t *testing.T) {
	const n = 6
	s := open(t, config(t))
	inside, leave := make(chan struct{}), make(chan struct{})
	attempts := s.Fail(boltstore.Failure{Cause: errors.New("late"), Late: true, Times: 1, Meanwhile: func() { close(inside); <-leave }})
	var all sync.WaitGroup
	all.Go(func() { commit(t, s, put("first", "")) })
	<-inside
	third := []byte(strings.Repeat("x", 1<<20))
	for i := range n {
		all.Go(func() {
			var tx store.Tx
			for part := range 3 {
				tx.Put = append(tx.Put, store.Pair{Key: fmt.Sprintf("%d/%d", i, part), Value: third})
			}
			if _, err := s.Commit(t.Context(), tx); err != nil {
				t.Errorf("commit %d: %v", i, err)
			}
		})
	}
	s.Waiting(n)
	close(leave)
	all.Wait()
	if got, want := attempts.Load(), int64(2+n/2); got != want {
		t.Errorf("%d transactions of the file, want %d: of six commits of 3 MiB two fit into one", got, want)
	}
	if l, err := s.List(t.Context(), "", store.ListOptions{}); err != nil || len(l.Entries) != 1+3*n {
		t.Errorf("%d entries, want %d (%v)", len(l.Entries), 1+3*n, err)
	}
}

// If a shared transaction fails, each is tried alone, so that one that cannot
// be written does not take others with it.
func TestGroupFails(t *testing.T) {
	const n = 10
	s := open(t, config(t))
	commit(t, s, put("there", ""))
	s.Fail(boltstore.Failure{})
	// The first is the one that holds the others up; the second is the group.
	attempts, results := group(t, s, boltstore.Failure{Cause: syscall.ENOSPC, Times: 2}, n)
	for i, err := range results {
		if i%5 != 4 && err != nil {
			t.Errorf("commit %d: %v", i, err)
		}
		if i%5 == 4 && (err == nil || fault.KindOf(err) != fault.Conflict) {
			t.Errorf("commit %d: %v, want a conflict", i, err)
		}
	}
	if got, want := attempts(), int64(2+n-n/5); got != want {
		t.Errorf("%d transactions of the file, want %d", got, want)
	}
	check(t, s)
}

// group has n commits wait for one that is being written, and returns their
// outcomes. Every fifth asks for what cannot be.
func group(t *testing.T, s *boltstore.Store, f boltstore.Failure, n int) (attempts func() int64, results []error) {
	t.Helper()
	inside, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.Meanwhile = func() { once.Do(func() { close(inside); <-leave }) }
	count := s.Fail(f)
	var all sync.WaitGroup
	all.Go(func() { _, _ = s.Commit(t.Context(), put("first", "")) })
	<-inside
	results = make([]error, n)
	for i := range n {
		all.Go(func() {
			tx := put(fmt.Sprint(i), "")
			if i%5 == 4 {
				tx.If = []store.Condition{store.Absent("there")}
			}
			_, results[i] = s.Commit(t.Context(), tx)
		})
	}
	s.Waiting(n)
	close(leave)
	all.Wait()
	return count.Load, results
}

// A commit that meets a damaged entry fails as a whole, and alone.
func TestDamagedGroup(t *testing.T) {
	s := open(t, config(t))
	commit(t, s, put("bad", "1"))
	if err := s.Raw(func(entries, _, _ *bolt.Bucket) error { return entries.Put([]byte("bad"), []byte("x")) }); err != nil {
		t.Fatal(err)
	}
	inside, leave := make(chan struct{}), make(chan struct{})
	s.Fail(boltstore.Failure{Cause: syscall.EIO, Times: 1, Meanwhile: func() { close(inside); <-leave }})
	var all sync.WaitGroup
	all.Go(func() { _, _ = s.Commit(t.Context(), put("first", "")) })
	<-inside
	for i := range 9 {
		all.Go(func() {
			tx := put(fmt.Sprint(i), "")
			if i%3 == 0 {
				tx.Put = append(tx.Put, store.Pair{Key: "bad"})
			}
			_, err := s.Commit(t.Context(), tx)
			if i%3 == 0 {
				wantFault(t, "Commit", err, fault.Internal, `key "bad"`)
			} else if err != nil {
				t.Errorf("commit %d: %v", i, err)
			}
		})
	}
	s.Waiting(9)
	close(leave)
	all.Wait()
	for i := range 9 {
		if _, err := s.Get(t.Context(), fmt.Sprint(i)); (err == nil) != (i%3 != 0) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if r, _ := s.Revision(t.Context()); r != 7 {
		t.Errorf("revision %d, want 7", r)
	}
}

// History is bounded in number and in bytes, and what is left is whole.
func TestTrim(t *testing.T) {
	for _, tc := range []struct {
		keep, keepBytes int
		size            int
		least, most     int // revisions that are remembered in the end
	}{
		{keep: 16, size: 10, least: 16, most: 18},
		{keep: 1, size: 10, least: 1, most: 1},
		{keep: 1000, keepBytes: 10_000, size: 1000, least: 7, most: 9},
		{keep: 1000, keepBytes: 100, size: 1000, least: 1, most: 1},
	} {
		t.Run(fmt.Sprintf("%d of %d bytes", tc.keep, tc.keepBytes), func(t *testing.T) {
			c := config(t)
			c.Keep, c.KeepBytes = tc.keep, tc.keepBytes
			s := open(t, c)
			const commits = 60
			for i := range commits {
				commit(t, s, put(fmt.Sprint(i%3), strings.Repeat("x", tc.size)))
			}
			check(t, s)
			remembered := 0
			for after := range uint64(commits) {
				_, err := s.Watch(t.Context(), "", after)
				if err == nil {
					remembered++
				} else if !errors.Is(err, store.ErrCompacted) || remembered > 0 {
					t.Errorf("a watch after %d: %v", after, err)
				}
			}
			if remembered < tc.least || remembered > tc.most {
				t.Errorf("%d revisions are remembered, want %d to %d", remembered, tc.least, tc.most)
			}
		})
	}
}
