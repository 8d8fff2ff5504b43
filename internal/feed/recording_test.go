package feed_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"openimds/internal/feed"
	"openimds/internal/instance"
	"openimds/internal/testnet"
	"openimds/internal/token"
)

var quiet = testnet.Quiet()

func lease(b byte) token.Lease {
	l := token.Lease{First: int64(b)}
	for i := range l.Keys {
		l.Keys[i] = bytes.Repeat([]byte{b}, 32)
	}
	return l
}

func guest(n int, tag string) *feed.Guest {
	in := &instance.Instance{
		ID: fmt.Sprintf("i-%017x", n), Dialect: "ec2", Account: "123456789012", Region: "us-east-1", Zone: "us-east-1a", Type: "m7g.large",
		Image: instance.Image{ID: "ami-0123456789abcdef0"}, Tags: map[string]string{"v": tag}, Node: "host-1",
		Interfaces: []instance.Interface{{
			ID: fmt.Sprintf("eni-%017x", n), MAC: fmt.Sprintf("02:00:00:00:00:%02x", n), IPv4: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(n)})},
			Subnet: instance.Subnet{ID: "subnet-0123456789abcdef0", IPv4: netip.MustParsePrefix("10.0.0.0/24")},
			VPC:    instance.VPC{ID: "vpc-0123456789abcdef0", IPv4: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}},
		}},
	}
	instance.Normalize(in)
	return &feed.Guest{Instance: in, Keys: lease(1)}
}

// shown is what a mirror has in force.
func shown(m *feed.Mirror) string {
	var all []string
	b := m.Everything()
	for _, g := range b.Put {
		all = append(all, fmt.Sprintf("%s=%s/%d", g.Instance.ID[len(g.Instance.ID)-1:], g.Instance.Tags["v"], g.Keys.First))
	}
	slices.Sort(all)
	return fmt.Sprintf("%d: %s", b.Revision, strings.Join(all, " "))
}

var story = [][]feed.Frame{
	{{Hello: &feed.Hello{Version: feed.Version, Store: "s", Node: "host-1", Snapshot: true}}, {Put: guest(1, "a")}, {Put: guest(2, "a")}, {Commit: 5}},
	{{Put: guest(1, "b")}, {Remove: guest(2, "").Instance.ID}, {Put: guest(3, "a")}, {Commit: 7}},
	{{Keys: &feed.Keys{ID: guest(1, "").Instance.ID, Keys: lease(2)}}, {Commit: 7}},
	{{Remove: guest(3, "").Instance.ID}, {Commit: 9}},
}

var after = []string{"0: ", "5: 1=a/1 2=a/1", "7: 1=b/1 3=a/1", "7: 1=b/2 3=a/1", "9: 1=b/2"}

// record plays the story into a mirror and a recording.
func record(t *testing.T, path string) (*feed.Mirror, *feed.Recording) {
	t.Helper()
	m := &feed.Mirror{}
	r, err := feed.OpenRecording(path, m, quiet)
	if err != nil {
		t.Fatal(err)
	}
	for i, frames := range story {
		for _, f := range frames {
			b, err := m.Add(f)
			if err != nil {
				t.Fatal(err)
			}
			if b != nil {
				if err := r.Append(b, m); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := shown(m); got != after[i+1] {
			t.Fatalf("after part %d: %s, want %s", i, got, after[i+1])
		}
	}
	return m, r
}

func reopen(t *testing.T, path string) (*feed.Mirror, *feed.Recording) {
	t.Helper()
	m := &feed.Mirror{}
	r, err := feed.OpenRecording(path, m, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return m, r
}

// Wherever a file was cut off, what it gives is what was in force after some
// commit, and never less than the commit whose bytes are all there.
func TestCutAnywhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "last-good")
	_, r := record(t, path)
	_ = r.Close()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for n := range len(data) + 1 {
		cut := filepath.Join(t.TempDir(), "cut")
		if err := os.WriteFile(cut, data[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		m, _ := reopen(t, cut)
		want := after[bytes.Count(data[:n], []byte(`{"commit":`))]
		if i := bytes.LastIndexByte(data[:n], '\n'); bytes.Contains(data[i+1:n], []byte(`{"commit":`)) {
			want = after[bytes.Count(data[:i+1], []byte(`{"commit":`))]
		}
		if got := shown(m); got != want {
			t.Fatalf("cut after %d of %d bytes: %s, want %s", n, len(data), got, want)
		}
		seen[want] = true
	}
	if len(seen) != len(after) {
		t.Errorf("%d states were seen, want %d: the test cuts nothing", len(seen), len(after))
	}
}

// What was cut off does not become the beginning of what is written next.
func TestGoOnAfterCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "last-good")
	_, r := record(t, path)
	_ = r.Close()
	data, _ := os.ReadFile(path)
	if err := os.WriteFile(path, data[:len(data)-3], 0o600); err != nil {
		t.Fatal(err)
	}
	m, r := reopen(t, path)
	m.Begin()
	for _, f := range []feed.Frame{{Hello: &feed.Hello{Version: feed.Version, Store: "s", Node: "host-1"}}, {Put: guest(4, "a")}, {Commit: 12}} {
		b, err := m.Add(f)
		if err != nil {
			t.Fatal(err)
		}
		if b != nil {
			if err := r.Append(b, m); err != nil {
				t.Fatal(err)
			}
		}
	}
	again, _ := reopen(t, path)
	if got, want := shown(again), "12: 1=b/2 3=a/1 4=a/1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "last-good")
	_, r := record(t, path)
	_ = r.Close()
	data, _ := os.ReadFile(path)
	at := bytes.Index(data, []byte(`{"commit":5,`)) + 200
	data[at] = 'x'
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	m, _ := reopen(t, path)
	if got := shown(m); got != after[1] {
		t.Errorf("%s, want what was good before the damage, %s", got, after[1])
	}
	if _, err := os.Stat(path + ".damaged"); err != nil {
		t.Errorf("the damaged file was not kept: %v", err)
	}
}

func TestReadableByOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "last-good")
	_, r := record(t, path)
	_ = r.Close()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("written with mode %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := feed.OpenRecording(path, &feed.Mirror{}, quiet); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others may read: %v", err)
	}
}

// History does not grow without bound, and a write that fails is made good by
// the next.
func TestHistory(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "last-good")
	m, r := record(t, path)
	write := func(n int) error {
		if _, err := m.Add(feed.Frame{Put: guest(5, strings.Repeat("x", 200)+fmt.Sprint(n))}); err != nil {
			t.Fatal(err)
		}
		b, err := m.Add(feed.Frame{Commit: uint64(100 + n)})
		if err != nil {
			t.Fatal(err)
		}
		return r.Append(b, m)
	}
	for n := range 3000 {
		if err := write(n); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 3<<20 {
		t.Errorf("the file has %d bytes for two guests", info.Size())
	}
	_ = r.Close()
	away := dir + "-away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	if err := write(3000); err == nil {
		t.Error("written into a directory that is gone")
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	if err := write(3001); err != nil {
		t.Fatal(err)
	}
	again, _ := reopen(t, path)
	if got, want := shown(again), shown(m); got != want {
		t.Errorf("%.80s, want %.80s", got, want)
	}
	left, err := fs.Glob(os.DirFS(dir), "*")
	if err != nil || len(left) != 1 {
		t.Errorf("files %v, %v", left, err)
	}
}

func TestRefused(t *testing.T) {
	hello := feed.Frame{Hello: &feed.Hello{Version: feed.Version, Store: "s", Snapshot: true}}
	short := *guest(1, "a")
	short.Keys.Keys[2] = short.Keys.Keys[2][:5]
	invalid := *guest(1, "a")
	in := *invalid.Instance
	in.Account = "x"
	invalid.Instance = &in
	for name, frames := range map[string][]feed.Frame{
		"no hello":               {{Commit: 1}},
		"another version":        {{Hello: &feed.Hello{Version: 2, Snapshot: true}}},
		"goes on from elsewhere": {{Hello: &feed.Hello{Version: feed.Version, Store: "t"}}},
		"no instance":            {hello, {Put: &feed.Guest{}}},
		"short key":              {hello, {Put: &short}},
		"short key alone":        {hello, {Keys: &feed.Keys{ID: "i", Keys: short.Keys}}},
		"invalid instance":       {hello, {Put: &invalid}},
	} {
		m := &feed.Mirror{}
		var err error
		for _, f := range frames {
			_, err = m.Add(f)
		}
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzReader(f *testing.F) {
	var all []byte
	for _, frames := range story {
		for _, frame := range frames {
			all, _ = feed.Append(all, frame)
		}
	}
	f.Add(all)
	f.Add(all[:len(all)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		m, r := &feed.Mirror{}, feed.NewReader(bytes.NewReader(data))
		for {
			frame, err := r.Next()
			if err != nil {
				return
			}
			if _, err := m.Add(frame); err != nil {
				return
			}
		}
	})
}
