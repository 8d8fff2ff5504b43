package admin

import (
	"time"

	"openimds/internal/control"
	"openimds/internal/fault"
	"openimds/internal/readiness"
	"openimds/internal/readiness/survey"
)

// usualWindow is how far back readiness looks.
const usualWindow = 14 * 24 * time.Hour

var readinessParams = []param{
	{name: "instance", doc: "of this instance; of each of them if given more than once; of all if neither this nor tag is given", many: true},
	{name: "tag", doc: "of instances with this tag: KEY=VALUE, or KEY for any value", many: true},
	{name: "dialect", doc: "of instances of this dialect", words: []string{"ecs", "ec2"}},
	{name: "window", doc: "how far back evidence is to reach, such as 14d, which it is if it is not given"},
	{name: "allow-gaps", doc: "how much of that time may be missing, such as 5m; nothing if it is not given"},
	{name: "any-boot", doc: "judge without having seen the instance start", words: []string{"true", "false"}},
	{name: "verdict", doc: "those with this verdict", words: []string{"ready", "not ready", "unknown"}},
}

// Readiness says of instances whether they can do without normal mode.
type Readiness struct {
	// How far back evidence was to reach.
	Window string `json:"window"`
	// How many instances are ready.
	Ready int `json:"ready"`
	// How many would break.
	NotReady int `json:"notReady"`
	// Of how many too little has been seen.
	Unknown int `json:"unknown"`
	// The instances, by identifier; the numbers are of all, whichever verdict was asked for.
	Instances []InstanceReadiness `json:"instances"`
}

// InstanceReadiness is the verdict about one instance.
type InstanceReadiness struct {
	// Identifier.
	Instance string `json:"instance"`
	// `ecs` or `ec2`.
	Dialect string `json:"dialect"`
	// Access mode now: `optional` or `required`.
	Tokens string `json:"tokens"`
	// `ready`, `not ready` or `unknown`.
	Verdict string `json:"verdict"`
	// Why, what decides first.
	Reasons []ReadinessReason `json:"reasons"`
	// Since when its requests are counted; absent: they never were.
	Observed time.Time `json:"observed,omitzero"`
	// When it was started last; absent: that is not known.
	Started time.Time `json:"started,omitzero"`
	// What it did in the window.
	Recent ReadinessCounts `json:"recent"`
	// What it did in its first hour, where that is before the window.
	Boot ReadinessCounts `json:"boot"`
	// Who came without a token, the newest first.
	Callers []ReadinessCaller `json:"callers"`
	// Processes that a tracer has seen doing so.
	Processes []ReadinessProcess `json:"processes"`
}

// ReadinessReason is one thing that bears on a verdict.
type ReadinessReason struct {
	// Name for programs, such as `token-free`.
	Code string `json:"code"`
	// Verdict that it leads to; `ready`: it stands in no way.
	Verdict string `json:"verdict"`
	// The reason for people, and what to do.
	Text string `json:"text"`
}

// ReadinessCounts are requests.
type ReadinessCounts struct {
	// Answered without a token.
	TokenFree uint64 `json:"tokenFree"`
	// Refused for want of a token.
	Rejected uint64 `json:"rejected"`
	// Answered with a token.
	Tokened uint64 `json:"tokened"`
	// Tokens given out that did not arrive.
	Suspects uint64 `json:"suspects"`
}

// ReadinessCaller is who came without a token.
type ReadinessCaller struct {
	// User agent; empty: none.
	Agent string `json:"agent"`
	// Template of the item's path.
	Item string `json:"item"`
	// Address it came from last.
	Source string `json:"source,omitempty"`
	// When it came last.
	Last time.Time `json:"last"`
	// It was refused.
	Rejected bool `json:"rejected,omitempty"`
	// How often it came, since it is known.
	Count uint64 `json:"count"`
}

// ReadinessProcess is a process that a tracer has seen asking without a token.
type ReadinessProcess struct {
	// Command.
	Name string `json:"name,omitempty"`
	// File that it runs.
	Exe string `json:"exe,omitempty"`
	// Unit of systemd that it belongs to.
	Unit string `json:"unit,omitempty"`
	// Container that it is in, the beginning of its identifier.
	Container string `json:"container,omitempty"`
	// Process id.
	PID int `json:"pid,omitempty"`
	// User agent that it sent.
	Agent string `json:"agent,omitempty"`
	// Path that it asked for.
	Path string `json:"path,omitempty"`
	// When it was seen last.
	Last time.Time `json:"last"`
	// How often it was seen.
	Count uint64 `json:"count"`
}

func (c *call) readiness() (Readiness, error) {
	out := Readiness{Instances: []InstanceReadiness{}}
	if c.Survey == nil {
		return out, fault.New(fault.Unsupported, "usage is not kept here, and without it nothing can be judged")
	}
	target := control.Target{Instances: c.query["instance"], Dialect: c.query.Get("dialect")}
	var err error
	if target.Tags, err = tags(c.query["tag"]); err != nil {
		return out, err
	}
	target.All = len(target.Instances)+len(target.Tags) == 0
	window, rules, err := c.rules()
	if err != nil {
		return out, err
	}
	ids, err := c.Control.Meant(c.caller, target)
	if fault.KindOf(err) == fault.NotFound && len(target.Instances) == 0 {
		ids, err = nil, nil // there are none
	}
	if err != nil {
		return out, err
	}
	results, err := c.Survey.Judge(c.Context(), survey.Ask{Instances: ids, Window: window, Rules: rules})
	if err != nil {
		return out, err
	}
	out.Window = readiness.Span(window)
	for _, r := range results {
		switch r.Verdict {
		case readiness.Ready:
			out.Ready++
		case readiness.NotReady:
			out.NotReady++
		case readiness.Unknown:
			out.Unknown++
		}
		if want := c.query.Get("verdict"); want == "" || want == string(r.Verdict) {
			out.Instances = append(out.Instances, instanceReadiness(r))
		}
	}
	return out, nil
}

// rules reads what the verdict may pass over.
func (c *call) rules() (window time.Duration, rules readiness.Rules, err error) {
	if window, err = c.span("window", usualWindow); err != nil {
		return window, rules, err
	}
	rules.AnyBoot = c.query.Get("any-boot") == "true"
	rules.Gaps, err = c.span("allow-gaps", 0)
	return window, rules, err
}

func instanceReadiness(r readiness.Result) InstanceReadiness {
	e := r.Evidence
	out := InstanceReadiness{
		Instance: e.Instance, Dialect: e.Dialect, Tokens: "optional", Verdict: string(r.Verdict), Observed: e.Observed, Started: e.Started,
		Recent: readinessCounts(e.Recent), Boot: readinessCounts(e.Boot),
		Reasons: []ReadinessReason{}, Callers: []ReadinessCaller{}, Processes: []ReadinessProcess{},
	}
	if e.Required {
		out.Tokens = "required"
	}
	for _, reason := range r.Reasons {
		out.Reasons = append(out.Reasons, ReadinessReason{string(reason.Code), string(reason.Verdict), reason.Text})
	}
	for _, k := range e.Free {
		source := ""
		if k.Source.IsValid() {
			source = k.Source.String()
		}
		out.Callers = append(out.Callers, ReadinessCaller{k.Agent, k.Item, source, k.Last, k.Rejected, k.Count})
	}
	for _, p := range e.Processes {
		out.Processes = append(out.Processes, ReadinessProcess{p.Name, p.Exe, p.Unit, p.Container, p.PID, p.Agent, p.Path, p.Last, p.Count})
	}
	return out
}

func readinessCounts(c readiness.Counts) ReadinessCounts {
	return ReadinessCounts{c.TokenFree, c.Rejected, c.Tokened, c.Suspects}
}
