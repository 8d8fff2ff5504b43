package token

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// file is the form in which secrets are kept: version 1.
type file struct {
	Version int      `json:"version"`
	First   int64    `json:"first"`
	Masters [][]byte `json:"masters"`
}

// Load reads secrets that Save wrote. The error is os.ErrNotExist's kind when
// there is no such file, and a refusal when others may read it.
func Load(path string) (Secrets, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Secrets{}, fmt.Errorf("read token keys: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return Secrets{}, fmt.Errorf("token keys %s may be read by others (mode %04o): run chmod 600 on it, or remove it to make new keys", path, info.Mode().Perm())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Secrets{}, fmt.Errorf("read token keys: %w", err)
	}
	var f file
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return Secrets{}, fmt.Errorf("token keys %s are damaged: remove the file to make new keys (clients then ask for new tokens): %w", path, err)
	}
	if f.Version != 1 || len(f.Masters) != held {
		return Secrets{}, fmt.Errorf("token keys %s have version %d and %d keys, want version 1 and %d keys", path, f.Version, len(f.Masters), held)
	}
	s := Secrets{First: f.First}
	for i, m := range f.Masters {
		if copy(s.Masters[i][:], m) != len(s.Masters[i]) || len(m) != len(s.Masters[i]) {
			return Secrets{}, fmt.Errorf("token keys %s: key %d has %d bytes, want %d", path, i, len(m), len(s.Masters[i]))
		}
	}
	return s, nil
}

// Save writes secrets so that after a crash either the old or the new ones are
// there.
func Save(path string, s Secrets) (err error) {
	f := file{Version: 1, First: s.First}
	for i := range s.Masters {
		f.Masters = append(f.Masters, s.Masters[i][:])
	}
	data, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode token keys: %w", err)
	}
	dir := filepath.Dir(path)
	t, err := os.CreateTemp(dir, ".token-keys-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("write token keys: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(t.Name())
		}
	}()
	_, err = t.Write(append(data, '\n'))
	if err == nil {
		err = t.Sync()
	}
	if cerr := t.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(t.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write token keys: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write token keys: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("write token keys: %w", err)
	}
	return nil
}
