package sink

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Spool is a queue of batches on disk, bounded in size: when it is full, the
// oldest go.
type Spool struct {
	dir  string
	size int64 // at most, in bytes

	mu   sync.Mutex // guards what follows
	next uint64
}

const spoolSuffix = ".jsonl"

// OpenSpool opens a spool of at most size bytes.
func OpenSpool(dir string, size int64) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the spool: %w", err)
	}
	s := &Spool{dir: dir, size: size, next: 1}
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	if len(names) > 0 {
		if _, err := fmt.Sscanf(names[len(names)-1], "%d", &s.next); err == nil {
			s.next++
		}
	}
	return s, nil
}

// names of the batches, oldest first.
func (s *Spool) names() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("read the spool: %w", err)
	}
	var all []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), spoolSuffix) {
			all = append(all, e.Name())
		}
	}
	slices.Sort(all) // the numbers have leading zeros
	return all, nil
}

// Add adds a batch, and drops old ones if there is no room. It returns how many
// lines were dropped.
func (s *Spool) Add(batch []byte) (dropped int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if dropped, err = s.shrink(s.size - int64(len(batch))); err != nil {
		return dropped, err
	}
	// The number is of this spool alone, and begins anew when it was empty at a start.
	name := filepath.Join(s.dir, fmt.Sprintf("%016d-%s%s", s.next, rand.Text(), spoolSuffix))
	s.next++
	// Under another name first, so that nobody reads half of it.
	if err := os.WriteFile(name+".new", batch, 0o600); err != nil {
		return dropped + bytes.Count(batch, []byte("\n")), fmt.Errorf("spool findings: %w", err)
	}
	return dropped, os.Rename(name+".new", name)
}

// shrink drops old batches until at most size bytes are left.
func (s *Spool) shrink(size int64) (dropped int, err error) {
	names, err := s.names()
	if err != nil {
		return 0, err
	}
	var total int64
	sizes := make([]int64, len(names))
	for i, n := range names {
		if info, err := os.Stat(filepath.Join(s.dir, n)); err == nil {
			sizes[i] = info.Size()
			total += sizes[i]
		}
	}
	for i := 0; i < len(names) && total > size; i++ {
		path := filepath.Join(s.dir, names[i])
		if b, err := os.ReadFile(path); err == nil {
			dropped += bytes.Count(b, []byte("\n"))
		}
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return dropped, fmt.Errorf("drop from the spool: %w", err)
		}
		total -= sizes[i]
	}
	return dropped, nil
}

// First returns the oldest batch, or no name.
func (s *Spool) First() (name string, batch []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names, err := s.names()
	if err != nil || len(names) == 0 {
		return "", nil, err
	}
	batch, err = os.ReadFile(filepath.Join(s.dir, names[0]))
	return names[0], batch, err
}

// Remove removes a batch that was taken.
func (s *Spool) Remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("remove from the spool: %w", err)
	}
	return nil
}
