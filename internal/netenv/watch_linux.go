package netenv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"sync"
	"time"
)

// rescan is how often namespaces are looked for where the kernel may not tell.
const rescan = 3 * time.Second

// Watch tells of the places of a rule: of those that are there, and of those
// that come and go, until ctx ends. It calls tell with one change after the
// other, changes of one place in their order. It returns an error only about
// the first look: a namespace that may not be entered.
//
// A namespace is not kept alive by being watched once its file is gone.
func Watch(ctx context.Context, w Watching, tell func(Change)) error {
	if err := w.Check(); err != nil {
		return err
	}
	if w.Logger == nil {
		w.Logger = slog.New(slog.DiscardHandler)
	}
	o := &watch{Watching: w, receiver: tell, open: map[string]*space{}}
	dir, err := newDirectory(w.Rule)
	if err != nil {
		return err
	}
	defer o.end(dir)
	if err := o.look(dir); err != nil {
		return err
	}
	o.run(ctx, dir)
	return nil
}

// watch is a running Watch.
type watch struct {
	Watching
	open  map[string]*space // by name of the namespace
	tasks sync.WaitGroup
	once  sync.Once // waiting has been told

	mu       sync.Mutex // one change after the other
	receiver func(Change)
	ended    bool // nobody listens any more
}

// space is a namespace that was found.
type space struct {
	identity
	links *links // nil where interfaces are of no interest
	done  chan struct{}
}

func (w *watch) run(ctx context.Context, dir *directory) {
	if w.Namespace == "" {
		<-ctx.Done()
		return
	}
	pause := rescan
	for dir.wait(ctx, pause) {
		// `ip netns add` makes a file first and mounts the namespace on it a
		// moment later, which nothing tells.
		pause = rescan
		if err := w.look(dir); err != nil {
			w.Logger.Error("a network namespace cannot be watched", "err", err)
		}
		if dir.unfinished {
			pause = 10 * time.Millisecond
		}
	}
}

// look finds namespaces that came or went.
func (w *watch) look(dir *directory) error {
	if w.Namespace == "" {
		if w.open[""] != nil {
			return nil
		}
		return w.enter("", identity{})
	}
	found := dir.list()
	for name, s := range w.open {
		if found[name] != s.identity {
			w.leave(name, s)
		}
	}
	var errs []error
	for name, id := range found {
		if w.open[name] == nil {
			errs = append(errs, w.enter(name, id))
		}
	}
	if dir.refused != nil {
		errs = append(errs, fmt.Errorf("look for %s: %w", Place{Namespace: w.Namespace}, dir.refused))
	}
	if len(found) == 0 && len(errs) == 0 {
		w.waiting("network namespace")
	}
	return errors.Join(errs...)
}

// waiting says once that there is nothing yet.
func (w *watch) waiting(what string) {
	w.once.Do(func() {
		w.Logger.Info("nothing of this rule exists yet; listening starts when it does", "waits_for", what, "place", w.String())
	})
}

// enter begins with a namespace.
func (w *watch) enter(name string, id identity) error {
	s := &space{identity: id, done: make(chan struct{})}
	if w.Interface == "" {
		w.open[name] = s
		close(s.done)
		w.tell(Change{Place: Place{Namespace: name}})
		return nil
	}
	l, err := newLinks(name)
	if errors.Is(err, ErrNoNamespace) {
		return nil // it went again, or will be there at the next look
	}
	if err != nil {
		return fmt.Errorf("watch the interfaces of %s: %w", Place{Namespace: name}, err)
	}
	w.open[name], s.links = s, l
	w.tasks.Go(func() {
		defer close(s.done)
		w.follow(name, l)
	})
	return nil
}

// leave ends with a namespace. Its sockets are closed before anybody is told,
// so that they do not keep it alive.
func (w *watch) leave(name string, s *space) {
	delete(w.open, name)
	if s.links == nil {
		w.tell(Change{Place: Place{Namespace: name}, Gone: true})
		return
	}
	s.links.close()
	<-s.done
}

// follow tells of the interfaces of a namespace until they are closed, and
// then that all are gone.
func (w *watch) follow(name string, l *links) {
	known := map[int32]string{} // those that match, by index
	matching := func(iface string) bool {
		ok, _ := path.Match(w.Interface, iface) // Check has looked at the pattern
		return ok
	}
	gone := func(iface string) {
		w.tell(Change{Place: Place{name, iface}, Gone: true})
	}
	err := l.each(func(index int32, iface string, there bool) {
		old, was := known[index]
		if was && (!there || old != iface) {
			delete(known, index)
			gone(old)
			was = false
		}
		if there && !was && matching(iface) {
			known[index] = iface
			w.tell(Change{Place: Place{name, iface}})
		}
	}, func() {
		if len(known) == 0 && !pattern(w.Namespace) {
			w.waiting("interface")
		}
	})
	if err != nil {
		w.Logger.Error("the interfaces of a namespace are not watched any more", "place", Place{Namespace: name}.String(), "err", err)
	}
	for _, iface := range known {
		gone(iface)
	}
}

// tell hands a change on, unless nobody listens any more.
func (w *watch) tell(c Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.receiver(c)
	}
}

// end closes everything and tells of nothing more.
func (w *watch) end(dir *directory) {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	for _, s := range w.open {
		if s.links != nil {
			s.links.close()
		}
	}
	w.tasks.Wait()
	dir.close()
}
