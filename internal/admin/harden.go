package admin

import (
	"time"

	"openimds/internal/control"
	"openimds/internal/fault"
	"openimds/internal/readiness"
	"openimds/internal/state"
)

// NewHardening is a guarded switch to begin.
type NewHardening struct {
	// Whose access mode is switched to `required`.
	Target Target `json:"target"`
	// How long each instance is watched after that, such as `30m`.
	Watch string `json:"watch,omitempty"`
	// Number of refused requests without a token at which an instance is returned to `optional`. Default: 1; 0: it never is.
	RollbackOnReject *int `json:"rollbackOnReject,omitempty"`
	// Batches: how much of the instances is switched by the end of each, such as `1%`, `10%`, `100%`. Default: all at once.
	Batches []string `json:"batches,omitempty"`
	// Switch for this time, such as `5m`, and return in any case, in place of `watch`.
	Rehearse string `json:"rehearse,omitempty"`
	// Switch instances that are not ready, too.
	Force bool `json:"force,omitempty"`
	// How far back readiness looks. Default: `14d`.
	Window string `json:"window,omitempty"`
	// How much of that may be missing. Default: nothing.
	AllowGaps string `json:"allowGaps,omitempty"`
	// Judge without having seen the instance start.
	AnyBoot bool `json:"anyBoot,omitempty"`
}

// Hardenings are guarded switches.
type Hardenings struct {
	// Guarded switches, the newest first, without their instances.
	Hardenings []Hardening `json:"hardenings"`
}

// Hardening is a guarded switch.
type Hardening struct {
	// Identifier.
	ID string `json:"id"`
	// When it was begun.
	Created time.Time `json:"created"`
	// Who began it.
	By string `json:"by"`
	// `running`, `paused`, `aborted` or `done`.
	State string `json:"state"`
	// Why it is in this state.
	Why string `json:"why,omitempty"`
	// When it was over.
	Ended time.Time `json:"ended,omitzero"`
	// How long each instance is watched.
	Watch string `json:"watch"`
	// Number of refused requests at which an instance is returned; 0: it never is.
	RollbackOnReject uint64 `json:"rollbackOnReject"`
	// Every instance is returned when it has been watched.
	Rehearsal bool `json:"rehearsal,omitempty"`
	// Instances that were not ready were switched, too.
	Forced bool `json:"forced,omitempty"`
	// Number of the batch that is under way, from 1.
	Batch int `json:"batch"`
	// How many batches there are.
	Batches int `json:"batches"`
	// How many instances are in each state.
	Count map[string]int `json:"count,omitempty"`
	// The instances, by identifier.
	Instances []HardenedInstance `json:"instances,omitempty"`
}

// HardenedInstance is an instance of a guarded switch.
type HardenedInstance struct {
	// Identifier.
	Instance string `json:"instance"`
	// `waiting`, `watched`, `kept`, `returned`, `rehearsed`, `undone`, `refused` or `skipped`.
	State string `json:"state"`
	// Why it is in this state.
	Why string `json:"why,omitempty"`
	// Number of its batch, from 1.
	Batch int `json:"batch"`
	// When it was switched.
	Since time.Time `json:"since,omitzero"`
	// When its watch was over.
	Ended time.Time `json:"ended,omitzero"`
	// How many requests without a token were refused in that time.
	Rejected uint64 `json:"rejected"`
	// Who made them, the newest first.
	Callers []HardenedCaller `json:"callers,omitempty"`
}

// HardenedCaller is who was refused.
type HardenedCaller struct {
	// User agent; empty: none.
	Agent string `json:"agent"`
	// Template of the item's path.
	Item string `json:"item"`
	// Address it came from.
	Source string `json:"source,omitempty"`
	// When it came last.
	Last time.Time `json:"last"`
	// How often it was refused, since it is known.
	Count uint64 `json:"count"`
	// Process, where a tracer in the instance has seen it.
	Process string `json:"process,omitempty"`
}

func hardenRoutes() []route {
	turn := func(verb, doc string, turn func(*call, string) error) route {
		return answering(route{method: "POST", path: "/v1/hardenings/{id}/" + verb, id: verb + "Hardening", doc: doc}, func(c *call) (Hardening, error) {
			if c.Hardener == nil {
				return Hardening{}, noHardener()
			}
			if err := turn(c, c.PathValue("id")); err != nil {
				return Hardening{}, err
			}
			return c.hardening()
		})
	}
	return []route{
		taking(route{
			method: "POST", path: "/v1/hardenings", id: "harden",
			doc: "Begin a guarded switch to required session tokens: instances that break are returned by themselves",
		}, (*call).harden),
		answering(route{method: "GET", path: "/v1/hardenings", id: "listHardenings", doc: "All guarded switches of the last 90 days, the newest first"}, (*call).hardenings),
		answering(route{method: "GET", path: "/v1/hardenings/{id}", id: "getHardening", doc: "A guarded switch with its instances"}, (*call).hardening),
		turn("pause", "Begin no other batch of a guarded switch; what is switched is watched on", func(c *call, id string) error { return c.Hardener.Pause(c.Context(), c.caller, id) }),
		turn("resume", "Go on with a guarded switch that is paused", func(c *call, id string) error { return c.Hardener.Resume(c.Context(), c.caller, id) }),
		turn("abort", "Return every instance that a guarded switch has changed, also after it is done", func(c *call, id string) error { return c.Hardener.Abort(c.Context(), c.caller, id) }),
	}
}

func noHardener() error {
	return fault.New(fault.Unsupported, "usage is not kept here, and without it nothing can be watched")
}

func (c *call) harden(in *NewHardening) (Hardening, error) {
	if c.Hardener == nil {
		return Hardening{}, noHardener()
	}
	plan, err := in.plan()
	if err != nil {
		return Hardening{}, err
	}
	r, err := c.Hardener.Start(c.Context(), c.caller, plan)
	if err != nil {
		return Hardening{}, err
	}
	c.SetPathValue("id", r.ID)
	return c.hardening()
}

// usualWatch is how long instances are watched.
const usualWatch = 30 * time.Minute

// plan makes what control takes.
func (in *NewHardening) plan() (control.HardenPlan, error) {
	p := control.HardenPlan{Force: in.Force, ReturnAt: 1, Watch: usualWatch, Window: usualWindow, Rules: readiness.Rules{AnyBoot: in.AnyBoot}}
	var err error
	if p.Target, err = in.Target.target(); err != nil {
		return p, err
	}
	for _, d := range []struct {
		name, text string
		to         *time.Duration
	}{{"watch", in.Watch, &p.Watch}, {"rehearse", in.Rehearse, &p.Watch}, {"window", in.Window, &p.Window}, {"allowGaps", in.AllowGaps, &p.Rules.Gaps}} {
		if d.text == "" {
			continue
		}
		if *d.to, err = spanOf(d.name, d.text); err != nil {
			return p, err
		}
	}
	p.Rehearsal = in.Rehearse != ""
	switch n := in.RollbackOnReject; {
	case p.Rehearsal && in.Watch != "":
		return p, fault.New(fault.Invalid, "watch, rehearse: give one of them")
	case n != nil && *n < 0:
		return p, fault.New(fault.Invalid, "rollbackOnReject: found %d, expected 0 or more", *n)
	case n != nil:
		p.ReturnAt = uint64(*n)
	}
	for _, text := range in.Batches {
		t, err := Target{Share: text}.target()
		if err != nil || text == "" {
			return p, fault.New(fault.Invalid, "batches: found %.40q, expected shares such as 1%%, 10%%, 100%%", text)
		}
		p.Shares = append(p.Shares, t.Share)
	}
	return p, nil
}

func (c *call) hardenings() (Hardenings, error) {
	out := Hardenings{Hardenings: []Hardening{}}
	if c.Hardener == nil {
		return out, noHardener()
	}
	all, err := c.Hardener.Hardenings(c.caller)
	for _, r := range all {
		out.Hardenings = append(out.Hardenings, viewHardening(r))
	}
	return out, err
}

func (c *call) hardening() (Hardening, error) {
	if c.Hardener == nil {
		return Hardening{}, noHardener()
	}
	caller := c.caller
	caller.Action = "GetHardening" // what began it, or changed it, is in the log by itself
	r, members, err := c.Hardener.Hardening(c.Context(), caller, c.PathValue("id"))
	if err != nil {
		return Hardening{}, err
	}
	out := viewHardening(r)
	out.Count = map[string]int{}
	for _, m := range members {
		out.Count[m.State]++
		i := HardenedInstance{Instance: m.Instance, State: m.State, Why: m.Why, Batch: m.Batch + 1, Since: m.Since, Ended: m.Ended, Rejected: m.Rejected}
		for _, k := range m.Callers {
			i.Callers = append(i.Callers, HardenedCaller(k))
		}
		out.Instances = append(out.Instances, i)
	}
	return out, nil
}

func viewHardening(r *state.Hardening) Hardening {
	return Hardening{
		ID: r.ID, Created: r.Created, By: r.By, State: r.State, Why: r.Why, Ended: r.Ended, Watch: readiness.Span(r.Watch),
		RollbackOnReject: r.ReturnAt, Rehearsal: r.Rehearsal, Forced: r.Forced, Batch: r.Batch + 1, Batches: len(r.Shares),
	}
}
