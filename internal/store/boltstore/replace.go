package boltstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// create makes an empty store at path. It gets its name only when it is
// complete, so that no crash leaves half a file. If another process is faster,
// its file stays.
func create(path string) error {
	err := replace(path, false, 0, func(temp string) error {
		db, err := bolt.Open(temp, 0o600, nil)
		if err != nil {
			return err
		}
		err = db.Update(initialize)
		return errors.Join(err, db.Close())
	})
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// replace makes a file beside path, has it filled, and gives it the name path.
// Without overwrite a file that is there already is fs.ErrExist. With it, the
// file is locked while it is replaced, so that nobody is writing to it.
func replace(path string, overwrite bool, timeout time.Duration, fill func(temp string) error) (err error) {
	t, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".new-*") // made with mode 0600
	if err != nil {
		return err
	}
	temp := t.Name()
	defer os.Remove(temp)
	if err := t.Close(); err != nil {
		return err
	}
	if err := fill(temp); err != nil {
		return err
	}
	if overwrite {
		release, err := seize(path, timeout)
		if err != nil {
			return err
		}
		defer release()
		if err := os.Rename(temp, path); err != nil {
			return err
		}
	} else if err := os.Link(temp, path); err != nil {
		return err
	}
	return syncFolder(path)
}

// seize locks the file at path, if there is one, however damaged it may be.
func seize(path string, timeout time.Duration) (release func(), err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	db, _, err := openBolt(path, bolt.Options{Timeout: timeout, ReadOnly: true})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, err
	case err != nil:
		return func() {}, nil // what cannot be opened is held by nobody
	}
	return func() { _ = db.Close() }, nil
}

// syncFolder makes names in the folder of path durable.
func syncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
