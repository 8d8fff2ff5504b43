package sink

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// File is a log file that rotates by size: NAME.1 is the one before, up to
// NAME.Keep. Its directory is made for its owner alone, and so is the file.
type File struct {
	Path string
	Size int64 // bytes after which it rotates
	Keep int   // how many old files stay

	mu   sync.Mutex // guards what follows
	file *os.File
	size int64
}

// OpenFile opens a log file, and makes its directory.
func OpenFile(path string, size int64, keep int) (*File, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the log directory: %w", err)
	}
	if err := private(dir); err != nil {
		return nil, err
	}
	f := &File{Path: path, Size: size, Keep: keep}
	return f, f.Reopen()
}

// private takes a log directory's rights from all but its owner. A directory
// with the sticky bit, such as /tmp, is everybody's and stays so.
func private(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at the log directory: %w", err)
	}
	if info.Mode().Perm()&0o077 == 0 || info.Mode()&os.ModeSticky != 0 {
		return nil
	}
	if err := os.Chmod(dir, info.Mode().Perm()&^0o077); err != nil {
		return fmt.Errorf("make the log directory private: %w", err)
	}
	return nil
}

// Reopen opens the file again, after somebody else moved it.
func (f *File) Reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open()
}

func (f *File) open() error {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
	file, err := os.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|nofollow, 0o600)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return fmt.Errorf("look at the log: %w", err)
	}
	f.file, f.size = file, info.Size()
	return nil
}

// Write writes whole lines; a rotation comes between two calls.
func (f *File) Write(lines []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		if err := f.open(); err != nil {
			return 0, err
		}
	}
	if f.Size > 0 && f.size > 0 && f.size+int64(len(lines)) > f.Size {
		if err := f.rotate(); err != nil {
			return 0, err
		}
	}
	n, err := f.file.Write(lines)
	f.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("write the log: %w", err)
	}
	return n, nil
}

func (f *File) rotate() error {
	f.file.Close()
	f.file = nil
	for i := f.Keep - 1; i >= 1; i-- {
		_ = os.Rename(f.old(i), f.old(i+1)) // it need not exist
	}
	var err error
	if f.Keep > 0 {
		err = os.Rename(f.Path, f.old(1))
	} else {
		err = os.Remove(f.Path)
	}
	if err != nil {
		return fmt.Errorf("rotate the log: %w", err)
	}
	return f.open()
}

func (f *File) old(i int) string { return f.Path + "." + strconv.Itoa(i) }

// Close closes the file.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// Files returns the files of a log, oldest first, as far as they exist.
func Files(path string, keep int) []string {
	var all []string
	for i := keep; i >= 0; i-- {
		name := path
		if i > 0 {
			name += "." + strconv.Itoa(i)
		}
		if _, err := os.Stat(name); err == nil {
			all = append(all, name)
		}
	}
	return all
}
