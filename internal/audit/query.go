package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Filter says which records are wanted. Empty fields want all.
type Filter struct {
	// Since and Until bound the time: from Since on, and before Until.
	Since, Until time.Time
	// Principal and Decision are exact. The case of an Action does not count;
	// one without its service is that action of any.
	Principal string
	Action    string
	Decision  Decision
	// Resource is the name of a resource, or the part of it after the last
	// slash, such as the identifier of an instance.
	Resource string
	// Limit is how many records are returned: 100 if zero, 1000 at most.
	Limit int
}

// The limits of a query.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

func (f Filter) matches(r *Record) bool {
	switch {
	case !f.Since.IsZero() && r.Time.Before(f.Since),
		!f.Until.IsZero() && !r.Time.Before(f.Until),
		f.Principal != "" && r.Principal != f.Principal,
		f.Action != "" && !f.isAction(r.Action),
		f.Decision != "" && r.Decision != f.Decision:
		return false
	case f.Resource == "":
		return true
	}
	for _, name := range r.Resources {
		if name == f.Resource || strings.HasSuffix(name, "/"+f.Resource) {
			return true
		}
	}
	return false
}

func (f Filter) isAction(name string) bool {
	if !strings.Contains(f.Action, ":") {
		_, name, _ = strings.Cut(name, ":")
	}
	return strings.EqualFold(name, f.Action)
}

// Result is what a query found.
type Result struct {
	// Records are the newest that match, the newest first: in the order in
	// which they were appended, which may differ from that of their times.
	Records []Record
	// More tells that there are older ones that match.
	More bool
	// Damaged is how many lines could not be read, such as one that a crash
	// cut off, and Damage the place of the newest of them.
	Damaged int
	Damage  string
}

// Query returns the newest records that match. It reads the files from their
// ends and keeps no more in memory than it returns. Appending goes on
// meanwhile.
func (l *Log) Query(ctx context.Context, f Filter) (Result, error) {
	// Under the lock the file ends with a whole line.
	l.mu.Lock()
	current, size, err := openToRead(l.config.Path)
	l.mu.Unlock()
	if err != nil {
		return Result{}, err
	}
	return query(ctx, l.config.Path, current, size, f)
}

// Query is Log.Query for a log that need not be open: perhaps another
// process's. A line that is just being written may count as damaged.
func Query(ctx context.Context, path string, f Filter) (Result, error) {
	current, size, err := openToRead(path)
	if err != nil {
		return Result{}, err
	}
	return query(ctx, path, current, size, f)
}

// openToRead opens a file and tells its size; a file that is not there is nil.
func openToRead(path string) (*os.File, int64, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read audit log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("read audit log: %w", err), f.Close())
	}
	return f, info.Size(), nil
}

// query reads the current file, which it closes, and then the older ones. The
// current one may become an older one in between, and is then known again.
func query(ctx context.Context, path string, current *os.File, size int64, f Filter) (Result, error) {
	f.Limit = min(f.Limit, maxLimit)
	if f.Limit <= 0 {
		f.Limit = defaultLimit
	}
	var result Result
	var seen os.FileInfo
	if current != nil {
		defer current.Close()
		info, err := current.Stat()
		if err != nil {
			return Result{}, fmt.Errorf("read audit log: %w", err)
		}
		seen = info
		if err := result.read(ctx, current, size, f); err != nil {
			return Result{}, err
		}
	}
	numbers, err := rotated(path)
	if err != nil {
		return Result{}, err
	}
	for _, n := range numbers {
		if result.More {
			break
		}
		if err := result.readOlder(ctx, olderPath(path, n), seen, f); err != nil {
			return Result{}, err
		}
	}
	return result, nil
}

func (r *Result) readOlder(ctx context.Context, path string, seen os.FileInfo, f Filter) error {
	older, size, err := openToRead(path)
	if older == nil {
		return err // or removed since it was listed
	}
	defer older.Close()
	info, err := older.Stat()
	if err != nil {
		return fmt.Errorf("read audit log: %w", err)
	}
	if seen != nil && os.SameFile(seen, info) {
		return nil
	}
	return r.read(ctx, older, size, f)
}

// read adds the records of one file, newest first, until there are enough.
func (r *Result) read(ctx context.Context, file *os.File, size int64, f Filter) error {
	lines := backward{from: file, at: size}
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		line, ok, err := lines.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read audit log: %w", err)
		case ok && len(line) == 0:
			continue
		}
		var record Record
		if !ok || json.Unmarshal(line, &record) != nil || record.Time.IsZero() {
			if r.Damaged++; r.Damage == "" {
				r.Damage = fmt.Sprintf("%s, near byte %d", file.Name(), lines.at+int64(len(lines.rest)))
			}
			continue
		}
		if !f.matches(&record) {
			continue
		}
		if len(r.Records) == f.Limit {
			r.More = true
			return nil
		}
		r.Records = append(r.Records, record)
	}
}

// backward reads lines from the end of a file to its start.
type backward struct {
	from io.ReaderAt
	at   int64  // where rest starts
	rest []byte // read, and not yet returned
	last bool   // the line at the start of the file was returned
	long bool   // the line that ends rest is longer than any that was written
}

// block is how much is read at a time.
const block = 64 << 10

// next returns the line before the last one returned, without its end. The
// first is what stands after the last line end, and not ok unless empty. One
// that is too long to be ours is returned as not ok, too. The error is io.EOF
// at the start of the file.
func (b *backward) next() (line []byte, ok bool, err error) {
	first := b.rest == nil
	for {
		if i := bytes.LastIndexByte(b.rest, '\n'); i >= 0 {
			line, b.rest = b.rest[i+1:], b.rest[:i]
			return b.result(line, first)
		}
		if b.last {
			return nil, false, io.EOF
		}
		if b.at == 0 {
			b.last = true
			line, b.rest = b.rest, b.rest[:0]
			return b.result(line, first)
		}
		if len(b.rest) > maxLine {
			b.rest, b.long = b.rest[:0], true
		}
		n := min(block, b.at)
		more := make([]byte, n, int(n)+len(b.rest))
		if _, err := b.from.ReadAt(more, b.at-n); err != nil {
			return nil, false, err
		}
		b.at -= n
		b.rest = append(more, b.rest...)
	}
}

func (b *backward) result(line []byte, first bool) ([]byte, bool, error) {
	ok := !b.long && (!first || len(line) == 0)
	b.long = false
	return line, ok, nil
}
