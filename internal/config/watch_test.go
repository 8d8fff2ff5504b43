package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"openimds/internal/instance"
)

// file returns the text of an instances file with one instance of that name.
func file(name string) string {
	return fmt.Sprintf(`instances:
  - id: i-0123456789abcdef0
    dialect: ec2
    name: %s
    account: 123456789012
    region: us-east-1
    zone: us-east-1a
    type: m7g.large
    image: {id: ami-0123456789abcdef0}
    interfaces:
      - id: eni-0123456789abcdef0
        mac: 02:00:5e:10:00:01
        ipv4: [10.0.0.5]
        subnet: {id: subnet-1}
        vpc: {id: vpc-1}
`, name)
}

// watched is a file that a Watcher follows, and what the Watcher said since
// it was asked last.
type watched struct {
	t    *testing.T
	path string
	stop func()

	mu   sync.Mutex
	said []string
}

func watch(t *testing.T, content string) *watched {
	w := &watched{t: t, path: filepath.Join(t.TempDir(), "instances.yaml")}
	if content != "" {
		w.write(content)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f := Watcher{Path: w.path, OnChange: w.change, OnError: w.fail}
		f.Run(ctx)
	}()
	w.stop = func() { cancel(); <-done }
	return w
}

func (w *watched) change(all []*instance.Instance) {
	names := make([]string, len(all))
	for i, in := range all {
		names[i] = in.Name
	}
	w.say("change " + strings.Join(names, " "))
}

func (w *watched) fail(err error) {
	w.say("error " + strings.ReplaceAll(err.Error(), filepath.Dir(w.path)+"/", ""))
}

func (w *watched) say(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

func (w *watched) write(content string) {
	w.t.Helper()
	if err := os.WriteFile(w.path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) replace(content string) {
	w.t.Helper()
	next := w.path + ".new"
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(next, w.path); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) remove() {
	w.t.Helper()
	if err := os.Remove(w.path); err != nil {
		w.t.Fatal(err)
	}
}

// after lets some looks pass and checks what the Watcher says.
func (w *watched) after(looks int, want ...string) {
	w.t.Helper()
	time.Sleep(time.Duration(looks)*DefaultInterval + time.Millisecond)
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := strings.Join(w.said, "; "); got != strings.Join(want, "; ") {
		w.t.Errorf("got  %q\nwant %q", got, strings.Join(want, "; "))
	}
	w.said = nil
}

func TestWatch(t *testing.T) {
	const gone = "error read instances file: open instances.yaml: no such file or directory"
	const broken = "error instances.yaml:1:1: instance: unknown key; did you mean instances?"
	tests := map[string]func(w *watched){
		"edited in place": func(w *watched) {
			w.write(file("b"))
			w.after(1) // one look is not enough: the file may be half written
			w.after(1, "change b")
			w.after(8)
		},
		"edited twice within one size": func(w *watched) {
			w.write(file("b"))
			w.after(2, "change b")
			w.write(file("c"))
			w.after(2, "change c")
		},
		"replaced": func(w *watched) {
			w.replace(file("b"))
			w.after(2, "change b")
		},
		"touched": func(w *watched) {
			w.write(file("a"))
			w.after(8)
		},
		"written in parts": func(w *watched) {
			whole := file("b")
			w.write("")
			w.after(1)
			w.write(whole[:100])
			w.after(1)
			w.write(whole)
			w.after(2, "change b")
		},
		"written all the time": func(w *watched) {
			for i := range mostRushed {
				w.write(file(fmt.Sprint("b", i)))
				w.after(1)
			}
			w.write(file("c"))
			w.after(1, "change c")
		},
		"broken and mended": func(w *watched) {
			w.write("instance: []")
			w.after(2, broken)
			w.after(4)
			w.write("instance:   []")
			w.after(4) // another content, the same error
			w.write(file("a"))
			w.after(2, "change a")
			w.write("instance: []")
			w.after(2, broken)
		},
		"deleted and made again": func(w *watched) {
			w.remove()
			w.after(2, gone)
			w.after(4)
			w.write(file("b"))
			w.after(2, "change b")
			w.remove()
			w.after(2, gone)
			w.write("instance: []")
			w.after(2, broken)
		},
		"deleted for a moment": func(w *watched) {
			w.remove()
			w.after(1)
			w.write(file("a"))
			w.after(8)
		},
		"a directory": func(w *watched) {
			w.remove()
			if err := os.Mkdir(w.path, 0o700); err != nil {
				w.t.Fatal(err)
			}
			w.after(2, "error read instances file: read instances.yaml: is a directory")
		},
	}
	for name, script := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watch(t, file("a"))
				defer w.stop()
				w.after(2, "change a")
				script(w)
			})
		})
	}
}

func TestWatchFileThatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, "")
		defer w.stop()
		w.after(2, "error read instances file: open instances.yaml: no such file or directory")
		w.write(file("a"))
		w.after(2, "change a")
	})
}

// What Load returned is no change; what was written right after it is one.
func TestLoadThenRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := &watched{t: t, path: filepath.Join(t.TempDir(), "instances.yaml")}
		rec.write(file("a"))
		w := Watcher{Path: rec.path, OnChange: rec.change, OnError: rec.fail}
		if all, err := w.Load(); err != nil || len(all) != 1 || all[0].Name != "a" {
			t.Fatalf("got %v, %v", all, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.Run(ctx) }()
		rec.after(4)
		rec.write(file("b"))
		rec.after(2, "change b")
		cancel()
		<-done
	})
}

// A file whose stat is old and the same is not read again.
func TestWatcherUnchanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "instances.yaml")
	write := func(text string, age time.Duration) os.FileInfo {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-age)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
		stat, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return stat
	}
	w := Watcher{Path: path}
	old := write(file("a"), time.Hour)
	if w.unchanged(old) {
		t.Error("unchanged before the first look")
	}
	if _, err := w.Load(); err != nil {
		t.Fatal(err)
	}
	if !w.unchanged(old) {
		t.Error("an old file that nobody wrote has changed")
	}
	for name, now := range map[string]os.FileInfo{
		"size": write(file("ab"), time.Hour),
		"time": write(file("a"), time.Minute),
	} {
		if w.unchanged(now) {
			t.Errorf("%s: a change goes unseen", name)
		}
	}
	young := write(file("a"), 0)
	if _, err := w.Load(); err != nil {
		t.Fatal(err)
	}
	if w.unchanged(young) {
		t.Error("a file that is too young for its time to tell is taken as unchanged")
	}
}

func TestLoadInstances(t *testing.T) {
	if _, err := LoadInstances(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	path := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Fatal(err)
	}
	var problems Problems
	if _, err := LoadInstances(path); !errors.As(err, &problems) || !strings.Contains(err.Error(), "expected at most 16777216") {
		t.Errorf("got %v", err)
	}
}
