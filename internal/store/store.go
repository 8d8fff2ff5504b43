// Package store is the contract of the place that state is kept in: ordered
// keys with values, changed by atomic commits, each of which makes one
// revision, and watched from any revision that is still remembered. The seven
// guarantees are written on Store; the suite in storetest holds every
// implementation to them.
package store

import (
	"cmp"
	"context"
	"slices"

	"openimds/internal/fault"
)

// Limits of what a store takes. Whatever goes beyond is fault.Invalid, before
// anything is written.
const (
	MaxKey     = 1 << 10 // bytes of a key; a key has at least one
	MaxValue   = 3 << 19 // bytes of a value, 1.5 MiB; a value may be empty
	MaxChanges = 1 << 10 // puts and deletes of a Tx together; as many conditions
	MaxBytes   = 8 << 20 // bytes of all keys and values of a Tx
)

// Store keeps entries in the byte order of their keys. A new store is at
// revision 0. Its methods may be called by many goroutines at once.
//
// What every implementation guarantees:
//
//  1. A commit is atomic: all of its puts and deletes come into force, or
//     none. An error from Commit means none, but for ErrUncertain, which says
//     so.
//  2. A commit is durable before Commit returns: it outlives the process, and
//     on a disk the machine. Nobody sees it before it is: no read and no
//     watch. (What is kept in memory ends with the process.)
//  3. History is linear. Every commit that changes something raises the
//     revision by exactly one. A commit whose condition fails changes nothing
//     and takes no revision; nor does one with nothing to change, which is one
//     without puts whose deletes name absent keys. A put is always a change,
//     even of a value to itself.
//  4. Get and List read the state as it was at one revision, never half a
//     commit. A read that begins after Commit returned sees that commit.
//  5. A watch gives every commit after its revision exactly once, in order and
//     whole: all events of the commit under its prefix in one batch. It never
//     gives what a Get at that time would not see. Once Commit has returned,
//     its batch, or a bookmark, is there for every watch without any further
//     commit. A slow watcher does not hold up commits: it is cut off with
//     ErrLagging, and resumes with a new watch after the last batch it has
//     got.
//  6. A watch from before what the store remembers gets ErrCompacted, from
//     Watch or from Next. The reader then lists, and watches after the
//     revision of the listing.
//  7. Reads and watches go on when writes cannot, because the disk is full,
//     read-only or broken. A write that fails leaves the old state.
//
// Keys are strings of any bytes. Values are copied on their way in and out:
// no caller shares memory with the store or with another caller.
//
// Errors are of the kinds of package fault: Invalid for what is malformed or
// beyond a limit, NotFound for an absent key, Conflict for a failed condition,
// Unavailable when the medium does not take a write or give a read, Internal
// when what it gives is damaged. A context that ends is reported as the
// context's own error. After Close everything is ErrClosed.
type Store interface {
	// Get returns the entry of a key; fault.NotFound if there is none.
	Get(ctx context.Context, key string) (Entry, error)

	// List returns the entries whose keys start with prefix, in key order.
	// The empty prefix is that of all keys.
	List(ctx context.Context, prefix string, o ListOptions) (Listing, error)

	// Commit makes the changes of tx if all of its conditions hold, and
	// returns the revision that it made, or the current one if there was
	// nothing to change. A failed condition is fault.Conflict around a
	// *ConditionError. A context that ends before the commit has begun
	// withdraws it; once begun, its outcome is waited for. So any error but
	// ErrUncertain means that nothing has changed.
	Commit(ctx context.Context, tx Tx) (revision uint64, err error)

	// Watch gives what is committed after a revision to keys that start with
	// prefix. A revision that the store has not reached is ErrCompacted too:
	// it is from another history. The context bounds the call, not the watch.
	Watch(ctx context.Context, prefix string, after uint64) (Watcher, error)

	// Compact forgets the history up to and including a revision: a watch
	// after it is possible, a watch after an earlier one no longer. The
	// entries stay. A revision that is forgotten already changes nothing; one
	// that is not reached yet is fault.Invalid. A store also forgets by
	// itself, to stay within its bounds. A watch that is behind may go on or
	// get ErrCompacted.
	Compact(ctx context.Context, revision uint64) error

	// Revision returns the revision of the newest commit.
	Revision(ctx context.Context) (uint64, error)

	// Close waits for commits that have begun, ends all watches and releases
	// what the store holds. A second Close does nothing.
	Close() error
}

// Watcher is a watch that is under way. Next is for one goroutine at a time.
type Watcher interface {
	// Next waits for the next batch. When ctx ends it returns the context's
	// error, and the watch goes on with the next call. ErrLagging,
	// ErrCompacted and ErrClosed are final.
	Next(ctx context.Context) (Batch, error)

	// Close ends the watch, and a waiting Next with ErrClosed. Any goroutine
	// may call it, more than once.
	Close()
}

// Entry is a key with its value.
type Entry struct {
	Key   string
	Value []byte // never nil
	// Created is the revision that put the key when it was absent, Modified
	// the revision that put it last.
	Created, Modified uint64
}

// ListOptions narrow a listing. The zero value asks for all there is now.
type ListOptions struct {
	// After leaves out keys up to and including this one. With the last key
	// of a page it asks for the next page.
	After string
	// Limit is how many entries are returned at most; 0: all.
	Limit int
	// Revision at which to read, so that pages fit together; 0: the newest. A
	// store need not keep old states: it answers ErrCompacted when it can no
	// longer read at that revision, and fault.Invalid when it has not reached
	// it.
	Revision uint64
}

// Check tells whether a store that keeps no old states, and is at the given
// revision, can answer.
func (o ListOptions) Check(revision uint64) error {
	switch {
	case o.Limit < 0:
		return fault.New(fault.Invalid, "list at most %d entries: the limit is negative", o.Limit)
	case o.Revision > revision:
		return fault.New(fault.Invalid, "list at revision %d: the newest is %d", o.Revision, revision)
	case o.Revision != 0 && o.Revision < revision:
		return ErrCompacted
	}
	return nil
}

// Listing is what List read.
type Listing struct {
	Entries  []Entry
	Revision uint64 // that was read; a watch after it continues the listing
	More     bool   // the limit left something out
}

// Batch is what one commit did to the keys of a watch. Without events it is a
// bookmark: up to its revision there is nothing else for this watch.
type Batch struct {
	Revision uint64
	Events   []Event // in key order, each key once
}

// Sort brings the events into key order.
func (b Batch) Sort() {
	slices.SortFunc(b.Events, func(x, y Event) int { return cmp.Compare(x.Key, y.Key) })
}

// Event is the change of one key. Of a deletion it has the key, and as
// Modified the revision that deleted it.
type Event struct {
	Entry
	Deleted bool
}
