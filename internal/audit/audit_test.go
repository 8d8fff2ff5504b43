package audit_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openimds/internal/audit"
	"openimds/internal/fault"
	"openimds/internal/testnet"
)

var t0 = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// record makes the i-th record of a test, a second after the one before.
func record(i int) audit.Record {
	r := audit.Record{
		Time: t0.Add(time.Duration(i) * time.Second), RequestID: fmt.Sprintf("r-%d", i), Principal: "arn:aws:iam::1:user/ann",
		AccessKeyID: "AKIAIMDSDEV000000000", SourceIP: "127.0.0.1", UserAgent: "aws-cli/2 <test>", API: audit.EC2, Action: "ec2:ModifyInstanceMetadataOptions",
		Resources: []string{fmt.Sprintf("arn:aws:ec2:us-east-1:1:instance/i-%d", i%3)}, Decision: audit.Allow, Reason: "allow", Policy: "admins", Sid: "All",
		Changes: []audit.Change{{Field: "httpTokens", From: "optional", To: "required"}},
	}
	if i%2 == 1 {
		r.API, r.Action, r.Decision, r.Reason, r.Error = audit.ECS, "ecs:RunInstances", audit.Deny, "implicit deny", "NoPermission"
		r.Principal, r.Changes = "acs:ram::1:user/bob", nil
	}
	return r
}

func open(t testing.TB, c audit.Config) *audit.Log {
	t.Helper()
	l, err := audit.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func appendAll(t testing.TB, l *audit.Log, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := l.Append(record(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// ids returns the request identifiers of a result.
func ids(r audit.Result) string {
	var all []string
	for _, r := range r.Records {
		all = append(all, strings.TrimPrefix(r.RequestID, "r-"))
	}
	return strings.Join(all, " ")
}

func files(t testing.TB, path string) []string {
	t.Helper()
	all, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		all[i] = filepath.Base(all[i])
	}
	return all
}

func TestAppendAndQuery(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, audit.Config{Path: path})
	if r, err := l.Query(t.Context(), audit.Filter{}); err != nil || len(r.Records) != 0 {
		t.Fatalf("of an empty log: %+v, %v", r, err)
	}
	appendAll(t, l, 0, 7)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	// Before Append returned, the kernel had it.
	text, err := os.ReadFile(path)
	if err != nil || strings.Count(string(text), "\n") != 7 || !strings.Contains(string(text), `"userAgent":"aws-cli/2 <test>"`) {
		t.Errorf("%v: %s", err, text)
	}
	for want, f := range map[string]audit.Filter{
		"6 5 4 3 2 1 0": {},
		"6 5":           {Limit: 2},
		"6 5 4":         {Since: t0.Add(4 * time.Second)},
		"1 0":           {Until: t0.Add(2 * time.Second)},
		"4 3":           {Since: t0.Add(3 * time.Second), Until: t0.Add(5 * time.Second)},
		"5 3 1":         {Principal: "acs:ram::1:user/bob"},
		"6 4 2 0":       {Action: "EC2:modifyinstancemetadataoptions"},
		"4 2 0":         {Action: "modifyInstanceMetadataOptions", Until: t0.Add(6 * time.Second)},
		"5 3":           {Decision: audit.Deny, Limit: 2},
		"4 1":           {Resource: "i-1"},
		"4":             {Resource: "arn:aws:ec2:us-east-1:1:instance/i-1", Decision: audit.Allow},
		"":              {Resource: "-1"},
	} {
		r, err := l.Query(t.Context(), f)
		if got := ids(r); err != nil || got != want || r.Damaged != 0 {
			t.Errorf("%+v finds %q, want %q (%d damaged, %v)", f, got, want, r.Damaged, err)
		}
		if more := f.Limit > 0; r.More != more {
			t.Errorf("%+v: more %v", f, r.More)
		}
	}
	if r, err := audit.Query(t.Context(), path, audit.Filter{}); err != nil || !reflect.DeepEqual(r.Records[6], record(0)) || !reflect.DeepEqual(r.Records[5], record(1)) {
		t.Errorf("%+v\nwant %+v (%v)", r.Records[6], record(0), err)
	}
	if r, err := audit.Query(t.Context(), filepath.Join(t.TempDir(), "none"), audit.Filter{}); err != nil || len(r.Records) != 0 {
		t.Errorf("of no log: %+v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Query(ctx, audit.Filter{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestLimit(t *testing.T) {
	l := open(t, audit.Config{Path: filepath.Join(t.TempDir(), "audit.log")})
	appendAll(t, l, 0, 1001)
	for limit, want := range map[int]int{0: 100, -1: 100, 7: 7, 5000: 1000} {
		if r, err := l.Query(t.Context(), audit.Filter{Limit: limit}); err != nil || len(r.Records) != want || !r.More {
			t.Errorf("limit %d: %d records, more %v, %v", limit, len(r.Records), r.More, err)
		}
	}
	if r, err := l.Query(t.Context(), audit.Filter{Limit: 1000, Since: t0.Add(time.Second)}); err != nil || len(r.Records) != 1000 || r.More {
		t.Errorf("exactly the limit: %d records, more %v, %v", len(r.Records), r.More, err)
	}
}

// What a caller chooses cannot make a line that is no line, or one that a
// reader cannot hold.
func TestHostileRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, audit.Config{Path: path})
	long := strings.Repeat("\x00\n", 1<<20)
	r := audit.Record{
		Time: t0, RequestID: long, Principal: long, AccessKeyID: long, SourceIP: long, UserAgent: long, API: audit.API(long), Action: long,
		Decision: audit.Decision(long), Reason: long, Policy: long, Sid: long, Error: long,
	}
	for range 300 {
		r.Resources = append(r.Resources, long)
		r.Changes = append(r.Changes, audit.Change{Resource: long, Field: long, From: long, To: long})
	}
	if err := l.Append(r); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(audit.Record{Time: t0, Action: "a\nb\u2028{\"", UserAgent: "\xff\xfe", Resources: []string{"\n"}}); err != nil {
		t.Fatal(err)
	}
	appendAll(t, l, 0, 1)
	text, err := os.ReadFile(path)
	if err != nil || strings.Count(string(text), "\n") != 3 || len(text) > 128<<10 {
		t.Errorf("%d lines in %d bytes, %v", strings.Count(string(text), "\n"), len(text), err)
	}
	got, err := l.Query(t.Context(), audit.Filter{})
	if err != nil || len(got.Records) != 3 || got.Damaged != 0 {
		t.Fatalf("%d records, %d damaged, %v", len(got.Records), got.Damaged, err)
	}
	if !got.Records[2].Cut || got.Records[1].Cut || got.Records[1].Action != "a\nb\u2028{\"" {
		t.Errorf("%+v", got.Records[1])
	}
	if len(r.Resources) != 300 || r.Resources[0] != long {
		t.Error("Append changed the caller's record")
	}
	if err := l.Append(audit.Record{}); err == nil || fault.KindOf(err) != fault.Internal {
		t.Errorf("without a time: %v", err)
	}
}

func TestRotationBySize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	c := audit.Config{Path: path, RotateSize: 2000, Keep: 3}
	l := open(t, c)
	appendAll(t, l, 0, 40)
	if got := files(t, path); len(got) != 4 || got[0] != "audit.log" || got[1] < "audit.log.000005" {
		t.Errorf("%s", got)
	}
	for _, name := range files(t, path) {
		info, err := os.Stat(filepath.Join(filepath.Dir(path), name))
		if err != nil || info.Size() > 2000 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d bytes, mode %v, %v", name, info.Size(), info.Mode(), err)
		}
	}
	r, err := l.Query(t.Context(), audit.Filter{})
	if err != nil || len(r.Records) < 10 || len(r.Records) >= 40 {
		t.Fatalf("%d records, %v", len(r.Records), err)
	}
	for i, r := range r.Records {
		if want := fmt.Sprintf("r-%d", 39-i); r.RequestID != want {
			t.Fatalf("record %d is %s, want %s", i, r.RequestID, want)
		}
	}
	// The numbers go on after a restart, and what is no log is left alone.
	other := path + ".old"
	if err := errors.Join(l.Close(), os.WriteFile(other, nil, 0o600), os.WriteFile(path+".7", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	l = open(t, c)
	before := files(t, path)
	appendAll(t, l, 40, 80)
	after := files(t, path)
	if len(after) != len(before) || after[1] <= before[3] {
		t.Errorf("%s\nthen %s", before, after)
	}
	if r, err := l.Query(t.Context(), audit.Filter{Limit: 1}); err != nil || ids(r) != "79" {
		t.Errorf("%s, %v", ids(r), err)
	}
}

func TestRotationByAge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	c := audit.Config{Path: path, RotateAfter: 10 * time.Second}
	l := open(t, c)
	appendAll(t, l, 0, 10)
	if got := files(t, path); len(got) != 1 {
		t.Fatal(got)
	}
	appendAll(t, l, 10, 15)
	if got := files(t, path); len(got) != 2 {
		t.Fatal(got)
	}
	// The age of a file survives a restart.
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, c)
	appendAll(t, l, 19, 20)
	if got := files(t, path); len(got) != 2 {
		t.Fatal(got)
	}
	appendAll(t, l, 20, 21)
	if got := files(t, path); len(got) != 3 {
		t.Fatal(got)
	}
	if r, err := l.Query(t.Context(), audit.Filter{}); err != nil || ids(r) != "20 19 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0" {
		t.Errorf("%s, %v", ids(r), err)
	}
}

// A file that cannot be rotated grows on: a call is not refused for it.
func TestRotationFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, audit.Config{Path: path, RotateSize: 1000})
	for n := 1; n <= 3; n++ { // somebody's folders stand where the older files would
		if err := os.Mkdir(fmt.Sprintf("%s.%06d", path, n), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	appendAll(t, l, 0, 5)
	if err := os.Remove(path + ".000002"); err != nil {
		t.Fatal(err)
	}
	appendAll(t, l, 5, 20)
	text, err := os.ReadFile(path + ".000004")
	if err != nil || strings.Count(string(text), "\n") < 3 {
		t.Errorf("%v: %s", err, text)
	}
	for n := 1; n <= 3; n += 2 {
		if info, err := os.Stat(fmt.Sprintf("%s.%06d", path, n)); err != nil || !info.IsDir() {
			t.Errorf("folder %d: %v", n, err)
		}
	}
}

// A last line that a crash cut off is reported, and nothing after it is lost.
func TestTornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, audit.Config{Path: path})
	appendAll(t, l, 0, 3)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := strings.LastIndexByte(string(whole[:len(whole)-1]), '\n') + 1
	for cut := last; cut <= len(whole); cut++ {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := audit.Query(t.Context(), path, audit.Filter{})
		torn := cut > last && cut < len(whole)
		want := "1 0"
		if cut == len(whole) {
			want = "2 1 0"
		}
		if err != nil || ids(r) != want || r.Damaged == 1 != torn || strings.Contains(r.Damage, path) != torn {
			t.Fatalf("cut at %d: %q, %d damaged (%s), %v", cut, ids(r), r.Damaged, r.Damage, err)
		}
		l := open(t, audit.Config{Path: path})
		appendAll(t, l, 7, 9)
		r, err = l.Query(t.Context(), audit.Filter{})
		want = "8 7 " + want
		if cut == len(whole)-1 { // only the line end was missing
			want, torn = "8 7 2 1 0", false
		}
		if err != nil || ids(r) != want || r.Damaged == 1 != torn {
			t.Fatalf("cut at %d, then more: %q, %d damaged (%s), %v", cut, ids(r), r.Damaged, r.Damage, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever a file holds, reading it backwards finds the lines that are records
// and counts the others.
func TestDamage(t *testing.T) {
	good, err := os.ReadFile(func() string {
		path := filepath.Join(t.TempDir(), "audit.log")
		appendAll(t, open(t, audit.Config{Path: path}), 0, 1)
		return path
	}())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "audit.log")
	rapid.Check(t, func(rt *rapid.T) {
		var text strings.Builder
		records, damaged := 0, 0
		for range rapid.IntRange(0, 30).Draw(rt, "lines") {
			switch rapid.IntRange(0, 6).Draw(rt, "line") {
			case 3: // a record, and more white space than a record of ours has
				text.WriteString(strings.TrimSuffix(string(good), "\n") + strings.Repeat(" ", rapid.IntRange(150_000, 200_000).Draw(rt, "blanks")) + "\n")
				damaged++
			case 0:
				text.WriteString(strings.Repeat("x", rapid.IntRange(1, 200_000).Draw(rt, "length")) + "\n")
				damaged++
			case 1:
				text.WriteString("\n")
			case 2:
				text.WriteString("{}\n")
				damaged++
			default:
				text.Write(good)
				records++
			}
		}
		if n := rapid.IntRange(0, 100_000).Draw(rt, "torn"); n%2 == 1 {
			text.WriteString(strings.Repeat("y", n))
			damaged++
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
			rt.Fatal(err)
		}
		r, err := audit.Query(t.Context(), path, audit.Filter{})
		if err != nil || len(r.Records) != records || r.Damaged != damaged {
			rt.Fatalf("%d records and %d damaged, want %d and %d (%v)", len(r.Records), r.Damaged, records, damaged, err)
		}
	})
}

// Many write and read at once, over rotations: nothing is lost, torn or
// doubled, and each writer's records are in its order.
func TestConcurrent(t *testing.T) {
	const writers, each = 8, 40
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, audit.Config{Path: path, RotateSize: 10_000, Keep: 1000, SyncEvery: time.Millisecond})
	var writing, reading sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				r := record(i)
				r.RequestID = fmt.Sprintf("%d/%d", w, i)
				if err := l.Append(r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		reading.Go(func() {
			for before := 0; ; {
				r, err := l.Query(t.Context(), audit.Filter{Limit: 1000})
				if err != nil || r.Damaged != 0 || len(r.Records) < before {
					t.Errorf("%d records after %d, %d damaged, %v", len(r.Records), before, r.Damaged, err)
				}
				before = len(r.Records)
				seen := map[string]bool{}
				for _, r := range r.Records {
					if seen[r.RequestID] {
						t.Errorf("%s is there twice", r.RequestID)
					}
					seen[r.RequestID] = true
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
	next := map[string]int{}
	total := 0
	for until := each - 1; until >= 0; until-- { // a thousand at a time would not do
		r, err := l.Query(t.Context(), audit.Filter{Since: t0.Add(time.Duration(until) * time.Second), Until: t0.Add(time.Duration(until+1) * time.Second)})
		if err != nil || len(r.Records) != writers {
			t.Fatalf("%d records of second %d, %v", len(r.Records), until, err)
		}
		total += len(r.Records)
	}
	if total != writers*each {
		t.Errorf("%d records, want %d", total, writers*each)
	}
	r, err := l.Query(t.Context(), audit.Filter{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range r.Records {
		w, i, _ := strings.Cut(r.RequestID, "/")
		n := 0
		fmt.Sscan(i, &n)
		if last, ok := next[w]; ok && n != last-1 {
			t.Fatalf("writer %s: %d stands before %d", w, n, last)
		}
		next[w] = n
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	readable := filepath.Join(dir, "readable")
	if err := errors.Join(os.WriteFile(readable, nil, 0o600), os.Chmod(readable, 0o644)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		readable:                          "chmod 600",
		dir:                               "not a regular file",
		filepath.Join(dir, "none", "log"): "no such file",
	} {
		if l, err := audit.Open(audit.Config{Path: path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v: want %q", path, l, err, want)
		}
	}
}

func TestClosed(t *testing.T) {
	l := open(t, audit.Config{Path: filepath.Join(t.TempDir(), "audit.log")})
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	if err := l.Append(record(0)); fault.KindOf(err) != fault.Unavailable || !errors.Is(err, os.ErrClosed) {
		t.Errorf("Append to a closed log: %v", err)
	}
}

// writerEnv makes the test program a writer that is to be killed.
const writerEnv = "OPENIMDS_AUDIT_TEST_PATH"

func TestMain(m *testing.M) {
	if path := os.Getenv(writerEnv); path != "" {
		write(path)
	}
	os.Exit(m.Run())
}

// write appends for ever, and says on stdout what was acknowledged.
func write(path string) {
	l, err := audit.Open(audit.Config{Path: path, RotateSize: 50_000, Keep: 1000})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	pid := os.Getpid()
	for i := 0; ; i++ {
		r := record(i)
		r.RequestID = fmt.Sprintf("%d/%d", pid, i)
		if err := l.Append(r); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(r.RequestID)
	}
}

// After kill -9 every record that was acknowledged is there, and at most the
// last line of each life is damaged.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	acknowledged := map[string]bool{}
	const lives = 12
	for range lives {
		cmd := testnet.Server(os.Args[0])
		cmd.Env = append(os.Environ(), writerEnv+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if !strings.Contains(lines.Text(), "/") {
				t.Fatal(lines.Text())
			}
			acknowledged[lines.Text()] = true
			if n == 40 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // killed
	}
	found := map[string]int{}
	var damaged int // of all files, in every answer
	for from := t0; ; from = from.Add(30 * time.Second) {
		r, err := audit.Query(t.Context(), path, audit.Filter{Since: from, Until: from.Add(30 * time.Second), Limit: 1000})
		if err != nil || r.More {
			t.Fatalf("more %v, %v", r.More, err)
		}
		damaged = r.Damaged
		for _, r := range r.Records {
			found[r.RequestID]++
		}
		if len(r.Records) == 0 {
			break
		}
	}
	if len(acknowledged) < lives*40 {
		t.Errorf("only %d records were acknowledged", len(acknowledged))
	}
	for id := range acknowledged {
		if found[id] != 1 {
			t.Errorf("%s is there %d times", id, found[id])
		}
	}
	if damaged > lives {
		t.Errorf("%d lines are damaged", damaged)
	}
}

func BenchmarkAppend(b *testing.B) {
	l := open(b, audit.Config{Path: filepath.Join(b.TempDir(), "audit.log")})
	r := record(0)
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Append(r); err != nil {
			b.Fatal(err)
		}
	}
}
