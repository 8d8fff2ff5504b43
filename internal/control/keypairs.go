package control

import (
	"context"
	"time"

	"openimds/internal/instance"
	"openimds/internal/policy"
	"openimds/internal/state"
)

func keyPairKey(caller Caller, name string) string {
	return state.Key(caller.Dialect, caller.Account, caller.Region, name)
}

// KeyPairs returns the caller's key pairs, by name.
func (c *Control) KeyPairs(caller Caller) ([]*state.KeyPair, error) {
	if err := c.permit(caller, ask{}); err != nil {
		return nil, err
	}
	return c.db.KeyPairs.All(func(k *state.KeyPair) bool {
		return k.Dialect == caller.Dialect && k.Account == caller.Account && k.Region == caller.Region
	}), nil
}

// NewKeyPair keeps a public key under a name. The fingerprint is the API's, in
// its own form.
func (c *Control) NewKeyPair(ctx context.Context, caller Caller, name, publicKey, fingerprint string, tags map[string]string) (*state.KeyPair, error) {
	a := ask{}
	own := policy.Context{}
	requestTags(caller.Dialect, own, tags)
	a.on(arn(caller, "key-pair", name), own)
	a.tagging(caller, "key-pair", tags)
	if err := c.permit(caller, a); err != nil {
		return nil, err
	}
	if err := checkTags(caller.Dialect, tags); err != nil {
		return nil, err
	}
	k := &state.KeyPair{
		Name: name, ID: "key-" + c.hex(17), Dialect: caller.Dialect, Account: caller.Account, Region: caller.Region,
		PublicKey: publicKey, Fingerprint: fingerprint, Tags: tags, Created: c.cfg.Now().UTC().Truncate(time.Second),
	}
	if caller.Dialect == "ecs" {
		k.ID = "skp-bp1" + c.hex(17)
	}
	return k, c.update(ctx, func(tx *state.Tx) error {
		_, exists, err := state.Load(tx, c.db.KeyPairs, keyPairKey(caller, name))
		if err != nil {
			return err
		}
		if exists {
			return refuse(KeyPairExists, name)
		}
		return state.Save(tx, c.db.KeyPairs, keyPairKey(caller, name), k)
	})
}

// DeleteKeyPairs forgets key pairs. Instances launched with them keep the key.
// Names that do not exist are passed over.
func (c *Control) DeleteKeyPairs(ctx context.Context, caller Caller, names []string) error {
	a := ask{}
	for _, name := range names {
		a.on(arn(caller, "key-pair", name), nil)
	}
	if err := c.permit(caller, a); err != nil {
		return err
	}
	return c.update(ctx, func(tx *state.Tx) error {
		for _, name := range names {
			state.Remove(tx, c.db.KeyPairs, keyPairKey(caller, name))
		}
		return nil
	})
}

// KeyChange gives instances a key pair, or takes one away (ECS).
type KeyChange struct {
	IDs  []string
	Name string
	// Detach takes the key pair with the name from instances that have it.
	Detach bool
}

// SetKeyPairs changes the key pairs of instances, in one commit: of those that
// can have it. On an instance that runs it is in force after a restart.
func (c *Control) SetKeyPairs(ctx context.Context, caller Caller, change KeyChange) ([]Outcome, error) {
	a, err := c.about(caller, change.IDs, true, nil)
	if err != nil {
		return nil, err
	}
	if err := c.permit(caller, a); err != nil {
		return nil, err
	}
	k, ok := c.db.KeyPairs.Get(keyPairKey(caller, change.Name))
	if !change.Detach && !ok {
		return nil, refuse(KeyPairNotFound, change.Name)
	}
	return c.commit(ctx, caller, change.IDs, true, func(_ *state.Tx, in *state.Instance) error {
		name, keys := "", []instance.KeyPair{}
		switch {
		case in.Spec.Platform == "windows" && !change.Detach:
			return refuse(KeyPairOnWindows, in.Spec.ID)
		case change.Detach && in.KeyName != change.Name:
			return refuse(KeyPairNotFound, change.Name)
		case !change.Detach:
			name, keys = k.Name, []instance.KeyPair{{ID: k.ID, Name: k.Name, PublicKey: k.PublicKey}}
		}
		in.KeyName = name
		in.AtRestart(func(r *state.Restart) { r.KeyPairs = &keys })
		return nil
	})
}
