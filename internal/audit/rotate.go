package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// digits is how many digits the number of an older file has at least.
const digits = 6

// olderPath returns the path of an older file.
func olderPath(path string, number int) string {
	return fmt.Sprintf("%s.%0*d", path, digits, number)
}

// rotated returns the numbers of the older files, newest first.
func rotated(path string) ([]int, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("list audit logs: %w", err)
	}
	var numbers []int
	for _, e := range entries {
		text, ok := strings.CutPrefix(e.Name(), filepath.Base(path)+".")
		n, err := strconv.Atoi(text)
		if ok && err == nil && n > 0 && olderPath(path, n) == filepath.Join(filepath.Dir(path), e.Name()) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	slices.Reverse(numbers)
	return numbers, nil
}

// due reports whether a line belongs into a new file.
func (l *Log) due(now time.Time, length int) bool {
	return l.size > 0 && (l.size+int64(length) > l.config.RotateSize || !l.start.IsZero() && now.Sub(l.start) >= l.config.RotateAfter)
}

// rotate starts a new file. If that does not work, the old one goes on: a
// record in a file that is too long is better than none.
func (l *Log) rotate() {
	if err := l.tryRotate(); err != nil {
		if !l.stuck {
			l.config.Logger.Error("the audit log cannot be rotated and grows on", "err", err)
		}
		l.stuck = true
		return
	}
	l.stuck = false
	l.prune()
}

func (l *Log) tryRotate() error {
	path, older := l.config.Path, olderPath(l.config.Path, l.number+1)
	if _, err := os.Lstat(older); !errors.Is(err, os.ErrNotExist) {
		l.number++ // somebody else's, which is not overwritten
		return fmt.Errorf("%s exists already", older)
	}
	// A file that somebody took away is not missed: a new one is made.
	if err := os.Rename(path, older); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	next, err := l.config.open(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return errors.Join(err, os.Rename(older, path))
	}
	// The old file is complete on the disk before it is let go.
	if err := errors.Join(l.file.Sync(), l.file.Close(), syncDir(path)); err != nil {
		l.config.Logger.Error("the audit log was rotated, but is perhaps not on the disk", "file", older, "err", err)
	}
	l.number++
	l.file, l.size, l.start, l.torn, l.dirty = next, 0, time.Time{}, false, false
	return nil
}

// prune removes the oldest files.
func (l *Log) prune() {
	numbers, err := rotated(l.config.Path)
	for _, n := range numbers[min(len(numbers), l.config.Keep):] {
		err = errors.Join(err, os.Remove(olderPath(l.config.Path, n)))
	}
	if err != nil {
		l.config.Logger.Error("old audit logs cannot be removed", "err", err)
	}
}

// found is what is known of a file that is there already.
type found struct {
	size  int64
	start time.Time
	torn  bool
}

// inspect looks at the file that will be appended to.
func inspect(path string) (found, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return found{}, nil
	}
	if err != nil {
		return found{}, fmt.Errorf("open audit log: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return found{}, fmt.Errorf("open audit log: %w", err)
	}
	switch {
	case !info.Mode().IsRegular():
		return found{}, fmt.Errorf("audit log %s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return found{}, fmt.Errorf("audit log %s may be read by others (mode %04o): run chmod 600 on it", path, info.Mode().Perm())
	case info.Size() == 0:
		return found{}, nil
	}
	at := found{size: info.Size()}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, at.size-1); err != nil {
		return found{}, fmt.Errorf("read audit log: %w", err)
	}
	at.torn = last[0] != '\n'
	// The age counts from the first record that can be read; a file of
	// nothing else than damage has none.
	for lines := bufio.NewReaderSize(f, maxLine); ; {
		line, err := lines.ReadSlice('\n')
		var r Record
		if json.Unmarshal(line, &r) == nil && !r.Time.IsZero() {
			at.start = r.Time
			return at, nil
		}
		switch {
		case errors.Is(err, io.EOF):
			return at, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return found{}, fmt.Errorf("read audit log: %w", err)
		}
	}
}
