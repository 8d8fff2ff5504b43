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
	for _, id := range ids {
		kind, keys, err := c.resource(caller, id)
		if err != nil {
			return err
		}
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
			if err := c.tag(tx, caller, id, change); err != nil {
				return err
			}
		}
		return nil
	})
}

// resource tells what kind of resource an id names.
func (c *Control) resource(caller Caller, id string) (string, policy.Context, error) {
	if in, ok := c.db.Instances.Get(id); ok && belongs(caller, in) {
		return "instance", instanceKeys(caller.Dialect, in), nil
	}
	if image, ok := c.db.Images.Get(id); ok && image.Dialect == caller.Dialect {
		return "image", nil, nil
	}
	if t, ok := c.db.Templates.Get(id); ok && t.Account == caller.Account {
		return "launch-template", nil, nil
	}
	return "", nil, refuse(ResourceNotFound, id)
}

func (c *Control) tag(tx *state.Tx, caller Caller, id string, change TagChange) error {
	in, ok, err := state.Load(tx, c.db.Instances, id)
	if err != nil {
		return err
	}
	if ok {
		in.Spec.Tags, err = change.apply(id, caller.Dialect, in.Spec.Tags)
		if err == nil && caller.Dialect == "ec2" && in.Spec.Metadata.TagsShown() {
			err = checkShownTags(in.Spec.Tags)
		}
		if err != nil {
			return err
		}
		return state.Save(tx, c.db.Instances, id, in)
	}
	image, ok, err := state.Load(tx, c.db.Images, id)
	if err != nil {
		return err
	}
	if ok {
		if image.Tags, err = change.apply(id, caller.Dialect, image.Tags); err != nil {
			return err
		}
		return state.Save(tx, c.db.Images, id, image)
	}
	t, ok, err := state.Load(tx, c.db.Templates, id)
	if err != nil {
		return err
	}
	if !ok {
		return refuse(ResourceNotFound, id)
	}
	if t.Tags, err = change.apply(id, caller.Dialect, t.Tags); err != nil {
		return err
	}
	return state.Save(tx, c.db.Templates, id, t)
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

// checkTags refuses keys that the clouds keep for themselves, and sizes.
func checkTags(dialect string, tags map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		lower := strings.ToLower(key)
		bad := key == "" || len(key) > 512 || strings.HasPrefix(lower, "aws:")
		if dialect == "ecs" {
			bad = key == "" || len(key) > 512 || strings.HasPrefix(lower, "aliyun") || strings.HasPrefix(lower, "acs:") ||
				strings.Contains(lower, "http://") || strings.Contains(lower, "https://")
		}
		if bad {
			return refuse(InvalidTagKey, key)
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
