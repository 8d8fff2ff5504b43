package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"openimds/internal/fault"
)

// Config says where a log is and when it is rotated.
type Config struct {
	// Path is the file that is appended to. Its folder must exist. Older
	// records are in files beside it, of the same name with a number at the
	// end that only grows.
	Path string
	// RotateSize is how many bytes a file may have: 64 MiB if zero.
	RotateSize int64
	// RotateAfter is how long a file is appended to, counted from the time of
	// its first record: a day if zero.
	RotateAfter time.Duration
	// Keep is how many older files are kept: 30 if zero. The oldest are
	// removed.
	Keep int
	// SyncEvery is how often what was appended is synced to the disk: every
	// second if zero.
	SyncEvery time.Duration
	// Logger is told of what does not make a call fail.
	Logger *slog.Logger

	open func(path string, flag int) (file, error) // for tests; nil: openFile
}

func (c Config) withDefaults() Config {
	if c.RotateSize <= 0 {
		c.RotateSize = 64 << 20
	}
	if c.RotateAfter <= 0 {
		c.RotateAfter = 24 * time.Hour
	}
	if c.Keep <= 0 {
		c.Keep = 30
	}
	if c.SyncEvery <= 0 {
		c.SyncEvery = time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.open == nil {
		c.open = openFile
	}
	return c
}

// file is what a log does with the file that it appends to.
type file interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
}

func openFile(path string, flag int) (file, error) { return os.OpenFile(path, flag, 0o600) }

// Log is an open audit log. One process has a log open at a time; any number
// of goroutines use it.
type Log struct {
	config Config
	stop   context.CancelFunc
	synced chan struct{} // closed when the goroutine that syncs has ended

	mu       sync.Mutex // guards what follows
	file     file
	size     int64
	start    time.Time // of the first record in file; zero: it is empty
	number   int       // of the newest older file
	torn     bool      // file does not end with the end of a line
	dirty    bool      // something was appended since the last sync
	syncErr  error     // of the last sync
	stuck    bool      // rotation does not work, and the logger was told
	isClosed bool
}

// Open opens a log, or makes it. A last line that a crash cut off stays where
// it is, closed by a line end. The error says what to do if others may read
// the file.
func Open(c Config) (*Log, error) {
	c = c.withDefaults()
	l := &Log{config: c, synced: make(chan struct{})}
	existing, err := inspect(c.Path)
	if err != nil {
		return nil, err
	}
	l.size, l.start, l.torn = existing.size, existing.start, existing.torn
	older, err := rotated(c.Path)
	if err != nil {
		return nil, err
	}
	if len(older) > 0 {
		l.number = older[0]
	}
	if l.file, err = c.open(c.Path, os.O_WRONLY|os.O_APPEND|os.O_CREATE); err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	if err := syncDir(c.Path); err != nil {
		return nil, errors.Join(err, l.file.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	go l.keepSyncing(ctx)
	return l, nil
}

// Append writes a record. When it returns nil, the record has reached the
// kernel. An error means that the record is not in the log, and that whoever
// was about to change something must not; it is of kind fault.Unavailable, or
// fault.Internal for a record without a time.
func (l *Log) Append(r Record) error {
	line, err := r.encode()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed {
		return fault.Wrap(fault.Unavailable, os.ErrClosed, "the audit log cannot be written")
	}
	if l.syncErr != nil {
		// What was appended may be lost. Nothing more is taken before a sync
		// succeeds.
		if l.syncErr = l.file.Sync(); l.syncErr != nil {
			return fault.Wrap(fault.Unavailable, l.syncErr, "the audit log cannot be synced")
		}
	}
	if l.due(r.Time, len(line)) {
		l.rotate()
	}
	if err := l.write(line); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the audit log cannot be written")
	}
	if l.start.IsZero() {
		l.start = r.Time
	}
	l.dirty = true
	return nil
}

// write appends a line, or nothing.
func (l *Log) write(line []byte) error {
	if l.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := l.file.Write(line)
	if err == nil && n == len(line) {
		l.size += int64(n)
		l.torn = false
		return nil
	}
	if err == nil {
		err = io.ErrShortWrite
	}
	if n > 0 {
		// The start of the line is there. If it cannot be taken back, the next
		// line must not continue it.
		if terr := l.file.Truncate(l.size); terr != nil {
			l.size += int64(n)
			l.torn = true
			err = errors.Join(err, terr)
		}
	}
	return err
}

// keepSyncing syncs every now and then until the log is closed.
func (l *Log) keepSyncing(ctx context.Context) {
	defer close(l.synced)
	t := time.NewTicker(l.config.SyncEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			l.sync()
		}
	}
}

// sync syncs what was appended. It does not hold the lock while the disk is
// busy.
func (l *Log) sync() {
	l.mu.Lock()
	f, dirty := l.file, l.dirty
	l.dirty = false
	l.mu.Unlock()
	if !dirty {
		return
	}
	err := f.Sync()
	if err == nil || errors.Is(err, os.ErrClosed) { // rotation closed it, and synced it before
		return
	}
	l.config.Logger.Error("the audit log cannot be synced: writes are refused until it can", "err", err)
	l.mu.Lock()
	l.syncErr = err
	l.mu.Unlock()
}

// Close syncs and closes the log. Nothing can be appended afterwards.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.isClosed {
		l.mu.Unlock()
		return nil
	}
	l.isClosed = true
	l.mu.Unlock()
	l.stop()
	<-l.synced
	if err := errors.Join(l.file.Sync(), l.file.Close()); err != nil {
		return fmt.Errorf("close audit log: %w", err)
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("sync the folder of the audit log: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync the folder of the audit log: %w", err)
	}
	return nil
}
