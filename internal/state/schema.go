package state

import (
	"context"
	"encoding/json"
	"fmt"

	"openimds/internal/fault"
	"openimds/internal/store"
)

// knownSchema refuses a store with records of a version that this program does
// not know, before it reads one.
func knownSchema(ctx context.Context, s store.Store) error {
	e, err := s.Get(ctx, "schema/version")
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return nil
	case err != nil:
		return fmt.Errorf("read the store: %w", err)
	}
	var found schemaRecord
	if err := json.Unmarshal(e.Value, &found); err != nil {
		return fault.Wrap(fault.Internal, err, "the version of the store's records is damaged: restore a backup")
	}
	if found.Version > Schema {
		return fault.New(fault.Unsupported, "the store has records of version %d, this program knows up to %d: use a newer one", found.Version, Schema)
	}
	return nil
}
