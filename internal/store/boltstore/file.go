package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"openimds/internal/fault"
)

// open opens the file at path, which it makes if it may and there is none.
func open(path string, timeout time.Duration, readOnly bool) (*bolt.DB, error) {
	// The file may be replaced while we wait for its lock.
	for range 3 {
		_, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) && !readOnly {
			err = create(path)
		}
		if err != nil {
			return nil, openTrouble(path, err)
		}
		if err := inspect(path, timeout); err != nil {
			return nil, openTrouble(path, err)
		}
		db, same, err := openOnce(path, timeout, readOnly)
		if err != nil {
			return nil, openTrouble(path, err)
		}
		if same {
			return db, nil
		}
		_ = db.Close()
	}
	return nil, fault.New(fault.Unavailable, "state file %s is replaced again and again", path)
}

// openOnce reports whether, with the lock held, what is open is still the file
// at path.
func openOnce(path string, timeout time.Duration, readOnly bool) (db *bolt.DB, same bool, err error) {
	db, opened, err := openBolt(path, bolt.Options{
		Timeout:         timeout,
		ReadOnly:        readOnly,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: mapSize(),
		NoStatistics:    true,
		PreLoadFreelist: true, // Check reads it
	})
	if err != nil {
		return nil, false, err
	}
	db.AllocSize = allocSize
	now, err := os.Stat(path)
	return db, err == nil && os.SameFile(now, opened), nil
}

// openBolt opens a file that exists and that may be damaged.
func openBolt(path string, o bolt.Options) (db *bolt.DB, info os.FileInfo, err error) {
	var file *os.File
	o.OpenFile = func(path string, flag int, mode os.FileMode) (_ *os.File, err error) {
		// Without O_CREATE: who removed the file in this moment had a reason.
		if file, err = os.OpenFile(path, flag&^os.O_CREATE, mode); err == nil {
			info, err = file.Stat()
		}
		return file, err
	}
	err = guarded(func() (err error) {
		db, err = bolt.Open(path, 0, &o)
		return err
	})
	if err != nil && file != nil {
		// After a panic bbolt has not done it. What it has mapped into memory
		// stays, and with it the lock, until the process ends.
		_ = file.Close()
	}
	return db, info, err
}

// mapSize is how much of the address space is set apart for the file. As long
// as the file is smaller it is never mapped anew, which would wait for all
// reads that are under way, and let no new one begin.
func mapSize() int {
	if math.MaxInt == math.MaxInt32 || runtime.GOOS == "windows" {
		return 0
	}
	return 1 << 30
}

// allocSize is by how much the file grows.
const allocSize = 1 << 20

// inspect looks at a file without trusting it: bbolt maps a file into memory,
// and reading beyond the end of a truncated one would end the process.
func inspect(path string, timeout time.Duration) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	switch {
	case !info.Mode().IsRegular():
		return fault.New(fault.Unsupported, "%s is not a file: name the file to keep state in, in a folder that exists", path)
	case info.Size() == 0:
		return fault.New(fault.Unsupported, "state file %s is empty: restore a backup, or remove the file to begin anew", path)
	}
	db, _, err := openBolt(path, bolt.Options{Timeout: timeout, ReadOnly: true})
	if err != nil {
		return err
	}
	defer db.Close()
	return guarded(func() error {
		return db.View(func(tx *bolt.Tx) error {
			// It may have grown before the lock was ours.
			if info, err = os.Stat(path); err != nil {
				return err
			}
			if info.Size() < tx.Size() {
				return fault.New(fault.Internal, "state file %s is cut off, it has %d of %d bytes: restore a backup", path, info.Size(), tx.Size())
			}
			return checkFormat(tx, path)
		})
	})
}

// guarded turns panics of fn, and faults of memory, into an error: bbolt
// panics at what it finds in a damaged file, and follows its pointers.
func guarded(fn func() error) (err error) {
	old := debug.SetPanicOnFault(true) // of this goroutine
	defer debug.SetPanicOnFault(old)
	defer func() {
		if p := recover(); p != nil {
			err = fault.Wrap(fault.Internal, fmt.Errorf("%v", p), "the state file is damaged: restore a backup")
		}
	}()
	return fn()
}

// openTrouble says what is wrong with a file, and what to do.
func openTrouble(path string, err error) error {
	var already *fault.Error
	var system syscall.Errno
	switch {
	case errors.As(err, &already):
		return err
	case errors.Is(err, berrors.ErrTimeout):
		return fault.Wrap(fault.Unavailable, err, "state file %s is in use by another process: end that process, or name another file", path)
	case errors.Is(err, fs.ErrNotExist):
		return fault.Wrap(fault.Unavailable, err, "open state file %s: make its folder, or name another file", path)
	case errors.Is(err, syscall.EROFS):
		return fault.Wrap(fault.Unavailable, err, "state file %s is on a disk that is mounted read-only: mount it for writing", path)
	case errors.Is(err, fs.ErrPermission):
		return fault.Wrap(fault.Unavailable, err, "open state file %s: give the user that runs this program read and write permission on it and its folder", path)
	case errors.Is(err, syscall.ENOSPC):
		return fault.Wrap(fault.Unavailable, err, "make state file %s: the disk is full", path)
	case errors.As(err, &system):
		return fault.Wrap(fault.Unavailable, err, "open state file %s", path)
	default: // bbolt could not make sense of it
		return fault.Wrap(fault.Unsupported, err, "%s is no state file of this program, or damaged: name another file, or restore a backup", path)
	}
}
