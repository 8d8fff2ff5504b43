package history_test

import (
	"path/filepath"
	"testing"
	"time"

	"openimds/internal/fault"
	"openimds/internal/trace/finding"
	"openimds/internal/usage/history"
)

// A batch counts once, however often it comes, over restarts; one without a key
// counts each time; a key is for one text.
func TestBatchCountsOnce(t *testing.T) {
	c := &clock{t: start}
	path := filepath.Join(t.TempDir(), "usage")
	f := open(t, path, c)
	put := func(key, text string, again bool) {
		t.Helper()
		line := finding.Finding{V: 1, Time: c.now(), Mode: finding.TokenFree, Count: 2, Process: finding.Process{Comm: "curl"}}
		got, err := f.PutFound(history.Found{Key: key, Text: []byte(text), Findings: map[string][]finding.Finding{"i-1": {line}, "i-2": {line}}})
		if err != nil || got != again {
			t.Errorf("%q: %v, %v", key, got, err)
		}
	}
	want := func(count uint64) {
		t.Helper()
		for _, id := range []string{"i-1", "i-2"} {
			found, err := f.Findings(id, time.Time{})
			if err != nil || len(found) != 1 || found[0].Count != count {
				t.Errorf("%s has %+v, %v, want %d", id, found, err, count)
			}
		}
	}
	put("a", "text", false)
	put("a", "text", true)
	put("b", "text", false)
	want(4)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = open(t, path, c)
	defer func() { _ = f.Close() }()
	put("a", "text", true)
	want(4)
	put("", "text", false)
	put("", "text", false)
	want(8)
	if _, err := f.PutFound(history.Found{Key: "a", Text: []byte("other")}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("another text: %v", err)
	}
	want(8)
	c.add(31 * 24 * time.Hour)
	put("c", "text", false)
	if err := f.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	put("c", "text", true)
	put("a", "text", false) // it was forgotten
}

// What is remembered is bounded: the oldest go.
func TestBatchesAreBounded(t *testing.T) {
	c := &clock{t: start}
	f, err := history.Open(history.Config{Path: filepath.Join(t.TempDir(), "usage"), Passing: true, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := f.NoteBatches(history.MostBatches+10, c.now()); err != nil {
		t.Fatal(err)
	}
	for i, key := range []string{"10", "9"} {
		if again, err := f.PutFound(history.Found{Key: key}); err != nil || again != (i == 0) {
			t.Errorf("%s: %v, %v", key, again, err)
		}
	}
}
