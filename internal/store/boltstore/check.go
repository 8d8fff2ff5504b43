package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"openimds/internal/fault"
)

// maxProblems is how many problems Check names.
const maxProblems = 20

// Check reads the whole file and returns what is wrong with it, as
// fault.Internal: damaged pages, entries or history, and whatever in them does
// not fit together. Reads go on meanwhile; commits wait.
func (s *Store) Check(ctx context.Context) error {
	var found error
	look := func(tx *bolt.Tx) error {
		found = check(ctx, tx)
		return errNothing
	}
	// The list of free pages stands still only in a write transaction.
	run := s.update
	if s.config.ReadOnly {
		run = func(fn func(*bolt.Tx) error) error { return s.view(ctx, fn) }
	}
	if err := run(look); !errors.Is(err, errNothing) {
		return err
	}
	var p problems
	if errors.As(found, &p) {
		return fault.Wrap(fault.Internal, p, "state file %s is damaged: restore a backup", s.config.Path)
	}
	return found
}

// problems is what check has found.
type problems []error

func (p problems) Error() string { return errors.Join(p...).Error() }

func (p *problems) add(format string, args ...any) {
	if len(*p) < maxProblems {
		*p = append(*p, fmt.Errorf(format, args...))
	}
}

// check returns problems, or the context's error.
func check(ctx context.Context, tx *bolt.Tx) error {
	var p problems
	// bbolt's own check begins only when all pages have been read here, by
	// walking and by searching: it reads in a goroutine of its own, where a wild
	// pointer would end the process.
	if err := guarded(func() error { return checkContent(ctx, tx, &p) }); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.add("%w", err)
	}
	if len(p) == 0 {
		for err := range tx.Check() {
			p.add("%w", err)
		}
	}
	if len(p) == 0 {
		return nil
	}
	return p
}

// checkContent holds entries and history against each other and against the
// numbers in the first bucket.
func checkContent(ctx context.Context, tx *bolt.Tx, p *problems) error {
	revision, compacted := number(tx, keyRevision), number(tx, keyCompacted)
	if compacted > revision {
		p.add("history is forgotten up to revision %d, and the newest is %d", compacted, revision)
	}
	newest, err := checkHistory(ctx, tx, p, compacted, revision)
	if err != nil {
		return err
	}
	entries := tx.Bucket(bucketEntries)
	n := 0
	if err := entries.ForEach(func(k, v []byte) error {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if !bytes.Equal(entries.Get(k), v) {
			p.add("entry of key %q: it is listed, and not found", k)
		}
		e, err := decodeEntry(string(k), v)
		if err != nil {
			p.add("entry of key %q: %w", k, err)
			return nil
		}
		if e.Created == 0 || e.Created > e.Modified || e.Modified > revision {
			p.add("entry of key %q: created by revision %d, modified by %d, and the newest is %d", k, e.Created, e.Modified, revision)
		}
		last, remembered := newest[e.Key]
		delete(newest, e.Key)
		if (remembered || e.Modified > compacted) && (last.deleted || last.revision != e.Modified || last.created != e.Created || last.value != checksum("", e.Value)) {
			p.add("entry of key %q: it is not what history says it is", k)
		}
		return nil
	}); err != nil {
		return err
	}
	for key, last := range newest {
		if !last.deleted {
			p.add("entry of key %q: it is missing, revision %d has put it", key, last.revision)
		}
	}
	return nil
}

// change is the newest that history says of a key.
type change struct {
	revision, created uint64
	value             uint32 // checksum
	deleted           bool
}

// checkHistory returns the newest change of each key in the history.
func checkHistory(ctx context.Context, tx *bolt.Tx, p *problems, compacted, revision uint64) (map[string]change, error) {
	newest := map[string]change{}
	history := tx.Bucket(bucketHistory)
	at, size := compacted, uint64(0)
	err := history.ForEach(func(k, v []byte) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if at++; !bytes.Equal(k, revisionKey(at)) {
			p.add("history has %x where revision %d should be", k, at)
			if len(k) == 8 {
				at = binary.BigEndian.Uint64(k)
			}
		}
		if !bytes.Equal(history.Get(k), v) {
			p.add("history at revision %d: it is listed, and not found", at)
		}
		size += uint64(len(v))
		b, err := decodeBatch(at, v)
		if err != nil {
			p.add("history at revision %d: %w", at, err)
			return nil
		}
		last := ""
		for _, e := range b.Events {
			if e.Key <= last {
				p.add("history at revision %d: its keys are not in order", at)
			}
			last = e.Key
			newest[e.Key] = change{at, e.Created, checksum("", e.Value), e.Deleted}
		}
		return nil
	})
	if err == nil && at != revision {
		p.add("history ends at revision %d, and the newest is %d", at, revision)
	}
	if recorded := number(tx, keyHistoryBytes); err == nil && size != recorded {
		p.add("history has %d bytes, %d are recorded", size, recorded)
	}
	return newest, err
}
