package control

import (
	"maps"
	"slices"

	"openimds/internal/state"
)

// Permit asks the policies about a call that is about no resource and needs
// nothing of the state, such as a list of regions.
func (c *Control) Permit(caller Caller) error { return c.permit(caller, ask{}) }

// Place returns where instances of a dialect are launched.
func (c *Control) Place(dialect string) Place { return c.cfg.Places[dialect] }

// Associated returns the caller's instance whose association with an instance
// profile has the given id. It asks no policy: it is for actions that ask their
// own.
func (c *Control) Associated(caller Caller, association string) (*state.Instance, error) {
	found := c.db.Instances.All(func(in *state.Instance) bool {
		return association != "" && in.Association == association && belongs(caller, in) && alive(in)
	})
	if len(found) == 0 {
		return nil, refuse(AssociationNotFound, association)
	}
	return found[0], nil
}

// Tagged is a resource with its tags.
type Tagged struct {
	ID, Kind string
	Tags     map[string]string
}

// Tagged returns the tags of the caller's resources.
func (c *Control) Tagged(caller Caller) ([]Tagged, error) {
	if err := c.permit(caller, ask{}); err != nil {
		return nil, err
	}
	var all []Tagged
	add := func(id, kind string, tags map[string]string) {
		if len(tags) > 0 {
			all = append(all, Tagged{id, kind, maps.Clone(tags)})
		}
	}
	for _, in := range c.db.Instances.All(func(in *state.Instance) bool { return belongs(caller, in) && alive(in) }) {
		add(in.Spec.ID, "instance", in.Spec.Tags)
	}
	for _, i := range c.db.Images.All(func(i *state.Image) bool { return i.Dialect == caller.Dialect }) {
		add(i.ID, "image", i.Tags)
	}
	for _, t := range c.db.Templates.All(func(t *state.Template) bool { return caller.Dialect == "ec2" && ownsTemplate(caller, t) }) {
		add(t.ID, "launch-template", t.Tags)
	}
	if caller.Dialect == "ec2" {
		nics := c.networkInterfaces(caller)
		for _, id := range slices.Sorted(maps.Keys(nics)) {
			add(id, "network-interface", nics[id].Tags)
		}
	}
	for _, k := range c.db.KeyPairs.All(func(k *state.KeyPair) bool {
		return k.Dialect == caller.Dialect && k.Account == caller.Account && k.Region == caller.Region
	}) {
		add(k.ID, "key-pair", k.Tags)
	}
	return all, nil
}

// KeyPairByID returns a key pair of the caller. It asks no policy: it is for
// actions that ask their own.
func (c *Control) KeyPairByID(caller Caller, id string) (*state.KeyPair, bool) {
	found := c.db.KeyPairs.All(func(k *state.KeyPair) bool {
		return k.ID == id && k.Dialect == caller.Dialect && k.Account == caller.Account && k.Region == caller.Region
	})
	if len(found) == 0 {
		return nil, false
	}
	return found[0], true
}
