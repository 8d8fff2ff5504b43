package docsign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Files keeps records in files of a folder, which is made when there is none,
// for one process at a time.
type Files struct{ Dir string }

const fileSuffix = ".keys"

// path returns the file of a record. No part of a name has a dot.
func (k Files) path(name string) string {
	return filepath.Join(k.Dir, strings.ReplaceAll(name, "/", ".")+fileSuffix)
}

// Names implements Keeper.
func (k Files) Names(context.Context) ([]string, error) {
	entries, err := os.ReadDir(k.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), fileSuffix); ok {
			names = append(names, strings.ReplaceAll(name, ".", "/"))
		}
	}
	return names, nil
}

// Load implements Keeper.
func (k Files) Load(_ context.Context, name string) ([]byte, error) {
	data, err := os.ReadFile(k.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// Save implements Keeper: after a crash the old or the new record is there.
func (k Files) Save(ctx context.Context, name string, old, record []byte) (err error) {
	if err := os.MkdirAll(k.Dir, 0o700); err != nil {
		return fmt.Errorf("make folder of identity keys: %w", err)
	}
	is, err := k.Load(ctx, name)
	if err != nil {
		return err
	}
	if !bytes.Equal(is, old) {
		return errTaken
	}
	t, err := os.CreateTemp(k.Dir, ".keys-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("write identity keys: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(t.Name())
			err = fmt.Errorf("write identity keys: %w", err)
		}
	}()
	_, err = t.Write(record)
	if err == nil {
		err = t.Sync()
	}
	if err = errors.Join(err, t.Close()); err != nil {
		return err
	}
	if err = os.Rename(t.Name(), k.path(name)); err != nil {
		return err
	}
	d, err := os.Open(k.Dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
