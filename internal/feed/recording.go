package feed

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"openimds/internal/fault"
)

// Recording is the last-good file of a node: the frames that lead to what it
// serves. A commit is appended with fsync; when most of the file is history, it
// is written anew and renamed into place, so that after a crash either the old
// or the new one is there. It holds secrets, and nobody else may read it.
// It is for one goroutine.
type Recording struct {
	path  string
	file  *os.File // open for appending; nil: the next write is a whole file
	size  int64    // bytes in file
	whole int64    // bytes of it that the last whole file had
	log   *slog.Logger
}

// rewriteOver is how many bytes of history a file may have in any case.
const rewriteOver = 1 << 20

// OpenRecording opens a recording and plays it into m. A file that is not there
// is made with the first batch. Of a file that ends within a batch, that batch
// is left out. A file that is damaged elsewhere is kept beside it under a name
// that ends in .damaged, and what was good up to the damage is played.
func OpenRecording(path string, m *Mirror, log *slog.Logger) (*Recording, error) {
	r := &Recording{path: path, log: log}
	// What a crash left of a file that was being written.
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), temporary(path)))
	if err != nil {
		return nil, fmt.Errorf("open last-good file: %w", err)
	}
	for _, name := range left {
		_ = os.Remove(name)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open last-good file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open last-good file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the last-good file %s may be read by others (mode %04o), and it holds keys: run chmod 600 on it, or remove it", path, info.Mode().Perm())
	}
	if err := play(f, m); err != nil {
		log.Error("the last-good file is damaged; what was good before the damage is served, and the file is kept aside", "file", path, "kept", path+".damaged", "err", err)
		if err := os.Rename(path, path+".damaged"); err != nil {
			return nil, fmt.Errorf("keep a damaged last-good file: %w", err)
		}
	}
	// The end of the file may be half a batch, which must not become the
	// beginning of the next: the first write makes the file anew.
	return r, nil
}

// play feeds a recording to m.
func play(from io.Reader, m *Mirror) error {
	frames := NewReader(from)
	for {
		f, err := frames.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err == nil && f.Commit != 0 && f.Sum == "" {
			err = fault.New(fault.Invalid, "commit %d has no sum", f.Commit)
		}
		if err == nil {
			_, err = m.Add(f)
		}
		if err != nil {
			return err
		}
	}
}

// Append records a batch after it has gone into m. An error leaves what is on
// disk as it was; the next call tries to write everything.
func (r *Recording) Append(b *Batch, m *Mirror) error {
	if r.file == nil || b.All || r.size > 2*r.whole+rewriteOver {
		return r.rewrite(m)
	}
	var data []byte
	err := frames(b, 0, func(line []byte) error {
		data = append(data, line...)
		return nil
	})
	if err == nil {
		_, err = r.file.Write(data)
	}
	if err == nil {
		err = r.file.Sync()
	}
	if err != nil {
		r.drop()
		return fmt.Errorf("write last-good file: %w", err)
	}
	r.size += int64(len(data))
	return nil
}

// frames calls yield for each line of a batch that follows lines with the given
// sum.
func frames(b *Batch, sum uint32, yield func(line []byte) error) error {
	var line []byte
	add := func(f Frame) (err error) {
		if line, err = Append(line[:0], f); err != nil {
			return err
		}
		sum = crc32.Update(sum, castagnoli, line[:len(line)-1])
		return yield(line)
	}
	for i := range b.Put {
		if err := add(Frame{Put: &b.Put[i]}); err != nil {
			return err
		}
	}
	for i := range b.Keys {
		if err := add(Frame{Keys: &b.Keys[i]}); err != nil {
			return err
		}
	}
	for _, id := range b.Removed {
		if err := add(Frame{Remove: id}); err != nil {
			return err
		}
	}
	return add(Frame{Commit: b.Revision, Sum: sumOf(sum)})
}

// rewrite writes everything that is in force into a new file and puts it in
// place.
func (r *Recording) rewrite(m *Mirror) (err error) {
	r.drop()
	dir := filepath.Dir(r.path)
	f, err := os.CreateTemp(dir, temporary(r.path)) // made with mode 0600
	if err != nil {
		return fmt.Errorf("write last-good file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
			err = fmt.Errorf("write last-good file: %w", err)
		}
	}()
	w := bufio.NewWriterSize(f, 256<<10)
	r.size = 0
	write := func(line []byte) error {
		r.size += int64(len(line))
		_, err := w.Write(line)
		return err
	}
	hello, err := Append(nil, Frame{Hello: &Hello{Version: Version, Store: m.store, Node: m.node, Forms: m.forms, Snapshot: true}})
	if err != nil {
		return err
	}
	if err := write(hello); err != nil {
		return err
	}
	if err := frames(m.Everything(), crc32.Checksum(hello[:len(hello)-1], castagnoli), write); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), r.path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return err
	}
	r.file, r.whole = f, r.size
	return nil
}

// temporary is the pattern of the names of files that are being written.
func temporary(path string) string { return "." + filepath.Base(path) + "-*" }

// drop lets go of the file, so that the next write makes a new one.
func (r *Recording) drop() {
	if r.file != nil {
		_ = r.file.Close()
		r.file = nil
	}
}

// Close closes the file.
func (r *Recording) Close() error {
	r.drop()
	return nil
}
