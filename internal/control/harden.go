package control

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"openimds/internal/fault"
	"openimds/internal/readiness"
	"openimds/internal/state"
)

// HardenConfig is what a Hardener knows of instances besides the state. All
// members are required.
type HardenConfig struct {
	// Judge says of instances whether they are ready.
	Judge func(ctx context.Context, ids []string, window time.Duration, rules readiness.Rules) ([]readiness.Result, error)
	// Rejected counts the requests of an instance that were refused for want of a token in the minute of a time, and after it.
	Rejected func(ctx context.Context, instance string, since time.Time) (uint64, error)
	// Rejecters names who was refused since a time, the newest first.
	Rejecters func(instance string, since time.Time) ([]state.HardenedCaller, error)
	// Heard tells until when what a node counted is known.
	Heard func(ctx context.Context, node string) (time.Time, error)
}

// Hardener switches instances to required session tokens, and back where that
// breaks something. What it does is in the store before and after each step, so
// that it goes on after a restart. Its methods are safe for concurrent use.
type Hardener struct {
	*Control
	cfg  HardenConfig
	log  *slog.Logger
	wake chan struct{} // holds one

	stepping sync.Mutex // held during a step, and while a plan changes

	mu      sync.Mutex           // guards what follows
	live    map[string]uint64    // rejections reported since this process watches, by instance
	dirty   map[string]bool      // instances of which rejections were reported
	watched map[string]time.Time // since when, by this process's clock; zero: since before it
}

// NewHardener returns what carries out guarded switches. It does so while Run
// runs.
func (c *Control) NewHardener(cfg HardenConfig) *Hardener {
	return &Hardener{
		Control: c, cfg: cfg, log: c.log, wake: make(chan struct{}, 1),
		live: map[string]uint64{}, dirty: map[string]bool{}, watched: map[string]time.Time{},
	}
}

// HardenPlan is what a guarded switch is to do.
type HardenPlan struct {
	Target Target
	// Watch is how long each instance is watched after it was switched.
	Watch time.Duration
	// ReturnAt is the number of rejections at which an instance is returned; 0: it never is.
	ReturnAt uint64
	// Shares are the batches: how much of the instances is switched by the end of each, growing. Empty: all at once.
	Shares []float64
	// Rehearsal returns every instance when it has been watched.
	Rehearsal bool
	// Force switches instances that are not ready.
	Force bool
	// Window and Rules are those of readiness.
	Window time.Duration
	Rules  readiness.Rules
}

// Bounds of plans.
const (
	longestWatch  = 14 * 24 * time.Hour // what is counted by the minute reaches back so far
	shortestWatch = time.Second
)

func (p *HardenPlan) check() error {
	var wrong problems
	if p.Watch < shortestWatch || p.Watch > longestWatch {
		wrong.addf("watch: found %v, expected %v to %v", p.Watch, shortestWatch, longestWatch)
	}
	if len(p.Shares) == 0 {
		p.Shares = []float64{1}
	}
	before := 0.0
	for _, s := range p.Shares {
		if !(s > before && s <= 1) {
			wrong.addf("batches: found %v%% after %v%%, expected growing shares up to 100%%", s*100, before*100)
			break
		}
		before = s
	}
	if before < 1 {
		p.Shares = append(slices.Clone(p.Shares), 1)
	}
	return wrong.err()
}

// Start begins a guarded switch. Instances that cannot be switched, or are not
// ready, are among its members with the reason. Where none can be, it is
// fault.Conflict.
func (h *Hardener) Start(ctx context.Context, caller Caller, p HardenPlan) (*state.Hardening, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	ids, err := h.find(p.Target, alive)
	if err != nil {
		return nil, err
	}
	if err := h.permit(caller, about(ids)); err != nil {
		return nil, err
	}
	results, err := h.cfg.Judge(ctx, ids, p.Window, p.Rules)
	if err != nil {
		return nil, err
	}
	h.stepping.Lock()
	defer h.stepping.Unlock()
	now := h.Control.cfg.Now().UTC()
	record := &state.Hardening{
		ID: "harden-" + h.hex(10), Created: now, By: caller.ARN(), Watch: p.Watch, ReturnAt: p.ReturnAt, Rehearsal: p.Rehearsal, Forced: p.Force,
		Shares: p.Shares, State: state.HardeningRunning,
	}
	members, fit := h.members(record, results, p.Force)
	if len(fit) == 0 {
		return nil, fault.New(fault.Conflict, "no instance can be switched:\n%s", refusals(members))
	}
	batches(members, fit, p.Shares)
	for i := 0; i < len(members); i += manyPerCommit {
		part := members[i:min(i+manyPerCommit, len(members))]
		last := i+manyPerCommit >= len(members)
		err := h.update(ctx, func(tx *state.Tx) error {
			for _, m := range part {
				if err := state.Save(tx, h.db.Hardened, m.Key(), m); err != nil {
					return err
				}
			}
			if !last {
				return nil
			}
			return state.Save(tx, h.db.Hardenings, record.ID, record) // it begins when all are known
		})
		if err != nil {
			return nil, err
		}
	}
	h.Wake()
	return record, nil
}

// members makes the members of a hardening, and returns the ids of those that
// can be switched.
func (h *Hardener) members(record *state.Hardening, results []readiness.Result, force bool) (all []*state.Hardened, fit []string) {
	busy := map[string]string{}
	for _, m := range h.db.Hardened.All(func(m *state.Hardened) bool {
		return m.State == state.HardenedWaiting || m.State == state.HardenedWatched
	}) {
		busy[m.Instance] = m.Hardening
	}
	for _, r := range results {
		m := &state.Hardened{Hardening: record.ID, Instance: r.Evidence.Instance, State: state.HardenedWaiting}
		all = append(all, m)
		in, ok := h.db.Instances.Get(m.Instance)
		switch {
		case !ok || !alive(in):
			m.State, m.Why = state.HardenedSkipped, "it is gone"
		case busy[m.Instance] != "" && h.active(busy[m.Instance]):
			m.State, m.Why = state.HardenedSkipped, "it is in "+busy[m.Instance]
		case in.Spec.Metadata.TokensRequired():
			m.State, m.Why = state.HardenedSkipped, "tokens are required already"
		case h.enforced(in):
			m.State, m.Why = state.HardenedRefused, "the account's defaults enforce required tokens: it could not be returned"
		case r.Verdict != readiness.Ready && !force:
			m.State, m.Why = state.HardenedRefused, string(r.Verdict)+": "+r.Reasons[0].Text
		default:
			fit = append(fit, m.Instance)
		}
	}
	return all, fit
}

// enforced reports whether an instance could not be returned to optional
// tokens.
func (h *Hardener) enforced(in *state.Instance) bool {
	owner := Caller{Account: in.Spec.Account, Region: in.Spec.Region}
	return in.Spec.Dialect == "ec2" && h.defaults(owner).HTTPTokensEnforced == "enabled"
}

// active reports whether a hardening still has something to do.
func (h *Hardener) active(id string) bool {
	r, ok := h.db.Hardenings.Get(id)
	return ok && r.Ended.IsZero()
}

// batches puts each member that is fit into its batch. Which it is depends on
// identifiers alone, as with Target.Share.
func batches(members []*state.Hardened, fit []string, shares []float64) {
	order := share(fit, 1)
	at := map[string]int{}
	next := 0
	for batch, s := range shares {
		end := int(math.Ceil(s*float64(len(order)) - 1e-9))
		for ; next < min(end, len(order)); next++ {
			at[order[next]] = batch
		}
	}
	for _, m := range members {
		m.Batch = at[m.Instance]
	}
}

// refusals says why members are not switched, one a line, the first few.
func refusals(members []*state.Hardened) string {
	var lines []string
	for i, m := range members {
		if i == 10 {
			lines = append(lines, fmt.Sprintf("and %d more", len(members)-i))
			break
		}
		lines = append(lines, m.Instance+": "+m.Why)
	}
	return strings.Join(lines, "\n")
}

// Hardenings returns all guarded switches, the newest first.
func (h *Hardener) Hardenings(caller Caller) ([]*state.Hardening, error) {
	if err := h.permit(caller, ask{}); err != nil {
		return nil, err
	}
	all := h.db.Hardenings.All(nil)
	slices.SortStableFunc(all, func(a, b *state.Hardening) int { return b.Created.Compare(a.Created) })
	return all, nil
}

// Hardening returns one guarded switch with its members, by instance.
func (h *Hardener) Hardening(ctx context.Context, caller Caller, id string) (*state.Hardening, []state.Hardened, error) {
	if err := h.permit(caller, ask{resources: []string{"hardenings/" + id}}); err != nil {
		return nil, nil, err
	}
	record, ok := h.db.Hardenings.Get(id)
	if !ok {
		return nil, nil, fault.New(fault.NotFound, "there is no hardening %.64q (imds harden status shows all)", id)
	}
	var all []state.Hardened
	for _, m := range h.of(id) {
		shown := *m
		h.complete(ctx, &shown)
		all = append(all, shown)
	}
	return record, all, nil
}

// complete adds to a member what is known by now and not yet in the store.
func (h *Hardener) complete(ctx context.Context, m *state.Hardened) {
	if m.State == state.HardenedWatched {
		if n, err := h.rejected(ctx, m); err == nil {
			m.Rejected = n
		}
	}
	if m.Rejected == 0 {
		return
	}
	// A tracer may have named the process since.
	if found, err := h.cfg.Rejecters(m.Instance, m.Since); err == nil && len(found) > 0 {
		m.Callers = slices.Concat(found, missing(m.Callers, found))
	}
}

// missing returns those callers that are not among others.
func missing(callers, others []state.HardenedCaller) []state.HardenedCaller {
	return slices.DeleteFunc(slices.Clone(callers), func(c state.HardenedCaller) bool {
		return slices.ContainsFunc(others, func(o state.HardenedCaller) bool { return o.Agent == c.Agent && o.Item == c.Item })
	})
}

// of returns the members of a hardening.
func (h *Hardener) of(id string) []*state.Hardened {
	return h.db.Hardened.All(func(m *state.Hardened) bool { return m.Hardening == id })
}
