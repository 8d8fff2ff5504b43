package control

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/state"
)

var roleName = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)

// PutRole makes a role, or replaces one: its sessions go on, with the policies
// that it has now. Policies must exist.
func (c *Control) PutRole(ctx context.Context, caller Caller, r state.Role) error {
	if err := c.permit(caller, ask{}); err != nil {
		return err
	}
	switch {
	case !roleName.MatchString(r.Name):
		return &Error{Reason: InvalidValue, Subject: "role name", Detail: r.Name}
	case r.MaxSession < 0 || r.MaxSession > longestSession || r.MaxSession > 0 && r.MaxSession < usualSession:
		return &Error{Reason: InvalidValue, Subject: "longest session", Detail: r.MaxSession.String()}
	}
	for _, name := range r.Policies {
		if _, ok := c.db.Policies.Get(state.Key(r.Dialect, name)); !ok {
			return &Error{Reason: InvalidValue, Subject: "policy", Detail: name}
		}
	}
	key := state.Key(r.Dialect, r.Account, r.Name)
	return c.update(ctx, func(tx *state.Tx) error {
		old, ok, err := state.Load(tx, c.db.Roles, key)
		if err != nil {
			return err
		}
		next := r
		next.Created = c.cfg.Now().UTC()
		if ok {
			next.Created = old.Created
			if next.ProfileID == "" {
				next.ProfileID = old.ProfileID
			}
			if next.Sealed == nil {
				next.Sealed = old.Sealed
			}
		}
		return state.Save(tx, c.db.Roles, key, &next)
	})
}

// DeleteRole takes a role away and with it all its sessions, also from a role
// that gets its name later. Instances keep the name, and get no credentials.
func (c *Control) DeleteRole(ctx context.Context, caller Caller, name string) error {
	if err := c.permit(caller, ask{}); err != nil {
		return err
	}
	if _, err := c.Role(caller, name); err != nil {
		return err
	}
	return c.update(ctx, func(tx *state.Tx) error {
		state.Remove(tx, c.db.Roles, roleKey(caller, name))
		return nil
	})
}

// ensureRoles makes the roles that instances of a file name and nobody has
// made.
func (c *Control) ensureRoles(ctx context.Context, instances []*instance.Instance) error {
	missing := map[string]state.Role{}
	for _, in := range instances {
		if in.Role == nil {
			continue
		}
		key := state.Key(in.Dialect, in.Account, in.Role.Name)
		if _, ok := c.db.Roles.Get(key); !ok {
			missing[key] = state.Role{
				Name: in.Role.Name, Dialect: in.Dialect, Account: in.Account, ProfileID: in.Role.ProfileID,
				Policies: c.cfg.RolePolicies[in.Dialect], Created: c.cfg.Now().UTC(),
			}
		}
	}
	for part := range slices.Chunk(slices.Sorted(maps.Keys(missing)), perCommit) {
		err := c.update(ctx, func(tx *state.Tx) error {
			for _, key := range part {
				_, ok, err := state.Load(tx, c.db.Roles, key)
				if err != nil {
					return err
				}
				if role := missing[key]; !ok {
					if err := state.Save(tx, c.db.Roles, key, &role); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// SetStatic makes a role's credentials those given, in place of sessions of
// our own; nil takes them away.
func (c *Control) SetStatic(ctx context.Context, caller Caller, name string, k *instance.Credentials) error {
	if err := c.permit(caller, ask{}); err != nil {
		return err
	}
	return c.update(ctx, func(tx *state.Tx) error {
		r, ok, err := state.Load(tx, c.db.Roles, roleKey(caller, name))
		if err != nil {
			return err
		}
		if !ok {
			return refuse(RoleNotFound, name)
		}
		r.Sealed = nil
		if k != nil {
			plain, err := json.Marshal(k)
			if err != nil {
				return err
			}
			r.Sealed = c.cfg.Secrets.Seal(plain, staticContext(r))
		}
		return state.Save(tx, c.db.Roles, roleKey(caller, name), r)
	})
}

func staticContext(r *state.Role) string {
	return "role-credentials/" + state.Key(r.Dialect, r.Account, r.Name)
}

// staticCredentials opens the credentials that a role was given.
func (c *Control) staticCredentials(r *state.Role) (*instance.Credentials, error) {
	plain, err := c.cfg.Secrets.Open(r.Sealed, staticContext(r))
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "open the static credentials of role %s", r.Name)
	}
	k := new(instance.Credentials)
	if err := json.Unmarshal(plain, k); err != nil {
		return nil, fault.New(fault.Internal, "the static credentials of role %s are damaged", r.Name) // the cause could quote them
	}
	return k, nil
}

// roleID is the unique id of a role: another one if it is made anew.
func roleID(r *state.Role) string {
	return uniqueID(r.Dialect, "role", r.Account, r.Name, strconv.FormatInt(r.Created.UnixNano(), 10))
}

// uniqueID makes an id in the form of a dialect from what it is the id of:
// letters after AROA or AIDA, or a number of 18 digits (EC2-STS-01,
// ECS-STS-01).
func uniqueID(dialect, kind string, parts ...string) string {
	sum := sha256.Sum256([]byte("openimds " + kind + " id\x00" + state.Key(parts...)))
	if dialect == "ecs" {
		return strconv.FormatUint(2e17+binary.BigEndian.Uint64(sum[:])%2e17, 10)
	}
	prefix := "AIDA"
	if kind == "role" {
		prefix = "AROA"
	}
	return prefix + base32.StdEncoding.EncodeToString(sum[:])[:17]
}
