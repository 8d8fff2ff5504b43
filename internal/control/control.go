package control

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/policy"
	"openimds/internal/seal"
	"openimds/internal/state"
	"openimds/internal/store"
)

// Config is what a Control is made of. DB is required.
type Config struct {
	DB *state.DB
	// Places are where instances are launched, by dialect.
	Places map[string]Place
	// Audit records a decision before it is acted on, and what failed after.
	// A change that cannot be recorded is refused. Nil: nothing is recorded.
	Audit func(Entry) error
	// AnyImage lets ECS instances be launched with tokens required from images that are not known to live with them.
	AnyImage bool
	// RolePolicies are, by dialect, the policies attached to a role that is made because an instance of a file names it.
	RolePolicies map[string][]string
	// Departed tells whose an instance was that is gone. Nil: nobody knows.
	Departed func(id string) (Owner, bool)
	// Secrets seals what nobody may read in the store. Nil: under a key that
	// ends with the process, for a store that does.
	Secrets *seal.Ring
	Now     func() time.Time
	Random  io.Reader
	Logger  *slog.Logger
}

// Place is the network that launched instances get their interface in.
type Place struct {
	Zone, ZoneID   string
	VPC            instance.VPC
	Subnet         instance.Subnet
	SecurityGroups []instance.SecurityGroup
	Services       instance.Services
	// Sources, if valid, is the prefix from which launched instances get the
	// address they call from: on loopback every instance needs one.
	Sources netip.Prefix
	// Network of the identity of launched instances.
	Network string
	// Public, if valid, is the block of the public addresses that launched instances may ask for.
	Public netip.Prefix
}

// Owner is whose an instance was.
type Owner struct{ Dialect, Account, Region string }

// Entry is one line of the audit log.
type Entry struct {
	Time      time.Time
	Caller    Caller
	Resources []string
	Allowed   bool
	// Decision explains in a line what decided; Reason, Policy and Sid are
	// its parts. Error is what failed, if the call was let through.
	Decision, Reason, Policy, Sid, Error string
	// Changes are what a call that was let through sets out to change.
	Changes []Change
}

// Control carries out use cases. Its methods are safe for concurrent use.
type Control struct {
	cfg Config
	db  *state.DB
	log *slog.Logger

	// launching keeps launches of this process from being tried again because
	// of each other; what keeps addresses apart is a condition of the commit.
	launching sync.Mutex

	mu     sync.Mutex // guards parsed
	parsed map[*state.Policy]*policy.Policy

	values lastValues // that alarms were evaluated on
}

// New returns a Control.
func New(cfg Config) *Control {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Audit == nil {
		cfg.Audit = func(Entry) error { return nil }
	}
	if cfg.Secrets == nil {
		raw := make([]byte, seal.KeySize)
		_, _ = rand.Read(raw) // never fails
		key, err := seal.NewKey(raw)
		if err != nil {
			panic(err) // it has the right size
		}
		cfg.Secrets = seal.NewRing(key)
	}
	return &Control{cfg: cfg, db: cfg.DB, log: cfg.Logger, parsed: map[*state.Policy]*policy.Policy{}}
}

// update runs a change of the state and turns the store's errors into reasons.
func (c *Control) update(ctx context.Context, change func(*state.Tx) error) error {
	err := c.db.Update(ctx, change)
	if err == nil {
		return nil
	}
	if refused, ok := errors.AsType[*Error](err); ok {
		return refused
	}
	if fault.KindOf(err) == fault.Unavailable && !errors.Is(err, store.ErrClosed) {
		c.log.Error("a change was not stored", "err", err)
		return &Error{Reason: Unavailable, Err: err}
	}
	return err
}
