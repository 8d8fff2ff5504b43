package seal

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxFile is more than any file with a key has.
const maxFile = 4096

// ReadKey reads a key from a file: 32 bytes, or their base64 on one line. It
// refuses a file that others than its owner may read. A credential of systemd
// is such a file, although its mode may say that its group can read it: then it
// is the service's user who may, by an access list.
func ReadKey(path string) (Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return Key{}, fmt.Errorf("read seal key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Key{}, fmt.Errorf("read seal key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return Key{}, fmt.Errorf("seal key %s is not a file: name the file that has the key", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && !ownerOnly(f, info) {
		return Key{}, fmt.Errorf("seal key %s may be read or changed by others than its owner (mode %04o): run chmod 600 %s, and if others may have read it, make a new key", path, mode, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Key{}, fmt.Errorf("read seal key: %w", err)
	}
	defer clear(data)
	k, err := parse(data)
	if err != nil {
		return Key{}, fmt.Errorf("seal key %s: %w", path, err)
	}
	return k, nil
}

// parse reads a key in either form. What is wrong with it, it says without
// saying what it is.
func parse(data []byte) (Key, error) {
	if len(data) == KeySize {
		return NewKey(data)
	}
	text := bytes.TrimRight(bytes.TrimSpace(data), "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding.Strict(), base64.RawURLEncoding.Strict()} {
		raw := make([]byte, encoding.DecodedLen(len(text)))
		// Line ends inside, which the decoder would pass over, are too many
		// characters.
		n, err := encoding.Decode(raw, text)
		if err == nil && n == KeySize && len(text) == encoding.EncodedLen(KeySize) {
			defer clear(raw)
			return NewKey(raw[:n])
		}
	}
	return Key{}, fmt.Errorf("it has %d bytes, which is neither a key of %d bytes nor one in base64 (%d characters)", len(data), KeySize, base64.StdEncoding.EncodedLen(KeySize))
}

// Generate makes a key and writes it to a new file, readable by its owner
// alone. A file that is there already is fs.ErrExist: who loses a key loses
// all that is sealed under it.
func Generate(path string) (Key, error) {
	raw := make([]byte, KeySize)
	defer clear(raw)
	if _, err := rand.Read(raw); err != nil {
		return Key{}, fmt.Errorf("make seal key: %w", err)
	}
	k, err := NewKey(raw)
	if err != nil {
		return Key{}, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return Key{}, fmt.Errorf("make seal key: there is a file already: keep it, or name another: %w", err)
	}
	if err != nil {
		return Key{}, fmt.Errorf("make seal key: %w", err)
	}
	text := base64.StdEncoding.AppendEncode(nil, raw)
	defer clear(text)
	_, err = f.Write(append(text, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path)
		return Key{}, fmt.Errorf("make seal key: %w", err)
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return Key{}, fmt.Errorf("make seal key: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return Key{}, fmt.Errorf("make seal key: %w", err)
	}
	return k, nil
}
