package control

import (
	"context"

	"openimds/internal/fault"
	"openimds/internal/session"
	"openimds/internal/state"
)

// keyContext binds a sealed secret to the record of its key.
func keyContext(id string) string { return "access-key/" + id }

// Principal returns the secret of an access key of a dialect, and the caller
// that it stands for, to be completed by the API. What is known of a session's
// key stands in the session token that came with the request: where the
// caller has a Session, the signature is good for that token alone. An unknown
// or disabled key is fault.Unauthenticated, and so are Reasons SessionExpired
// and SessionRevoked.
func (c *Control) Principal(dialect, accessKeyID, sessionToken string) (secret string, caller Caller, err error) {
	if session.IsKeyID(dialect, accessKeyID) {
		return c.sessionPrincipal(dialect, accessKeyID, sessionToken)
	}
	k, ok := c.db.Keys.Get(accessKeyID)
	if !ok || k.Dialect != dialect || k.Disabled {
		return "", Caller{}, fault.New(fault.Unauthenticated, "access key %.40q is not known", accessKeyID)
	}
	plain, err := c.cfg.Secrets.Open(k.Sealed, keyContext(k.ID))
	if err != nil {
		return "", Caller{}, fault.Wrap(fault.Internal, err, "open the secret of access key %s", k.ID)
	}
	return string(plain), Caller{Dialect: dialect, Account: k.Account, User: k.User, AccessKeyID: k.ID, Policies: k.Policies}, nil
}

// PutKey stores an access key with its secret.
func (c *Control) PutKey(ctx context.Context, caller Caller, k state.AccessKey, secret string) error {
	if err := c.permit(caller, ask{}); err != nil {
		return err
	}
	k.Sealed, k.Created = c.cfg.Secrets.Seal([]byte(secret), keyContext(k.ID)), c.cfg.Now().UTC()
	return c.update(ctx, func(tx *state.Tx) error { return state.Save(tx, c.db.Keys, k.ID, &k) })
}

// PutPolicy stores a policy, which must parse.
func (c *Control) PutPolicy(ctx context.Context, caller Caller, p state.Policy) error {
	if err := c.permit(caller, ask{}); err != nil {
		return err
	}
	p.Created = c.cfg.Now().UTC()
	if _, err := c.compile(&p); err != nil {
		return fault.Wrap(fault.Invalid, err, "policy %s", p.Name)
	}
	return c.update(ctx, func(tx *state.Tx) error {
		return state.Save(tx, c.db.Policies, state.Key(p.Dialect, p.Name), &p)
	})
}
