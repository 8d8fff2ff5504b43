package netenv

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// directory finds the namespaces of a rule.
type directory struct {
	dir, match string
	named      bool // names are below NamespaceDir, not paths
	literal    string
	events     *os.File // nil where there is nothing to be told
	woken      chan struct{}
	unfinished bool // the last list found a file that may become a namespace
	// refused is why the last list could not look at a file; nil: it could.
	refused error
}

// newDirectory looks at the rule's directory. One that is not there, or of
// which the kernel tells nothing, is looked at now and then.
func newDirectory(r Rule) (*directory, error) {
	dir, match := r.namespaces()
	d := &directory{dir: dir, match: match, named: filepath.Clean(dir) == NamespaceDir}
	switch {
	case r.Namespace == "":
		return d, nil
	case !pattern(r.Namespace):
		d.literal = namespacePath(r.Namespace)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("watch network namespaces: inotify_init1", err)
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVED_FROM|unix.IN_MOVED_TO); err != nil {
		return d, unix.Close(fd) // looked at now and then
	}
	d.events, d.woken = os.NewFile(uintptr(fd), "inotify"), make(chan struct{}, 1)
	go d.read()
	return d, nil
}

// read wakes wait up.
func (d *directory) read() {
	defer close(d.woken)
	b := make([]byte, 4096)
	for {
		if _, err := d.events.Read(b); err != nil {
			return
		}
		select {
		case d.woken <- struct{}{}:
		default:
		}
	}
}

// wait waits for a reason to list again. It is false when ctx has ended.
func (d *directory) wait(ctx context.Context, most time.Duration) bool {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-d.woken:
	}
	return ctx.Err() == nil
}

// list returns the namespaces that are there, by name.
func (d *directory) list() map[string]identity {
	found := map[string]identity{}
	d.unfinished, d.refused = false, nil
	add := func(name, file string) {
		id, ok := identify(file)
		if ok {
			found[name] = id
			return
		}
		info, err := os.Stat(file)
		if errors.Is(err, os.ErrPermission) {
			d.refused = forbidden(file, err)
		}
		d.unfinished = d.unfinished || err == nil && time.Since(info.ModTime()) < 5*time.Second
	}
	if d.literal != "" {
		name := d.literal
		if d.named {
			name = d.match
		}
		add(name, d.literal)
		return found
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return found
	}
	for _, e := range entries {
		if ok, _ := path.Match(d.match, e.Name()); !ok {
			continue
		}
		name := e.Name()
		if !d.named {
			name = filepath.Join(d.dir, name)
		}
		add(name, filepath.Join(d.dir, e.Name()))
	}
	return found
}

func (d *directory) close() {
	if d.events != nil {
		_ = d.events.Close() // only read
		for range d.woken {  // until read has ended
		}
	}
}
