package hub

import (
	"openimds/internal/feed"
	"openimds/internal/state"
)

// keptDrops is how many changes of sessions are remembered for streams that are
// about to send them. A stream that is further behind sends that all is void.
const keptDrops = 1024

// void takes a change of what sessions depend on.
func (h *Hub) void(c state.SessionChange) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drops = append(h.drops, c)
	if len(h.drops) > keptDrops {
		h.dropped += uint64(len(h.drops) - keptDrops)
		h.drops = append([]state.SessionChange(nil), h.drops[len(h.drops)-keptDrops:]...)
	}
	for _, l := range h.lanes {
		l.wake()
	}
}

// voided returns what became void since a stream looked last, as far as it
// concerns the guests of a lane; nil: nothing. The lock is held.
func (h *Hub) voided(l *lane, seen uint64) *feed.Drop {
	if seen < h.dropped {
		return &feed.Drop{All: true}
	}
	d := &feed.Drop{}
	for _, c := range h.drops[seen-h.dropped:] {
		if c.All {
			return &feed.Drop{All: true}
		}
		for _, key := range c.Roles {
			d.Roles = append(d.Roles, l.role(key)...)
		}
		for _, id := range c.Instances {
			if l.guests[id] != nil {
				d.Instances = append(d.Instances, id)
			}
		}
	}
	if len(d.Roles)+len(d.Instances) == 0 {
		return nil
	}
	return d
}

// missed returns what became void after a revision: what a node may hold that
// was away since. Roles that are gone are not among it; their sessions are
// refused by whoever is shown them.
func (h *Hub) missed(node string, revision uint64) *feed.Drop {
	c := state.SessionChange{}
	for key := range h.cfg.DB.Roles.After(revision) {
		c.Roles = append(c.Roles, key)
	}
	for _, r := range h.cfg.DB.Revocations.After(revision) {
		if r.Instance != "" {
			c.Instances = append(c.Instances, r.Instance)
		} else {
			c.Roles = append(c.Roles, state.Key(r.Dialect, r.Account, r.Role))
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	other := &Hub{drops: []state.SessionChange{c}}
	return other.voided(h.lane(node), 0)
}

// role returns the role of a key if a guest of the lane has it.
func (l *lane) role(key string) [][3]string {
	dialect, account, name, ok := state.CutKey(key)
	if !ok {
		return nil
	}
	for _, in := range l.guests {
		if in.Spec.Role != nil && in.Spec.Role.Name == name && in.Spec.Account == account && in.Spec.Dialect == dialect {
			return [][3]string{{dialect, account, name}}
		}
	}
	return nil
}
