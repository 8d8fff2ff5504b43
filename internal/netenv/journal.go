package netenv

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// file is where the journal keeps the record of a place.
func (a *Attacher) file(p Place) string {
	sum := sha256.Sum256([]byte(p.Namespace))
	return filepath.Join(a.Journal, p.Interface+"@"+hex.EncodeToString(sum[:6])+".json")
}

// note writes a record, whole or not at all.
func (a *Attacher) note(r *record) error {
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	path := a.file(r.place())
	f, err := os.CreateTemp(a.Journal, ".new-*")
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write journal: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// drop removes the record of a place.
func (a *Attacher) drop(p Place) error {
	delete(a.records, p)
	if err := os.Remove(a.file(p)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove from journal: %w", err)
	}
	return nil
}

// read reads all records. What is about an earlier boot has ended with it.
func (a *Attacher) read(boot string) error {
	entries, err := os.ReadDir(a.Journal)
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(a.Journal, e.Name())
		if strings.HasPrefix(e.Name(), ".new-") {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("tidy journal: %w", err)
			}
			continue
		}
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read journal: %w", err)
		}
		r := &record{}
		if err := json.Unmarshal(data, r); err != nil || r.Interface == "" || a.file(r.place()) != path {
			return fmt.Errorf("read journal: %s is damaged: look at the interface that it is named after, and remove the file", path)
		}
		if r.Boot != boot {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("tidy journal: %w", err)
			}
			continue
		}
		a.records[r.place()] = r
	}
	return nil
}
