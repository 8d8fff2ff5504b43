package docsign

import (
	"bytes"
	"context"
	"strings"

	"openimds/internal/fault"
	"openimds/internal/store"
)

// Keeper keeps sealed keys, a record for each name such as ec2/us-east-1/rsa.
// What Save took is there after a restart.
type Keeper interface {
	// Names returns the names of all records.
	Names(ctx context.Context) ([]string, error)
	// Load returns a record; nil where there is none.
	Load(ctx context.Context, name string) ([]byte, error)
	// Save puts a record in place of old, which is nil where there was none,
	// and returns when it is durable. Where something else is there it is
	// fault.Conflict, and nothing is changed: of several who make keys at once,
	// one does.
	Save(ctx context.Context, name string, old, record []byte) error
}

// InStore keeps records in a store, below a prefix of its own.
type InStore struct {
	Store  store.Store
	Prefix string
}

// Names implements Keeper.
func (k InStore) Names(ctx context.Context) ([]string, error) {
	l, err := k.Store.List(ctx, k.Prefix, store.ListOptions{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range l.Entries {
		names = append(names, strings.TrimPrefix(e.Key, k.Prefix))
	}
	return names, nil
}

// Load implements Keeper.
func (k InStore) Load(ctx context.Context, name string) ([]byte, error) {
	e, err := k.Store.Get(ctx, k.Prefix+name)
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	return e.Value, err
}

// Save implements Keeper.
func (k InStore) Save(ctx context.Context, name string, old, record []byte) error {
	key := k.Prefix + name
	e, err := k.Store.Get(ctx, key)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if !bytes.Equal(e.Value, old) {
		return errTaken
	}
	_, err = k.Store.Commit(ctx, store.Tx{
		If: []store.Condition{store.Unchanged(key, e.Modified)}, Put: []store.Pair{{Key: key, Value: record}},
	})
	return err
}

var errTaken = fault.New(fault.Conflict, "other identity keys are there already")
