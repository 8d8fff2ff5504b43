package control

import (
	"context"
	"maps"
	"slices"
	"strings"

	"openimds/internal/instance"
	"openimds/internal/policy"
	"openimds/internal/state"
)

// Tag changes the tags of resources: all of them, or none.
func (c *Control) Tag(ctx context.Context, caller Caller, ids []string, change TagChange) error {
	a := ask{context: policy.Context{}}
	requestTags(caller.Dialect, a.context, change.Put)
	kinds := map[string]string{}
	for _, id := range ids {
		kind, keys, err := c.resource(caller, id)
		if err != nil {
			return err
		}
		kinds[id] = kind
		a.on(arn(caller, kind, id), keys)
	}
	if err := c.permit(caller, a); err != nil {
		return err
	}
	if err := checkTags(caller.Dialect, change.Put); err != nil {
		return err
	}
	return c.update(ctx, func(tx *state.Tx) error {
		for _, id := range ids {
			if err := c.tag(tx, caller, kinds[id], id, change); err != nil {
				return err
			}
		}
		return nil
	})
}

// resource tells what kind of resource an id names.
func (c *Control) resource(caller Caller, id string) (string, policy.Context, error) {
	var kind string
	var tags map[string]string
	if in, ok := c.db.Instances.Get(id); ok && belongs(caller, in) {
		return "instance", instanceKeys(caller.Dialect, in), nil
	}
	if image, ok := c.db.Images.Get(id); ok && image.Dialect == caller.Dialect {
		return "image", imageKeys(caller, image), nil
	}
	if t, ok := c.db.Templates.Get(id); ok && caller.Dialect == "ec2" && ownsTemplate(caller, t) {
		kind, tags = "launch-template", t.Tags
	} else if k, ok := c.KeyPairByID(caller, id); ok {
		kind, tags = "key-pair", k.Tags
	} else if f, err := c.ownInterface(caller, id); err == nil && caller.Dialect == "ec2" {
		kind, tags = "network-interface", f.Tags
	} else {
		return "", nil, refuse(ResourceNotFound, id)
	}
	ctx := policy.Context{}
	resourceTags(caller.Dialect, ctx, tags)
	return kind, ctx, nil
}

func (c *Control) tag(tx *state.Tx, caller Caller, kind, id string, change TagChange) error {
	apply := func(tags *map[string]string) (err error) {
		*tags, err = change.apply(id, caller.Dialect, *tags)
		return err
	}
	switch kind {
	case "instance":
		return loadAndSave(tx, c.db.Instances, id, id, func(in *state.Instance) error {
			err := apply(&in.Spec.Tags)
			if err == nil && caller.Dialect == "ec2" && in.Spec.Metadata.TagsShown() {
				err = checkShownTags(in.Spec.Tags)
			}
			return err
		})
	case "image":
		return loadAndSave(tx, c.db.Images, id, id, func(i *state.Image) error { return apply(&i.Tags) })
	case "launch-template":
		return loadAndSave(tx, c.db.Templates, id, id, func(t *state.Template) error { return apply(&t.Tags) })
	case "key-pair":
		k, ok := c.KeyPairByID(caller, id)
		if !ok {
			return refuse(ResourceNotFound, id)
		}
		return loadAndSave(tx, c.db.KeyPairs, keyPairKey(caller, k.Name), id, func(k *state.KeyPair) error { return apply(&k.Tags) })
	}
	return c.withInterface(tx, caller, id, func(tx *state.Tx, in *state.Instance, r *state.Interface, f *instance.Interface) error {
		var err error
		saved := c.annotate(tx, in, r, f, func(r *state.Interface) { err = apply(&r.Tags) })
		if err != nil {
			return err
		}
		return saved
	})
}

// loadAndSave changes one record; one that is gone is not found by its id.
func loadAndSave[T any](tx *state.Tx, t *state.Table[T], key, id string, change func(*T) error) error {
	record, ok, err := state.Load(tx, t, key)
	if err != nil {
		return err
	}
	if !ok {
		return refuse(ResourceNotFound, id)
	}
	if err := change(record); err != nil {
		return err
	}
	return state.Save(tx, t, key, record)
}

// apply returns tags with a change made to them.
func (t TagChange) apply(id, dialect string, tags map[string]string) (map[string]string, error) {
	next := maps.Clone(tags)
	if next == nil || t.RemoveAll {
		next = map[string]string{}
	}
	for key, value := range t.Remove {
		if old, ok := next[key]; ok && (value == nil || *value == old) {
			delete(next, key)
		}
	}
	maps.Copy(next, t.Put)
	most := instance.MaxTagsEC2
	if dialect == "ecs" {
		most = instance.MaxTagsECS
	}
	if len(next) > most {
		return nil, refuse(TooManyTags, id)
	}
	return next, nil
}

// checkTags refuses keys that the clouds keep for themselves, sizes, and text
// that no metadata item can show: a record with it would be refused by all that
// reads records, nodes among them.
func checkTags(dialect string, tags map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		lower := strings.ToLower(key)
		bad := key == "" || len(key) > 512 || strings.HasPrefix(lower, "aws:")
		if dialect == "ecs" {
			bad = key == "" || len(key) > 512 || strings.HasPrefix(lower, "aliyun") || strings.HasPrefix(lower, "acs:") ||
				strings.Contains(lower, "http://") || strings.Contains(lower, "https://")
		}
		if bad || !instance.OneLine(key) {
			return refuse(InvalidTagKey, key)
		}
		if value := tags[key]; !instance.OneLine(value) {
			return &Error{Reason: InvalidValue, Subject: "tag value", Detail: value}
		}
	}
	return nil
}

// checkShownTags refuses keys that cannot be metadata items (EC2-TAG-02).
func checkShownTags(tags map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		ok := len(key) >= 1 && len(key) <= 255 && key != "." && key != ".." && key != "_index"
		for _, r := range key {
			ok = ok && (r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("-_+=,.@:", r))
		}
		if !ok {
			return &Error{Reason: InvalidTagKey, Subject: key, Detail: "shown"}
		}
	}
	return nil
}
