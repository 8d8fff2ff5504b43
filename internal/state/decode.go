package state

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"openimds/internal/store"
)

// applied is one event, decoded before the lock is taken.
type applied struct {
	t        mirror // nil: it belongs to no table
	key      string
	record   any
	modified uint64
}

// decode decodes the events of a batch, in their order.
func (db *DB) decode(events []store.Event) ([]applied, error) {
	all := make([]applied, len(events))
	for i, e := range events {
		var err error
		if all[i], err = db.decodeOne(e); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (db *DB) decodeOne(e store.Event) (applied, error) {
	for _, t := range db.tables {
		if key, ok := strings.CutPrefix(e.Key, t.folder()); ok {
			record, err := t.decode(e)
			return applied{t, key, record, e.Modified}, err
		}
	}
	return applied{}, nil
}

// page is how many entries are read, and then decoded, at a time: decoding
// takes far longer than reading, so it keeps all processors busy meanwhile.
const page = 1024

// readAll reads and decodes the whole store at one revision.
func (db *DB) readAll(ctx context.Context) ([]applied, uint64, error) {
	all, revision, err := db.readPages(ctx, page)
	if errors.Is(err, store.ErrCompacted) {
		// It has changed between two pages, and keeps no old states.
		return db.readPages(ctx, 0)
	}
	return all, revision, err
}

// readPages reads a number of entries at a time, 0: all.
func (db *DB) readPages(ctx context.Context, limit int) ([]applied, uint64, error) {
	var (
		workers sync.WaitGroup
		mu      sync.Mutex // guards all and failed
		all     []applied
		failed  error
	)
	pages := make(chan []store.Entry, 2*runtime.GOMAXPROCS(0))
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for entries := range pages {
				events := make([]store.Event, len(entries))
				for i, e := range entries {
					events[i].Entry = e
				}
				decoded, err := db.decode(events)
				mu.Lock()
				all, failed = append(all, decoded...), errors.Join(failed, err)
				mu.Unlock()
			}
		})
	}
	o, more := store.ListOptions{Limit: limit}, true
	var err error
	for more && err == nil {
		var l store.Listing
		if l, err = db.store.List(ctx, "", o); err != nil {
			err = fmt.Errorf("read the store: %w", err)
			break
		}
		if more = l.More; more {
			o.After = l.Entries[len(l.Entries)-1].Key
		}
		o.Revision = l.Revision
		pages <- l.Entries
	}
	close(pages)
	workers.Wait()
	return all, o.Revision, errors.Join(err, failed)
}
