package token_test

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"openimds/internal/token"
)

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	if _, err := token.Load(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load of no file: %v", err)
	}
	s, err := token.NewSecrets(t0, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time over the first
		if err := token.Save(path, s); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if got, err := token.Load(path); err != nil || got != s {
		t.Errorf("Load: %v", err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("%d files are left, want 1 (%v)", len(left), err)
	}
}

func TestFileRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		mode os.FileMode
		text string
		want string
	}{
		"readable by others": {0o644, `{}`, "chmod 600"},
		"not JSON":           {0o600, `{`, "damaged"},
		"unknown key":        {0o600, `{"version":1,"x":1}`, "damaged"},
		"other version":      {0o600, `{"version":2,"masters":["","",""]}`, "want version 1"},
		"short key":          {0o600, `{"version":1,"masters":["AAAA","AAAA","AAAA"]}`, "key 0 has 3 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys")
			if err := os.WriteFile(path, []byte(tc.text), tc.mode); err != nil {
				t.Fatal(err)
			}
			if _, err := token.Load(path); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Load: %v, want %q", err, tc.want)
			}
		})
	}
	if err := token.Save(filepath.Join(t.TempDir(), "no", "keys"), token.Secrets{}); err == nil {
		t.Error("Save into a folder that does not exist succeeded")
	}
}
