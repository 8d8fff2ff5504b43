package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"openimds/internal/token"
)

// keysFile is where a state folder keeps the token keys.
func keysFile(dir string) string { return filepath.Join(dir, "token-keys.json") }

// keyring is the ring of token keys and the file that keeps it.
type keyring struct {
	ring *token.Ring
	path string // empty: in memory only
	// changed, where set, is told that there are new keys. It is set before tend.
	changed func()
}

// openKeys returns the ring that dir keeps, or a new one. Without dir it lives
// in memory.
func openKeys(dir string, now time.Time) (*keyring, error) {
	if dir == "" {
		s, err := token.NewSecrets(now, rand.Reader)
		if err != nil {
			return nil, err
		}
		return &keyring{ring: token.NewRing(s)}, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	k := &keyring{path: keysFile(dir)}
	s, err := token.Load(k.path)
	changed := false
	switch {
	case errors.Is(err, os.ErrNotExist):
		s, err = token.NewSecrets(now, rand.Reader)
		changed = true
	case err == nil:
		s, changed, err = s.Advance(now, rand.Reader)
	}
	if err != nil {
		return nil, err
	}
	if changed {
		// On a disk that is read-only, tokens of a while are better than none.
		if err := token.Save(k.path, s); err != nil && !errors.Is(err, syscall.EROFS) {
			return nil, err
		}
	}
	k.ring = token.NewRing(s)
	return k, nil
}

// advance makes the next epoch's keys when it is time. What cannot be saved is
// not used: a token must not be lost by a restart.
func (k *keyring) advance(now time.Time) error {
	s, changed, err := k.ring.Secrets().Advance(now, rand.Reader)
	if err != nil || !changed {
		return err
	}
	if k.path != "" {
		if err := token.Save(k.path, s); err != nil {
			return err
		}
	}
	k.ring.Set(s)
	if k.changed != nil {
		k.changed()
	}
	return nil
}

// tend advances the keys until ctx is done.
func (k *keyring) tend(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if err := k.advance(now); err != nil {
				log.Error("token keys were not renewed; trying again in a minute", "err", err)
			}
		}
	}
}
