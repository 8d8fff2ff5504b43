package boltstore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	bolt "go.etcd.io/bbolt"

	"openimds/internal/fault"
)

// Backup writes the file, as it is at one revision, to w, and returns that
// revision. What it writes can be opened as it is. Reads and commits go on
// meanwhile; but the file keeps every page that the backup still needs, and a
// file that outgrows 1 GiB meanwhile makes them wait. So give it a w that is
// not slow.
func (s *Store) Backup(ctx context.Context, w io.Writer) (revision uint64, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		revision = number(tx, keyRevision)
		if _, err := tx.WriteTo(interruptible{ctx, w}); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fault.Wrap(fault.Unavailable, err, "write the backup")
		}
		return nil
	})
	return revision, err
}

// interruptible ends a copy when the context ends.
type interruptible struct {
	ctx context.Context
	w   io.Writer
}

func (i interruptible) Write(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.w.Write(p)
}

// restoreGap is what Restore adds to the revision of a backup: more than there
// can be commits between a backup and its use.
const restoreGap = 1_000_000_000

// Restore makes the state file that c names from a backup, and returns its
// revision. The backup is checked before the file gets its name, in one step;
// whatever is wrong with it, a file that was there stays. That there is one is
// fault.Exists without overwrite; with it, one that a process has open is
// fault.Unavailable.
//
// What happened after the backup never happened, though somebody may have seen
// it. So the history of the new file begins a thousand million revisions later:
// no watch can go on as if nothing had been lost, each gets store.ErrCompacted
// and reads anew.
func Restore(ctx context.Context, c Config, backup io.Reader, overwrite bool) (revision uint64, err error) {
	if _, err := os.Lstat(c.Path); err == nil && !overwrite {
		return 0, restoreOver(c.Path, fs.ErrExist)
	}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	err = replace(c.Path, overwrite, timeout, func(temp string) error {
		if err := receive(ctx, temp, backup); err != nil {
			return err
		}
		revision, err = advance(ctx, temp)
		switch {
		case err == nil, ctx.Err() != nil:
		case fault.KindOf(err) == fault.Internal, fault.KindOf(err) == fault.Unsupported:
			err = fault.Wrap(fault.Invalid, err, "the backup cannot be used")
		}
		return err
	})
	var known *fault.Error
	switch {
	case err == nil:
		return revision, nil
	case errors.Is(err, fs.ErrExist):
		return 0, restoreOver(c.Path, err)
	case errors.As(err, &known), ctx.Err() != nil:
		return 0, err
	}
	return 0, openTrouble(c.Path, err)
}

func restoreOver(path string, err error) error {
	return fault.Wrap(fault.Exists, err, "state file %s is there already: move it away, or ask to overwrite it", path)
}

// receive writes a backup to a file.
func receive(ctx context.Context, temp string, backup io.Reader) error {
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(interruptible{ctx, f}, backup)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	var system syscall.Errno
	if err == nil || ctx.Err() != nil || errors.As(err, &system) {
		return err
	}
	return fault.Wrap(fault.Unavailable, err, "read the backup")
}

// advance checks the store in a file and gives it a new history.
func advance(ctx context.Context, temp string) (revision uint64, err error) {
	s, err := Open(Config{Path: temp})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Check(ctx); err != nil {
		return 0, err
	}
	err = s.update(func(tx *bolt.Tx) error {
		revision = number(tx, keyRevision) + restoreGap
		if err := tx.DeleteBucket(bucketHistory); err != nil {
			return err
		}
		_, err := tx.CreateBucket(bucketHistory)
		return errors.Join(err,
			setNumber(tx, keyRevision, revision),
			setNumber(tx, keyCompacted, revision),
			setNumber(tx, keyHistoryBytes, 0))
	})
	return revision, err
}
