package control

import (
	"context"
	"fmt"

	"openimds/internal/state"
)

// SealAnew seals under the newest key whatever is sealed under an older one, a
// bounded number of records with each commit, and returns how many that were.
// It may end at any time, and be begun again.
func (c *Control) SealAnew(ctx context.Context) (int, error) {
	return c.db.Anew(ctx, c.cfg.Secrets, map[string]func(*state.Tx, string) error{
		"keys/": func(tx *state.Tx, key string) error {
			k, ok, err := state.Load(tx, c.db.Keys, key)
			if err != nil || !ok {
				return err
			}
			if k.Sealed, err = c.sealAgain(k.Sealed, keyContext(k.ID)); err != nil {
				return fmt.Errorf("the secret of access key %s: %w", k.ID, err)
			}
			return state.Save(tx, c.db.Keys, key, k)
		},
		"roles/": func(tx *state.Tx, key string) error {
			r, ok, err := state.Load(tx, c.db.Roles, key)
			if err != nil || !ok || r.Sealed == nil {
				return err
			}
			if r.Sealed, err = c.sealAgain(r.Sealed, staticContext(r)); err != nil {
				return fmt.Errorf("the credentials of role %s: %w", r.Name, err)
			}
			return state.Save(tx, c.db.Roles, key, r)
		},
	})
}

// sealAgain seals a secret for the same place under the newest key.
func (c *Control) sealAgain(sealed []byte, place string) ([]byte, error) {
	plain, err := c.cfg.Secrets.Open(sealed, place)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return c.cfg.Secrets.Seal(plain, place), nil
}
