package control

import (
	"bytes"
	"crypto/sha256"
	"math"
	"slices"
	"strings"

	"openimds/internal/fault"
	"openimds/internal/state"
)

// Target says which instances a change is for: those named, or those of a
// filter, or all.
type Target struct {
	// Instances are identifiers. Nothing else is given with them.
	Instances []string
	// Tags that an instance must have, all of them; the value * is any.
	Tags map[string]string
	// Dialect that it must be of; empty: any.
	Dialect string
	// All stands for the filter that wants nothing.
	All bool
	// Share of those that the filter matches, above 0 and up to 1; 0: all of them. Which they are depends on their identifiers alone,
	// so that the same share is the same instances, and a larger one is those and others.
	Share float64
}

func (t Target) check() error {
	filter := len(t.Tags) > 0 || t.All || t.Share != 0
	switch {
	case len(t.Instances) == 0 && !filter:
		return invalid("it is not said which instances are meant: name some, or give a tag, a share, or all")
	case len(t.Instances) > 0 && (filter || t.Dialect != ""):
		return invalid("instances are named: leave tag, share, dialect and all out, or the names")
	case t.All && len(t.Tags) > 0:
		return invalid("all and a tag contradict each other: leave one out")
	case t.Share < 0 || t.Share > 1 || math.IsNaN(t.Share):
		return invalid("found a share of %v, expected more than 0 and at most 100%%", t.Share)
	}
	return nil
}

func (t Target) matches(in *state.Instance) bool {
	if t.Dialect != "" && in.Spec.Dialect != t.Dialect {
		return false
	}
	for key, want := range t.Tags {
		if got, ok := in.Spec.Tags[key]; !ok || want != "*" && got != want {
			return false
		}
	}
	return true
}

// find returns the identifiers of a target, sorted. A filter finds only
// instances that are usable; the named ones just have to exist.
func (c *Control) find(t Target, usable func(*state.Instance) bool) ([]string, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	if len(t.Instances) > 0 {
		ids := slices.Clone(t.Instances)
		slices.Sort(ids)
		ids = slices.Compact(ids)
		for _, id := range ids {
			if _, ok := c.db.Instances.Get(id); !ok {
				return nil, noResource(KindInstances, id)
			}
		}
		return ids, nil
	}
	var ids []string
	for _, in := range c.db.Instances.All(func(in *state.Instance) bool { return t.matches(in) && usable(in) }) {
		ids = append(ids, in.Spec.ID)
	}
	if t.Share > 0 {
		ids = share(ids, t.Share)
	}
	if len(ids) == 0 {
		return nil, fault.New(fault.NotFound, "no instance is meant: none that it could be done to has these tags")
	}
	slices.Sort(ids)
	return ids, nil
}

// share returns a part of the identifiers, at least one if there are any:
// those with the smallest digests.
func share(ids []string, part float64) []string {
	digests := map[string][32]byte{}
	for _, id := range ids {
		digests[id] = sha256.Sum256([]byte(id))
	}
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(x, y string) int {
		a, b := digests[x], digests[y]
		if order := bytes.Compare(a[:], b[:]); order != 0 {
			return order
		}
		return strings.Compare(x, y)
	})
	n := int(math.Ceil(part*float64(len(ids)) - 1e-9))
	return ids[:min(n, len(ids))]
}
