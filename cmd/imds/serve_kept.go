package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"openimds/internal/audit"
	"openimds/internal/config"
	"openimds/internal/store/boltstore"
)

// Files of the state folder.
func storeFile(dir string) string { return filepath.Join(dir, "imds.db") }
func auditFile(dir string) string { return filepath.Join(dir, "audit.log") }

// kept is what the state folder has.
type kept struct {
	store *boltstore.Store
	keys  *keyring
	token string       // of the admin API
	trace string       // of tracers, for their findings
	audit audit.Config // where calls are recorded; without a path nowhere
}

// openKept opens the state folder, and makes what there is not. On a disk that
// is read-only, instances are served all the same: changes are refused, and
// nothing can be recorded.
func openKept(s config.Serve, log *slog.Logger) (_ kept, err error) {
	var k kept
	if err := os.MkdirAll(s.State, 0o700); err != nil {
		return k, fmt.Errorf("make state folder: %w", err)
	}
	// Whoever holds the store holds the folder: nothing else in it is touched
	// before.
	k.store, err = boltstore.Open(boltstore.Config{Path: storeFile(s.State)})
	if errors.Is(err, syscall.EROFS) {
		log.Error("the disk is read-only: instances are served, changes are refused, calls are not recorded; mount it for writing and start again", "state", s.State, "err", err)
		k.store, err = boltstore.Open(boltstore.Config{Path: storeFile(s.State), ReadOnly: true})
	} else if err == nil {
		k.audit = audit.Config{
			Path: auditFile(s.State), RotateSize: int64(s.Audit.RotateSize), RotateAfter: s.Audit.RotateAfter, Keep: s.Audit.Keep, Logger: log,
		}
	}
	if err != nil {
		return k, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.store.Close())
		}
	}()
	if k.keys, err = openKeys(s.State, time.Now()); err != nil {
		return k, err
	}
	if k.token, err = openAdminToken(s.Admin.TokenFile); err != nil {
		return k, err
	}
	if k.trace, err = openAdminToken(filepath.Join(s.State, "trace-token")); errors.Is(err, syscall.EROFS) {
		err = nil // tracers bring the admin token, or wait
	}
	return k, err
}
