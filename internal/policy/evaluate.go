package policy

// Evaluate decides a request. The order of policies and of statements changes
// at most which of several statements with the same effect is named
// (POL-EVAL-01 to POL-EVAL-06).
func Evaluate(l Layers, r Request) Decision {
	// The last two layers differ in what it means that they are empty.
	layers := [...]struct {
		policies []*Policy
		present  bool
	}{
		Guards:   {l.Guards, len(l.Guards) > 0},
		Identity: {l.Identity, true},
		Session:  {l.Session, l.Session != nil},
	}
	resources := r.Resources
	none := [1]string{"*"}
	if len(resources) == 0 {
		resources = none[:]
	}
	e := env{shared: r.Context}

	// Every Deny is looked at before any Allow is missed, so that the reason
	// does not depend on the order of resources.
	for i, resource := range resources {
		e.of(r, i)
		for at, layer := range layers {
			if p, s := e.find(layer.policies, true, r.Action, resource); p != nil {
				return p.decision(ExplicitDeny, Layer(at), s, resource)
			}
		}
	}
	var allowed Decision
	for i, resource := range resources {
		e.of(r, i)
		for at, layer := range layers {
			if !layer.present {
				continue
			}
			p, s := e.find(layer.policies, false, r.Action, resource)
			if p == nil {
				return Decision{Layer: Layer(at), Resource: resource, Statement: -1}
			}
			if i == 0 && Layer(at) == Identity {
				allowed = p.decision(Allow, Identity, s, resource)
			}
		}
	}
	return allowed
}

func (p *Policy) decision(why Reason, at Layer, index int, resource string) Decision {
	s := &p.statements[index]
	return Decision{
		Allowed: why == Allow, Reason: why, Layer: at, Resource: resource,
		Policy: p.Name, Statement: index, Sid: s.sid, Condition: s.summary,
	}
}

// env is what statements are matched against.
type env struct {
	own, shared Context
	room        [512]byte // for expanded templates; longer ones are allocated
}

// of turns to the i-th resource of a request.
func (e *env) of(r Request, i int) {
	e.own = nil
	if i < len(r.ResourceContext) {
		e.own = r.ResourceContext[i]
	}
}

// values returns the values of a key in lower case; none if it is absent.
func (e *env) values(key string) Values {
	if v := e.own[key]; len(v) > 0 {
		return v
	}
	return e.shared[key]
}

// find returns the first statement with the given effect that matches.
func (e *env) find(policies []*Policy, deny bool, action, resource string) (*Policy, int) {
	for _, p := range policies {
		for i := range p.statements {
			if s := &p.statements[i]; s.deny == deny && e.matches(s, action, resource) {
				return p, i
			}
		}
	}
	return nil, 0
}

// matches reports whether a statement is about the request: action, resource
// and every condition.
func (e *env) matches(s *statement, action, resource string) bool {
	if e.any(s.actions, action) == s.notAction || e.any(s.resources, resource) == s.notResource {
		return false
	}
	for i := range s.conditions {
		if !e.holds(&s.conditions[i]) {
			return false
		}
	}
	return true
}

// any reports whether one of the patterns matches. One with a variable that
// has no value matches nothing, also in NotResource (POL-VAR-03).
func (e *env) any(patterns []template, text string) bool {
	for i := range patterns {
		if p, ok := e.expand(&patterns[i]); ok && match(p, text, patterns[i].fold) {
			return true
		}
	}
	return false
}
