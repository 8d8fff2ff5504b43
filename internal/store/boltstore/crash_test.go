package boltstore_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"openimds/internal/fault"
	"openimds/internal/store"
	"openimds/internal/store/boltstore"
	"openimds/internal/testnet"
)

// Before a release: go test ./internal/store/boltstore -run TestKill -kills 250
var kills = flag.Int("kills", 60, "how many times TestKill kills a process that writes")

// crashEnv makes the test binary a process that writes to the file it names.
const crashEnv = "OPENIMDS_CRASH_WRITER"

const (
	crashWriters = 8
	crashItems   = 20 // that a writer leaves
)

func seqKey(writer int) string     { return fmt.Sprintf("seq/%d", writer) }
func itemKey(writer, n int) string { return fmt.Sprintf("item/%d/%08d", writer, n) }

// itemValue has any length up to some pages, and tells which item it is of.
func itemValue(writer, n int) string {
	return strings.Repeat(fmt.Sprintf("%d/%d ", writer, n), 1+(writer*7919+n*104729)%600)
}

// crashTx puts a number and its item.
func crashTx(writer, n int) store.Tx {
	return store.Tx{Put: []store.Pair{
		{Key: seqKey(writer), Value: []byte(strconv.Itoa(n))},
		{Key: itemKey(writer, n), Value: []byte(itemValue(writer, n))},
	}}
}

// crashWriter counts with every writer, one commit for each number: the number
// and its item come together, an old item goes. What was acknowledged is
// reported on standard output, as writer, number and revision.
func crashWriter(path string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "writer:", err)
		return 1
	}
	s, err := boltstore.Open(boltstore.Config{Path: path})
	if err != nil {
		return fail(err)
	}
	ctx := context.Background()
	failed := make(chan error)
	for w := range crashWriters {
		go func() {
			e, err := s.Get(ctx, seqKey(w))
			if err != nil && fault.KindOf(err) != fault.NotFound {
				failed <- err
				return
			}
			n, _ := strconv.Atoi(string(e.Value))
			for modified := e.Modified; ; {
				n++
				tx := crashTx(w, n)
				tx.If = []store.Condition{store.Unchanged(seqKey(w), modified), store.Absent(itemKey(w, n))}
				tx.Delete = []string{itemKey(w, n-crashItems)}
				if modified, err = s.Commit(ctx, tx); err != nil {
					failed <- err
					return
				}
				if _, err := fmt.Fprintf(os.Stdout, "%d %d %d\n", w, n, modified); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return fail(<-failed)
}

// TestKill kills a process that writes, again and again, and looks at what it
// has left: the file opens, is whole, has every commit that was acknowledged,
// and each commit once.
func TestKill(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const perFile = 15 // so that making a file is interrupted, too
	var path string
	var left survivors
	acknowledged := 0
	for round := range *kills {
		if round%perFile == 0 {
			path, left = filepath.Join(t.TempDir(), "state.db"), survivors{}
		}
		acks := killedWriter(t, self, path, round)
		for _, a := range acks {
			left.acked[a.writer] = max(left.acked[a.writer], a.n)
		}
		acknowledged += len(acks)
		if err := left.look(t.Context(), path, acks); err != nil {
			t.Fatalf("after kill %d: %v", round, err)
		}
	}
	t.Logf("%d kills, %d commits acknowledged", *kills, acknowledged)
	if acknowledged < *kills {
		t.Errorf("only %d commits were acknowledged: the writers were killed before they did anything", acknowledged)
	}
}

// ack is one line of a writer.
type ack struct {
	writer, n int
	revision  uint64
}

// killedWriter runs a writer for a short time, kills it, and returns what it
// had reported.
func killedWriter(t *testing.T, self, path string, round int) (acks []ack) {
	t.Helper()
	cmd := testnet.Server(self)
	cmd.Env = append(os.Environ(), crashEnv+"="+path)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	kill := func() { once.Do(func() { _ = cmd.Process.Kill() }) }
	defer kill()
	// Every third is killed at any time from its start on, the others some
	// time after their first report.
	if round%3 == 0 {
		time.AfterFunc(time.Duration(rand.IntN(60_000))*time.Microsecond, kill)
	} else {
		time.AfterFunc(time.Minute, kill)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var a ack
		if _, err := fmt.Sscan(lines.Text(), &a.writer, &a.n, &a.revision); err != nil {
			t.Fatalf("the writer says %q: %v", lines.Text(), err)
		}
		if acks = append(acks, a); len(acks) == 1 {
			time.AfterFunc(time.Duration(rand.IntN(40_000))*time.Microsecond, kill)
		}
	}
	_ = cmd.Wait()
	if problems.Len() > 0 {
		t.Errorf("the writer says: %s", &problems)
	}
	return acks
}

// survivors is what must be in the file.
type survivors struct {
	acked    [crashWriters]int // the number each writer has reported last
	revision uint64            // of the look before
}

// look returns what is wrong in the file.
func (left *survivors) look(ctx context.Context, path string, acks []ack) error {
	s, err := boltstore.Open(boltstore.Config{Path: path})
	if err != nil {
		return err
	}
	defer s.Close()
	l, err := s.List(ctx, "", store.ListOptions{})
	if err := errors.Join(err, s.Check(ctx)); err != nil {
		return err
	}
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	entries := map[string]store.Entry{}
	for _, e := range l.Entries {
		entries[e.Key] = e
	}
	commits := uint64(0)
	for w := range crashWriters {
		n, _ := strconv.Atoi(string(entries[seqKey(w)].Value))
		// One may have been in flight, and made it.
		if n < left.acked[w] || n > left.acked[w]+1 {
			bad("writer %d is at %d, and has reported %d", w, n, left.acked[w])
		}
		left.acked[w] = n
		commits += uint64(n)
		delete(entries, seqKey(w))
		for i := max(1, n-crashItems+1); i <= n; i++ {
			if e := entries[itemKey(w, i)]; string(e.Value) != itemValue(w, i) || e.Created != e.Modified {
				bad("%s is not whole: %d bytes, revisions %d and %d", itemKey(w, i), len(e.Value), e.Created, e.Modified)
			}
			delete(entries, itemKey(w, i))
		}
	}
	for key := range entries {
		bad("%s should not be there", key)
	}
	if l.Revision != commits {
		bad("revision %d after %d commits", l.Revision, commits)
	}
	made, err := history(ctx, s, left.revision, l.Revision)
	if err != nil {
		bad("history: %w", err)
	}
	for _, a := range acks {
		if made[a.revision] != itemKey(a.writer, a.n) {
			bad("history has %q at revision %d, which was reported for %s", made[a.revision], a.revision, itemKey(a.writer, a.n))
		}
	}
	left.revision = l.Revision
	return errors.Join(problems...)
}

// history returns the items that revisions after one and up to another made.
func history(ctx context.Context, s store.Store, after, until uint64) (map[uint64]string, error) {
	w, err := s.Watch(ctx, "item/", after)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	made := map[uint64]string{}
	for at := after; at < until; at++ {
		b, err := w.Next(ctx)
		if err != nil || b.Revision != at+1 {
			return nil, fmt.Errorf("revision %d after %d, %w", b.Revision, at, err)
		}
		for _, e := range b.Events {
			if !e.Deleted {
				made[b.Revision] += e.Key
			}
		}
	}
	return made, nil
}

// What TestKill looks for it finds: otherwise it would prove nothing.
func TestKillNotices(t *testing.T) {
	good := crashTx
	acks := []ack{{0, 1, 1}, {1, 1, 2}, {0, 2, 3}}
	for name, tc := range map[string]struct {
		commits []store.Tx
		want    string
	}{
		"nothing":           {[]store.Tx{good(0, 1), good(1, 1), good(0, 2)}, ""},
		"one more":          {[]store.Tx{good(0, 1), good(1, 1), good(0, 2), good(0, 3)}, ""},
		"a lost commit":     {[]store.Tx{good(0, 1), good(1, 1)}, "writer 0 is at 1, and has reported 2"},
		"a repeated commit": {[]store.Tx{good(0, 1), good(1, 1), good(0, 2), good(0, 2)}, "revision 4 after 3 commits"},
		"another order":     {[]store.Tx{good(1, 1), good(0, 1), good(0, 2)}, "at revision 1, which was reported for"},
		"half a commit":     {[]store.Tx{good(0, 1), good(1, 1), put(seqKey(0), "2")}, "is not whole"},
		"too much":          {[]store.Tx{good(0, 1), good(1, 1), good(0, 2), put("x", "")}, "x should not be there"},
	} {
		t.Run(name, func(t *testing.T) {
			c := config(t)
			s := open(t, c)
			for _, tx := range tc.commits {
				commit(t, s, tx)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			left := survivors{acked: [crashWriters]int{2, 1}}
			switch err := left.look(t.Context(), c.Path, acks); {
			case tc.want == "" && err != nil:
				t.Errorf("there is nothing wrong, and it says: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("it says %v, want %q", err, tc.want)
			}
		})
	}
}
