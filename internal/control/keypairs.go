package control

import (
	"context"
	"time"

	"openimds/internal/instance"
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
	a.on(arn(caller, "key-pair", name), nil)
	if err := c.permit(caller, a); err != nil {
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

// SetKeyPair gives instances a key pair (ECS), or with an empty name takes it
// away.
func (c *Control) SetKeyPair(ctx context.Context, caller Caller, id, name string) error {
	in, err := c.own(caller, id)
	if err != nil {
		return err
	}
	a := ask{}
	a.on(arn(caller, "instance", id), instanceKeys(caller.Dialect, in))
	if err := c.permit(caller, a); err != nil {
		return err
	}
	k, ok := c.db.KeyPairs.Get(keyPairKey(caller, name))
	if name != "" && !ok {
		return refuse(KeyPairNotFound, name)
	}
	_, err = c.change(ctx, caller, id, func(in *state.Instance) error {
		in.KeyName, in.Spec.KeyPairs = name, nil
		if name != "" {
			in.Spec.KeyPairs = []instance.KeyPair{{ID: k.ID, Name: k.Name, PublicKey: k.PublicKey}}
		}
		return nil
	})
	return err
}
