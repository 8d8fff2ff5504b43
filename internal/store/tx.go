package store

import (
	"fmt"

	"openimds/internal/fault"
)

// Tx is what a commit does, and under which conditions. No key may be named
// by more than one put or delete; conditions may name any keys.
type Tx struct {
	If     []Condition
	Put    []Pair
	Delete []string // a key that is absent stays so, without an event
}

// Pair is a key with the value to put.
type Pair struct {
	Key   string
	Value []byte
}

// Test is what a condition asks of a key.
type Test uint8

// The tests.
const (
	IsAbsent    Test = iota // there is no such key
	IsPresent               // there is such a key
	IsUnchanged             // it was put last by Condition.Revision
)

// Condition must hold at the moment of the commit.
type Condition struct {
	Key      string
	Test     Test
	Revision uint64
}

// Absent holds if there is no such key.
func Absent(key string) Condition { return Condition{Key: key, Test: IsAbsent} }

// Present holds if there is such a key.
func Present(key string) Condition { return Condition{Key: key, Test: IsPresent} }

// Unchanged holds if the key was put last by this revision, the Modified of
// the entry that was read. Revision 0 means that the key was absent, and still
// is.
func Unchanged(key string, modified uint64) Condition {
	return Condition{Key: key, Test: IsUnchanged, Revision: modified}
}

// Holds reports whether the condition holds for a key that was put last by the
// given revision; 0 stands for an absent key.
func (c Condition) Holds(modified uint64) bool {
	switch c.Test {
	case IsAbsent:
		return modified == 0
	case IsPresent:
		return modified != 0
	default:
		return modified == c.Revision
	}
}

// String says what the condition asks.
func (c Condition) String() string {
	switch c.Test {
	case IsAbsent:
		return fmt.Sprintf("%q is absent", c.Key)
	case IsPresent:
		return fmt.Sprintf("%q is present", c.Key)
	default:
		return fmt.Sprintf("%q is unchanged since revision %d", c.Key, c.Revision)
	}
}

// Size returns how many bytes the keys and values of tx have together.
func (tx Tx) Size() int {
	n := 0
	for _, c := range tx.If {
		n += len(c.Key)
	}
	for _, p := range tx.Put {
		n += len(p.Key) + len(p.Value)
	}
	for _, key := range tx.Delete {
		n += len(key)
	}
	return n
}

// Validate returns what is wrong with tx, as fault.Invalid.
func (tx Tx) Validate() error {
	changes := len(tx.Put) + len(tx.Delete)
	if changes > MaxChanges || len(tx.If) > MaxChanges {
		return fault.New(fault.Invalid, "a commit of %d changes under %d conditions: at most %d of each are possible", changes, len(tx.If), MaxChanges)
	}
	if n := tx.Size(); n > MaxBytes {
		return fault.New(fault.Invalid, "a commit of %d bytes: at most %d are possible", n, MaxBytes)
	}
	for _, c := range tx.If {
		if err := ValidateKey(c.Key); err != nil {
			return err
		}
		if c.Test > IsUnchanged {
			return fault.New(fault.Invalid, "condition on key %q: no test has the number %d", c.Key, c.Test)
		}
	}
	named := make(map[string]struct{}, changes)
	name := func(key string) error {
		if _, again := named[key]; again {
			return fault.New(fault.Invalid, "key %q is changed twice by one commit", key)
		}
		named[key] = struct{}{}
		return ValidateKey(key)
	}
	for _, p := range tx.Put {
		if err := name(p.Key); err != nil {
			return err
		}
		if len(p.Value) > MaxValue {
			return fault.New(fault.Invalid, "value of key %q has %d bytes: at most %d are possible", p.Key, len(p.Value), MaxValue)
		}
	}
	for _, key := range tx.Delete {
		if err := name(key); err != nil {
			return err
		}
	}
	return nil
}

// ValidateKey returns what is wrong with a key, as fault.Invalid.
func ValidateKey(key string) error {
	switch {
	case key == "":
		return fault.New(fault.Invalid, "a key is empty")
	case len(key) > MaxKey:
		return fault.New(fault.Invalid, "key %.40q… has %d bytes: at most %d are possible", key, len(key), MaxKey)
	}
	return nil
}
