package creds

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"openimds/internal/fault"
	"openimds/internal/instance"
)

// deliveries by the index of a holder's slots.
var deliveries = [2]string{"1.0", "2.0"}

// Holder holds the two sets of one instance's role. It is an
// item.Credentials.
type Holder struct {
	b  *Broker
	id string
	// generation counts drops: what was asked for before one is not held after it.
	generation atomic.Uint64
	slots      [2]slot
}

// slot is one of the two.
type slot struct {
	held    atomic.Pointer[set]     // nil: none
	refused atomic.Pointer[refusal] // nil: the last call to the source was answered
	// asked tells that a client got the set that is held: it will come for the next one.
	asked atomic.Bool

	mu     sync.Mutex // guards what follows, and replacing held
	flight *flight    // a call to the source that is under way; nil: none
	fails  int        // in a row
}

// set is a set of credentials; it is never changed.
type set struct {
	*instance.Credentials
	role    roleKey
	shared  *role     // of the role's instances
	until   int64     // when it is over, in Unix seconds
	refresh time.Time // when its successor is due; zero: never
	alarm   time.Time // when somebody must know that there is none
}

// refusal is an answer of the source that is remembered for a while.
type refusal struct {
	role  roleKey
	err   error
	until int64 // Unix seconds
}

// errTokenFree is what requests without a token are told where they are not
// accepted: nothing is made for them.
var errTokenFree = fault.New(fault.Denied, "credentials are delivered to requests with a session token alone")

// errNoRole is for an instance that has none.
var errNoRole = fault.New(fault.NotFound, "the instance has no role")

// Get returns the set for requests with or without a session token.
func (h *Holder) Get(in *instance.Instance, tokened bool, now int64) (*instance.Credentials, error) {
	if in.Role == nil {
		return nil, errNoRole
	}
	i := index(tokened)
	if !tokened && in.Metadata.TokensRequired() {
		return nil, errTokenFree
	}
	s := &h.slots[i]
	k := s.held.Load()
	if k != nil && k.until > now && k.role.of(in) {
		if !s.asked.Load() {
			return h.first(in, i, k, now)
		}
		return k.Credentials, nil
	}
	if r := s.refused.Load(); r != nil && r.until > now && r.role.of(in) {
		return nil, r.err
	}
	return h.wait(in, i, k)
}

// first is Get for the first client of a set. One that comes late gets the
// successor that nobody was expected to need, if it can be had at once.
func (h *Holder) first(in *instance.Instance, i int, k *set, now int64) (*instance.Credentials, error) {
	h.slots[i].asked.Store(true)
	if k.refresh.IsZero() || now < k.refresh.Unix() {
		return k.Credentials, nil
	}
	if h.b.cfg.Choose(in).Local {
		if next, err := h.wait(in, i, k); err == nil {
			return next, nil
		}
	}
	h.b.plan(h, i, k, h.b.cfg.Now())
	return k.Credentials, nil
}

// Updated returns when the set that is held was issued.
func (h *Holder) Updated(tokened bool) time.Time {
	if k := h.slots[index(tokened)].held.Load(); k != nil {
		return k.Updated
	}
	return time.Time{}
}

func index(tokened bool) int {
	if tokened {
		return 1
	}
	return 0
}

// holds reports whether something of a role is held, or is being fetched.
func (h *Holder) holds(match func(roleKey) bool) bool {
	for i := range h.slots {
		s := &h.slots[i]
		if k := s.held.Load(); k != nil && match(k.role) {
			return true
		}
		if r := s.refused.Load(); r != nil && match(r.role) {
			return true
		}
		s.mu.Lock()
		flying := s.flight != nil && match(s.flight.role)
		s.mu.Unlock()
		if flying {
			return true
		}
	}
	return false
}

// drop forgets everything.
func (h *Holder) drop() {
	h.generation.Add(1)
	for i := range h.slots {
		s := &h.slots[i]
		s.mu.Lock()
		h.b.replace(s, nil)
		s.refused.Store(nil)
		s.fails = 0
		s.mu.Unlock()
	}
}

// never is the end of a set that is good for ever.
const never = math.MaxInt64

// leads are how long before its end a set has a successor, by dialect
// (ECS-CRED-04, EC2-CRED-05).
var leads = map[string]time.Duration{"ecs": 30 * time.Minute, "ec2": 20 * time.Minute}

// newSet dates a set: its successor is due, spread over a sixth of its life,
// before the lead; both shrink with a set that lives shortly.
func (b *Broker) newSet(k *instance.Credentials, in *instance.Instance, now time.Time) *set {
	s := &set{Credentials: k, role: keyOf(in), shared: b.role(keyOf(in)), until: never}
	if k.Expires.IsZero() {
		return s
	}
	s.until = k.Expires.Unix()
	left := k.Expires.Sub(now)
	lead := min(leads[in.Dialect], left/2)
	spread := time.Duration(b.cfg.Random() * float64(left/6))
	s.refresh = k.Expires.Add(-lead - spread)
	s.alarm = k.Expires.Add(-lead / 2)
	return s
}

// of reports whether the key is that of an instance's role, which it has.
func (k *roleKey) of(in *instance.Instance) bool {
	return k.name == in.Role.Name && k.account == in.Account
}
