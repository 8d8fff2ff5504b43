package state

import (
	"strings"
	"time"
)

// Revocation ends the sessions of a role, or those that an instance was given,
// which began before it. It is forgotten when the longest of them are over.
type Revocation struct {
	Dialect string `json:"dialect"`
	Account string `json:"account"`
	// Role or Instance, by name or id: the other is empty.
	Role     string `json:"role,omitempty"`
	Instance string `json:"instance,omitempty"`
	// Epoch is when, in Unix nanoseconds, and above that of the revocation before. A session that knows a lower one, or none, is over.
	Epoch int64 `json:"epoch"`
}

// Key is where a revocation is kept.
func (r Revocation) Key() string {
	if r.Instance != "" {
		return Key(r.Dialect, r.Account, "instance", r.Instance)
	}
	return Key(r.Dialect, r.Account, "role", r.Role)
}

// CutKey takes the key of a role apart.
func CutKey(key string) (dialect, account, name string, ok bool) {
	dialect, rest, ok := strings.Cut(key, "/")
	account, name, cut := strings.Cut(rest, "/")
	return dialect, account, name, ok && cut
}

// Made returns when the revocation was made.
func (r Revocation) Made() time.Time { return time.Unix(0, r.Epoch) }

// SessionChange is what a commit did to what sessions depend on.
type SessionChange struct {
	// All: everything may have changed.
	All bool
	// Roles that were put, removed or revoked, as the keys of the table.
	Roles []string
	// Instances whose sessions were revoked, by identifier.
	Instances []string
}

func (c *SessionChange) empty() bool { return !c.All && len(c.Roles)+len(c.Instances) == 0 }

// note adds an event of the mirror.
func (c *SessionChange) note(key string, record any) {
	switch r := record.(type) {
	case *Role:
		c.Roles = append(c.Roles, key)
	case *Revocation:
		switch {
		case r == nil: // forgotten
		case r.Instance != "":
			c.Instances = append(c.Instances, r.Instance)
		default:
			c.Roles = append(c.Roles, Key(r.Dialect, r.Account, r.Role))
		}
	}
}

// OnSessions makes the mirror tell every commit that touches roles and
// revocations, as OnChange does for instances.
func (db *DB) OnSessions(tell func(SessionChange)) {
	db.mu.Lock()
	db.toldSessions = append(db.toldSessions, tell)
	db.mu.Unlock()
}
