package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"openimds/internal/config"
	"openimds/internal/seal"
	"openimds/internal/state"
)

// readKeys reads the keys under which secrets in the store are sealed, the
// newest first. Credentials is the folder of systemd's credentials, empty if
// there is none.
func readKeys(newest string, older []string, credentials string) (*seal.Ring, error) {
	var keys []seal.Key
	for i, name := range append([]string{newest}, older...) {
		path, err := keyPath(name, credentials)
		if err != nil {
			return nil, err
		}
		k, err := seal.ReadKey(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && path != name:
			return nil, fmt.Errorf("%w: systemd has no such credential for this service: add LoadCredential=%s:PATH to its unit", err, name)
		case errors.Is(err, fs.ErrNotExist) && i == 0:
			return nil, fmt.Errorf("%w: make one with: imds store key %s (what is sealed under another key in an old store needs that one)", err, path)
		case err != nil:
			return nil, err
		}
		keys = append(keys, k)
	}
	return seal.NewRing(keys[0], keys[1:]...), nil
}

// keyPath finds the file of a key.
func keyPath(name, credentials string) (string, error) {
	switch {
	case !config.IsCredential(name):
		return name, nil
	case credentials == "":
		return "", fmt.Errorf("key: %q is the name of a systemd credential, and $CREDENTIALS_DIRECTORY is not set: run this as a systemd service with LoadCredential=%s:PATH, or give a path, such as ./%s", name, name, name)
	}
	return filepath.Join(credentials, name), nil
}

// checkSealed refuses keys that are not those of the store.
func checkSealed(db *state.DB, keys *seal.Ring) error {
	for _, k := range db.Keys.All(nil) {
		// Whose context it is does not matter: what is asked is which key.
		if _, err := keys.Open(k.Sealed, ""); errors.Is(err, seal.ErrKey) {
			return fmt.Errorf("open the secret of access key %s: %w, in key or olderKeys", k.ID, err)
		}
	}
	for _, r := range db.Roles.All(nil) {
		if r.Sealed == nil {
			continue
		}
		if _, err := keys.Open(r.Sealed, ""); errors.Is(err, seal.ErrKey) {
			return fmt.Errorf("open the credentials of role %s: %w, in key or olderKeys", r.Name, err)
		}
	}
	return nil
}

// sealAnew seals under the newest key what is sealed under an older one. A store
// that takes no writes is no reason not to serve.
func (p *plane) sealAnew(ctx context.Context) error {
	n, err := p.control.SealAnew(ctx)
	if n > 0 {
		p.log.Info("sealed anew under the newest key", "records", n)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		p.log.Error("not everything is sealed under the newest key: keep the older keys, and start again once this is mended", "err", err)
		return nil
	}
	left, err := state.Sealed(ctx, p.store)
	if err != nil {
		return err
	}
	for id, records := range left {
		if newest := p.secrets.Newest(); id != newest.ID() {
			p.log.Warn("records are sealed under an older key still: keep it", "key", id, "records", records)
			return nil
		}
	}
	p.log.Info("everything in the store is sealed under the newest key; the older ones are needed for sessions that began under them, which end within 12 hours, and for backups")
	return nil
}

// openAdminToken returns the token of the admin API that a file keeps, which
// it makes if there is none.
func openAdminToken(path string) (string, error) {
	token, err := readAdminToken(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return token, err
	}
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	token = base64.RawURLEncoding.EncodeToString(raw)
	// It gets its name when it is whole, so that no crash leaves half of it.
	t, err := os.CreateTemp(filepath.Dir(path), ".admin-token-*") // mode 0600
	if err != nil {
		return "", fmt.Errorf("make admin token: %w", err)
	}
	defer os.Remove(t.Name())
	_, err = t.WriteString(token + "\n")
	if err == nil {
		err = t.Sync()
	}
	if err = errors.Join(err, t.Close()); err == nil {
		err = os.Link(t.Name(), path)
	}
	if err != nil {
		return "", fmt.Errorf("make admin token: %w", err)
	}
	return token, nil
}

// shortestToken is the length under which an admin token is refused.
const shortestToken = 20

// readAdminToken reads a token that nobody but the owner of its file may read.
func readAdminToken(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("read admin token: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("admin token %s may be read or changed by others than its owner (mode %04o): run chmod 600 %s, and if others may have read it, remove it, and the next start makes another", path, mode, path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read admin token: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if len(token) < shortestToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("admin token %s is not one line of at least %d printable characters: remove it, and the next start makes another", path, shortestToken)
	}
	return token, nil
}
