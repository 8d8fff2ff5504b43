package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"openimds/internal/instance"
	"openimds/internal/seal"
	"openimds/internal/store"
)

// OpenSealed is Open of a store that nobody can read secrets of: those of
// records are sealed under the keys, and known in the mirror alone.
func OpenSealed(ctx context.Context, s store.Store, keys *seal.Ring, log *slog.Logger) (*DB, error) {
	return open(ctx, s, keys, log)
}

// guard keeps the secrets of one kind of record out of the store. What the two
// are given and return is not shared.
type guard[T any] struct {
	// hide returns the record as it is stored; the one that it is given stays.
	hide func(keys *seal.Ring, record *T) (*T, error)
	// show makes a record that was stored whole again.
	show func(keys *seal.Ring, record *T) error
}

// encode returns a record as it is stored.
func (t *Table[T]) encode(record *T) ([]byte, error) {
	if t.guard.hide != nil && t.db.keys != nil {
		hidden, err := t.guard.hide(t.db.keys, record)
		if err != nil {
			return nil, err
		}
		record = hidden
	}
	return json.Marshal(record)
}

// read returns a record that was stored.
func (t *Table[T]) read(data []byte) (*T, error) {
	record := new(T)
	if err := json.Unmarshal(data, record); err != nil {
		return nil, err
	}
	if t.guard.show != nil {
		return record, t.guard.show(t.db.keys, record)
	}
	return record, nil
}

// given are the credentials that somebody gave an instance: the secrets of its
// record.
type given struct {
	Role     *instance.Credentials `json:"role,omitempty"`
	Identity *instance.Credentials `json:"identity,omitempty"`
}

var guardInstance = guard[Instance]{hide: hideInstance, show: showInstance}

func hideInstance(keys *seal.Ring, in *Instance) (*Instance, error) {
	secrets := given{Identity: in.Spec.Identity}
	if in.Spec.Role != nil {
		secrets.Role = in.Spec.Role.Credentials
	}
	if secrets == (given{}) {
		return in, nil
	}
	plain, err := json.Marshal(secrets)
	if err != nil {
		return nil, err
	}
	hidden := *in
	hidden.Sealed = keys.Seal(plain, sealedFor(in))
	hidden.Spec.Identity = nil
	if in.Spec.Role != nil {
		role := *in.Spec.Role
		role.Credentials = nil
		hidden.Spec.Role = &role
	}
	return &hidden, nil
}

func showInstance(keys *seal.Ring, in *Instance) error {
	if len(in.Sealed) == 0 {
		return nil
	}
	if keys == nil {
		return errors.New("its credentials are sealed, and there is no key to open them")
	}
	plain, err := keys.Open(in.Sealed, sealedFor(in))
	if err != nil {
		return fmt.Errorf("open its credentials: %w", err)
	}
	var secrets given
	if err := json.Unmarshal(plain, &secrets); err != nil {
		return errors.New("its credentials are damaged")
	}
	in.Sealed, in.Spec.Identity = nil, secrets.Identity
	if in.Spec.Role != nil {
		in.Spec.Role.Credentials = secrets.Role
	}
	return nil
}

// sealedFor binds the credentials to their instance.
func sealedFor(in *Instance) string { return "instances/" + in.Spec.ID + "/credentials" }
