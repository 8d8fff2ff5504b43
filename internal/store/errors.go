package store

import (
	"fmt"

	"openimds/internal/fault"
)

// Errors that a caller acts on. They are found with errors.Is.
var (
	// ErrCompacted: the store does not remember what was after that revision.
	// Read anew with List.
	ErrCompacted error = fault.New(fault.Conflict, "the store does not remember that revision")
	// ErrLagging: the watch was too slow. Watch again after the last batch
	// that was received.
	ErrLagging error = fault.New(fault.Unavailable, "the watch has fallen too far behind")
	// ErrClosed: the store, or the watch, was closed.
	ErrClosed error = fault.New(fault.Unavailable, "the store is closed")
	// ErrUncertain: the disk has taken the commit and then not confirmed it.
	// The commit is in force, readers and watches see it, and Commit returns
	// its revision beside the error; but if the machine stops before a later
	// commit succeeds, it may be gone.
	ErrUncertain error = fault.New(fault.Unavailable, "the disk does not confirm what was written")
)

// ConditionError names the condition of a Tx that did not hold.
type ConditionError struct {
	Index     int // in Tx.If
	Condition Condition
}

// Error says which condition failed.
func (e *ConditionError) Error() string {
	return fmt.Sprintf("condition %d does not hold: %s", e.Index, e.Condition)
}

// Check returns nil if all conditions of tx hold, and otherwise fault.Conflict
// around a *ConditionError for the first that does not. modified returns the
// revision that put a key last, 0 if the key is absent.
func (tx Tx) Check(modified func(key string) (uint64, error)) error {
	for i, c := range tx.If {
		m, err := modified(c.Key)
		if err != nil {
			return err
		}
		if !c.Holds(m) {
			return fault.Wrap(fault.Conflict, &ConditionError{i, c}, "the state has changed meanwhile")
		}
	}
	return nil
}
