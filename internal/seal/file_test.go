package seal_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"openimds/internal/seal"
)

func TestReadKey(t *testing.T) {
	raw := bytes.Repeat([]byte{0xfb, 0xef, 0xff, 0x20}, 8) // base64 has + and /, and a space at the end
	want, err := seal.NewKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	std, url := base64.StdEncoding.EncodeToString(raw), base64.URLEncoding.EncodeToString(raw)
	for name, tc := range map[string]struct {
		content string
		mode    fs.FileMode
		wrong   string // empty: nothing
	}{
		"raw":                {string(raw), 0o600, ""},
		"base64":             {std + "\n", 0o600, ""},
		"without line end":   {std, 0o600, ""},
		"with CRLF":          {std + "\r\n", 0o600, ""},
		"without padding":    {strings.TrimRight(std, "=") + "\n", 0o600, ""},
		"URL alphabet":       {url + "\n", 0o600, ""},
		"for reading only":   {std + "\n", 0o400, ""},
		"for the group":      {std + "\n", 0o640, "chmod 600"},
		"for all":            {std + "\n", 0o604, "chmod 600"},
		"writable by group":  {std + "\n", 0o620, "chmod 600"},
		"empty":              {"", 0o600, "0 bytes"},
		"too short":          {string(raw[:31]), 0o600, "31 bytes"},
		"too long":           {string(raw) + "\n", 0o600, "33 bytes"},
		"base64 of 31 bytes": {base64.StdEncoding.EncodeToString(raw[:31]), 0o600, "44 bytes"},
		"base64 of 33 bytes": {base64.StdEncoding.EncodeToString(append(raw, 1)), 0o600, "44 bytes"},
		"not base64":         {strings.Repeat("!", 44), 0o600, "44 bytes"},
		"both alphabets":     {strings.Replace(std, "+", "-", 1), 0o600, "44 bytes"},
		"a line end inside":  {std[:20] + "\n" + std[20:], 0o600, "45 bytes"},
		"two lines":          {std + "\n" + std + "\n", 0o600, "90 bytes"},
		"another spelling":   {std[:42] + "B=", 0o600, "44 bytes"},
		"hexadecimal":        {strings.Repeat("ab", 32) + "\n", 0o600, "65 bytes"},
		"very long":          {strings.Repeat("A", 1<<20), 0o600, "4097 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			if err := errors.Join(os.WriteFile(path, []byte(tc.content), 0o600), os.Chmod(path, tc.mode)); err != nil {
				t.Fatal(err)
			}
			k, err := seal.ReadKey(path)
			switch {
			case tc.wrong == "" && (err != nil || k.ID() != want.ID()):
				t.Errorf("ReadKey: %v, %v; want %v", k, err, want)
			case tc.wrong != "" && (err == nil || !strings.Contains(err.Error(), tc.wrong) || !strings.Contains(err.Error(), path)):
				t.Errorf("ReadKey: %v; want it to say %q", err, tc.wrong)
			case err != nil && len(tc.content) > 10 && strings.Contains(err.Error(), tc.content[:10]):
				t.Errorf("the error has the key in it: %v", err)
			}
		})
	}
	if _, err := seal.ReadKey(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("ReadKey of a folder: %v", err)
	}
	if _, err := seal.ReadKey(filepath.Join(t.TempDir(), "no")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadKey of nothing: %v", err)
	}
}

func TestGenerate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	k, err := seal.Generate(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	read, err := seal.ReadKey(path)
	if err != nil || read.ID() != k.ID() {
		t.Errorf("ReadKey: %v, %v; want %v", read, err, k)
	}
	sealed := seal.NewRing(k).Seal([]byte("secret"), "c")
	if got, err := seal.NewRing(read).Open(sealed, "c"); err != nil || string(got) != "secret" {
		t.Errorf("opened %q, %v", got, err)
	}
	before, _ := os.ReadFile(path)
	if _, err := seal.Generate(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Generate over a key: %v", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(after, before) {
		t.Error("the key was replaced")
	}
	if other, err := seal.Generate(path + "2"); err != nil || other.ID() == k.ID() {
		t.Errorf("another key: %v, %v", other, err)
	}
	if _, err := seal.Generate(filepath.Join(path, "x")); err == nil {
		t.Error("Generate below a file")
	}
}
