package handover

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
)

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
// takes over, and if there is none what open opens. Both return a
// syscall.Conn. The key says everything that the socket depends on.
func (s *Sockets) Listen(key string, adopt func(*os.File) (net.Listener, error), open func() (net.Listener, error)) (net.Listener, error) {
	s.mu.Lock()
	file := s.inherited[key]
	delete(s.inherited, key)
	s.mu.Unlock()
	if file != nil {
		open = func() (net.Listener, error) { return adopt(file) }
	}
	ln, err := open()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[string]net.Listener{}
	}
	if len(s.open) >= max(64, s.tidy) {
		maps.DeleteFunc(s.open, func(_ string, ln net.Listener) bool { return control(ln, func(uintptr) {}) != nil })
		s.tidy = 2 * len(s.open)
	}
	s.open[key] = ln
	return ln, nil
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

// CloseUnused closes inherited sockets that nobody has asked for, and returns
// their keys. Who connects to one of them waits in vain until then.
func (s *Sockets) CloseUnused() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := slices.Sorted(maps.Keys(s.inherited))
	for _, f := range s.inherited {
		_ = f.Close() // it is being given up
	}
	clear(s.inherited)
	return keys
}

// duplicates returns the sockets and files that are open now, as descriptors of
// their own that the caller closes.
func (s *Sockets) duplicates() (t table, files []*os.File, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(s.open)) {
		f, err := duplicate(s.open[key])
		if errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed) {
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
	return raw.Control(use)
}
