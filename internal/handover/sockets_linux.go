package handover

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// errNone stands for an inherited socket that there is not.
var errNone = errors.New("there is none")

// Sockets opens listening sockets, or finds them among those that the process
// has inherited, and knows which are open, so that they can be handed on. Its
// methods are safe for concurrent use. The zero value has inherited nothing.
type Sockets struct {
	mu        sync.Mutex // guards what follows
	inherited map[string]*os.File
	open      map[string]net.Listener // some may be closed by now
	files     map[string]*os.File
	tidy      int // how many in open make it worth to look for closed ones
}

// Listen returns what adopt makes of the inherited socket of that key, which it
// takes over, also where it refuses; and if there is none, or adopt has no use
// for it, what open opens. Both return a syscall.Conn. The key says everything
// that the socket depends on.
func (s *Sockets) Listen(key string, adopt func(*os.File) (net.Listener, error), open func() (net.Listener, error)) (net.Listener, error) {
	s.mu.Lock()
	// Two with port 0 have one key, and are told apart by their order.
	for name, n := key, 2; s.isOpen(key); n++ {
		key = fmt.Sprintf("%s, %d", name, n)
	}
	file := s.inherited[key]
	delete(s.inherited, key)
	s.mu.Unlock()
	var ln net.Listener
	err := errNone
	if file != nil {
		ln, err = adopt(file)
	}
	if err != nil {
		if ln, err = open(); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[string]net.Listener{}
	}
	if len(s.open) >= max(64, s.tidy) {
		maps.DeleteFunc(s.open, func(key string, _ net.Listener) bool { return !s.isOpen(key) })
		s.tidy = 2 * len(s.open)
	}
	s.open[key] = ln
	return ln, nil
}

// isOpen reports whether the socket of a key is open. The lock is held.
func (s *Sockets) isOpen(key string) bool {
	ln := s.open[key]
	return ln != nil && control(ln, func(uintptr) {}) == nil
}

// Keep hands a file on, too, such as one that is locked.
func (s *Sockets) Keep(name string, f *os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil {
		s.files = map[string]*os.File{}
	}
	s.files[name] = f
}

// File returns an inherited file, nil if there is none of that name.
func (s *Sockets) File(name string) *os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[name]
}

// Settle closes inherited sockets that nobody asks for any more, and returns
// their keys: who connects to one of them waits in vain until then. Some are
// asked for only when their interfaces are found, so it waits until none was
// for the time of a pause. It does nothing more once ctx is done.
func (s *Sockets) Settle(ctx context.Context, pause time.Duration) []string {
	for left := -1; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		s.mu.Lock()
		now := len(s.inherited)
		s.mu.Unlock()
		if now == left || now == 0 {
			return s.closeUnused()
		}
		left = now
	}
}

func (s *Sockets) closeUnused() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := slices.Sorted(maps.Keys(s.inherited))
	for _, f := range s.inherited {
		_ = f.Close() // it is being given up
	}
	clear(s.inherited)
	return keys
}

// Again returns Sockets that have inherited what these have open, as if by
// another process: the process itself can begin anew after it has closed them.
func (s *Sockets) Again() (*Sockets, error) {
	t, files, err := s.duplicates()
	if err != nil {
		for _, f := range files {
			_ = f.Close() // it is being given up
		}
		return nil, err
	}
	return t.sockets(files), nil
}

// sockets have inherited files that t tells of.
func (t table) sockets(files []*os.File) *Sockets {
	s := &Sockets{inherited: map[string]*os.File{}, files: map[string]*os.File{}}
	for i, key := range t.Sockets {
		s.inherited[key] = files[i]
	}
	for i, name := range t.Files {
		s.files[name] = files[len(t.Sockets)+i]
	}
	return s
}

// duplicates returns the sockets and files that are open now, as descriptors of
// their own that the caller closes: also sockets that were inherited and that
// nobody has asked for yet.
func (s *Sockets) duplicates() (t table, files []*os.File, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]any{}
	for key, f := range s.inherited {
		all[key] = f
	}
	for key, ln := range s.open {
		all[key] = ln
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		f, err := duplicate(all[key])
		if errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return t, files, fmt.Errorf("hand over %s: %w", key, err)
		}
		t.Sockets = append(t.Sockets, key)
		files = append(files, f)
	}
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		f, err := duplicate(s.files[name])
		if err != nil {
			return t, files, fmt.Errorf("hand over %s: %w", name, err)
		}
		t.Files = append(t.Files, name)
		files = append(files, f)
	}
	return t, files, nil
}

// duplicate returns a descriptor of its own for the same socket or file. The
// mode of the socket, which both share, is not touched.
func duplicate(of any) (*os.File, error) {
	fd, errno := -1, syscall.Errno(0)
	err := control(of, func(from uintptr) {
		r, _, e := syscall.Syscall(syscall.SYS_FCNTL, from, syscall.F_DUPFD_CLOEXEC, 0)
		fd, errno = int(r), e
	})
	if err == nil && errno != 0 {
		err = errno
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "handed over"), nil
}

// errGone tells of a socket or file that was closed.
var errGone = errors.New("it was closed")

// control calls use with the descriptor of a socket or a file.
func control(of any, use func(fd uintptr)) error {
	c, ok := of.(syscall.Conn)
	if !ok {
		return fmt.Errorf("%T has no descriptor", of)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	if err := raw.Control(use); err != nil {
		return fmt.Errorf("%w: %w", errGone, err) // there is no other reason, and no one error for it
	}
	return nil
}
