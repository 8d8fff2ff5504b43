// Package creds is the broker of role credentials. It holds, for every
// instance that asks, two sets that differ in how they are delivered, gets
// their successors from a Source ahead of time, and serves what it holds to
// its very end when the source is away. What it never does is give out a set
// that is over, or ask a source while a client waits for a set that is held.
package creds

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"openimds/internal/instance"
	"openimds/internal/throttle"
)

// Request is for one set of credentials.
type Request struct {
	// Instance that has the role. It must not be changed.
	Instance *instance.Instance
	// Delivery is how the set reaches the instance: "1.0" for requests without a session token, "2.0" for those with one.
	Delivery string
}

// Source makes sets of credentials.
type Source interface {
	// Fetch returns a new set: at least its access key, and unless it is good
	// for ever when it expires. It keeps to the context, may be called by any
	// number of goroutines, and returns a fault: Denied and NotFound say that
	// asking again soon is no use, Throttled and Unavailable that it is. No
	// error holds a secret.
	Fetch(ctx context.Context, r Request) (*instance.Credentials, error)
}

// SourceFunc is a function as a Source.
type SourceFunc func(ctx context.Context, r Request) (*instance.Credentials, error)

// Fetch calls the function.
func (f SourceFunc) Fetch(ctx context.Context, r Request) (*instance.Credentials, error) {
	return f(ctx, r)
}

// Choice is where the credentials of a role come from.
type Choice struct {
	// Name of the source in logs, such as builtin or aws.
	Name   string
	Source Source
	// Local sources answer at once and cost little: they have no budget, and requests wait for them.
	Local bool
}

// Config is what a Broker is made of. Choose and Find are required.
type Config struct {
	// Choose returns where the credentials of an instance's role come from.
	Choose func(in *instance.Instance) Choice
	// Find returns an instance as it is now; false: it is gone.
	Find func(id string) (*instance.Instance, bool)
	// Wait is how long a request waits for a set that is not there yet. Default: 800ms, less than any client waits.
	Wait time.Duration
	// Timeout of one Fetch. Default: 10s.
	Timeout time.Duration
	// Budget limits what is asked of sources that are not local, for each role. Default: 20 a second, 40 at once.
	Budget throttle.Policy
	// Parallel is how many calls to such sources run at once. Default: 16.
	Parallel int
	// Refused is how long a refusal is remembered. Default: 1m.
	Refused time.Duration
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// Random returns numbers from 0 up to 1 that spread refreshes. Default: math/rand.
	Random func() float64
	Logger *slog.Logger
}

// Broker holds the credentials of instances. Its methods are safe for
// concurrent use.
type Broker struct {
	cfg   Config
	log   *slog.Logger
	slots chan struct{} // one for each call to a source that is not local
	count counters
	wake  chan struct{} // tells Run that the next event may be another one

	flying sync.WaitGroup

	mu      sync.Mutex // guards what follows; taken after a slot's
	holders map[string]*Holder
	roles   map[roleKey]*role
	events  events
}

// New returns a broker. Sets are refreshed while Run runs.
func New(cfg Config) *Broker {
	if cfg.Wait <= 0 {
		cfg.Wait = 800 * time.Millisecond
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Budget == (throttle.Policy{}) {
		cfg.Budget = throttle.PerSecond(20, 40)
	}
	if cfg.Parallel <= 0 {
		cfg.Parallel = 16
	}
	if cfg.Refused <= 0 {
		cfg.Refused = time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Float64
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Broker{
		cfg: cfg, log: cfg.Logger, slots: make(chan struct{}, cfg.Parallel), wake: make(chan struct{}, 1),
		holders: map[string]*Holder{}, roles: map[roleKey]*role{},
	}
}

// Holder returns what holds the credentials of an instance. It is made when it
// is first asked for, and costs little until a client asks it.
func (b *Broker) Holder(id string) *Holder {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.holders[id]
	if h == nil {
		h = &Holder{b: b, id: id}
		b.holders[id] = h
	}
	return h
}

// DropInstance forgets what is held for an instance, because it was revoked.
// The next request gets a new set.
func (b *Broker) DropInstance(id string) {
	b.mu.Lock()
	h := b.holders[id]
	b.mu.Unlock()
	if h != nil {
		h.drop()
	}
}

// DropRole forgets what is held of a role, because it changed or was revoked.
func (b *Broker) DropRole(dialect, account, name string) {
	b.dropAll(func(k roleKey) bool { return k == roleKey{dialect, account, name} })
}

// DropAll forgets everything that is held.
func (b *Broker) DropAll() { b.dropAll(func(roleKey) bool { return true }) }

func (b *Broker) dropAll(match func(roleKey) bool) {
	for _, h := range b.all() {
		if h.holds(match) {
			h.drop()
		}
	}
}

// all returns the holders. A slot's lock is taken before that of the broker,
// so nothing is done to them under the latter.
func (b *Broker) all() []*Holder {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.holders))
}

// forget drops the holders of instances that are gone.
func (b *Broker) forget() {
	for _, h := range b.all() {
		if _, ok := b.cfg.Find(h.id); ok {
			continue
		}
		b.mu.Lock()
		delete(b.holders, h.id)
		b.mu.Unlock()
		h.drop()
	}
}

// counters count what sources did.
type counters struct {
	made, refused, failed, ended atomic.Uint64
	ending                       atomic.Int64
}

// Stats is what the broker did and holds.
type Stats struct {
	// Made sets, and calls to sources that were refused or failed, in total.
	Made, Refused, Failed uint64
	// Held are the sets that are held now.
	Held int
	// Ending are sets that end soon and could not be refreshed: the alarm.
	Ending int
	// Ended are sets that ended without a successor although they were in use, in total.
	Ended uint64
}

// Stats returns the counters as they are now.
func (b *Broker) Stats() Stats {
	s := Stats{Made: b.count.made.Load(), Refused: b.count.refused.Load(), Failed: b.count.failed.Load(), Ended: b.count.ended.Load(), Ending: int(b.count.ending.Load())}
	now := b.cfg.Now().Unix()
	for _, h := range b.all() {
		for i := range h.slots {
			if set := h.slots[i].held.Load(); set != nil && set.until > now {
				s.Held++
			}
		}
	}
	return s
}
