package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"strconv"
	"time"

	"openimds/internal/policy"
	"openimds/internal/state"
)

// NewTemplate is what a launch template is made of.
type NewTemplate struct {
	Name, Description string
	// Parameters of RunInstances, as they are on the wire.
	Parameters, Tags map[string]string
	// ClientToken makes the call idempotent. Sum is a digest of its parameters.
	ClientToken, Sum string
}

// TemplateRef names a launch template by its id or, if that is empty, its name.
type TemplateRef struct{ ID, Name string }

func (r TemplateRef) subject() string {
	if r.ID != "" {
		return r.ID
	}
	return r.Name
}

// templateID makes a template's id of its name, so that two calls at once that
// make a template of the same name meet in one record.
func templateID(caller Caller, name string) string {
	sum := sha256.Sum256([]byte(state.Key(caller.Account, caller.Region, name)))
	return "lt-0" + hex.EncodeToString(sum[:8])
}

func (r TemplateRef) id(caller Caller) string {
	if r.ID != "" {
		return r.ID
	}
	return templateID(caller, r.Name)
}

func ownsTemplate(caller Caller, t *state.Template) bool {
	return t.Account == caller.Account && t.Region == caller.Region
}

// Template returns a launch template of the caller. It asks no policy: it is
// for actions that ask their own.
func (c *Control) Template(caller Caller, ref TemplateRef) (*state.Template, error) {
	t, ok := c.db.Templates.Get(ref.id(caller))
	if !ok || !ownsTemplate(caller, t) {
		return nil, refuse(TemplateNotFound, ref.subject())
	}
	return t, nil
}

// Templates returns the caller's launch templates, by id.
func (c *Control) Templates(caller Caller) ([]*state.Template, error) {
	if err := c.permit(caller, ask{}); err != nil {
		return nil, err
	}
	return c.db.Templates.All(func(t *state.Template) bool { return ownsTemplate(caller, t) }), nil
}

// TemplateVersion returns a version of a template: a number, $Latest or
// $Default, which empty means, too.
func TemplateVersion(t *state.Template, which string) (*state.TemplateVersion, error) {
	number, err := strconv.Atoi(which)
	switch {
	case which == "" || which == "$Default":
		number = t.Default
	case which == "$Latest" && len(t.Versions) > 0:
		number = t.Versions[len(t.Versions)-1].Number
	case err != nil:
		number = 0
	}
	for i := range t.Versions {
		if t.Versions[i].Number == number {
			return &t.Versions[i], nil
		}
	}
	return nil, &Error{Reason: TemplateNotFound, Subject: t.ID, Detail: which}
}

// CreateTemplate keeps a launch template, with its first version.
func (c *Control) CreateTemplate(ctx context.Context, caller Caller, n NewTemplate) (*state.Template, error) {
	id := templateID(caller, n.Name)
	a := ask{}
	own := policy.Context{}
	requestTags(caller.Dialect, own, n.Tags)
	a.on(arn(caller, "launch-template", "*"), own)
	a.tagging(caller, "launch-template", n.Tags)
	if err := c.permit(caller, a); err != nil {
		return nil, err
	}
	if err := checkTags(caller.Dialect, n.Tags); err != nil {
		return nil, err
	}
	var made *state.Template
	err := c.update(ctx, func(tx *state.Tx) error {
		old, exists, err := state.Load(tx, c.db.Templates, id)
		if err != nil {
			return err
		}
		remembered, err := c.recall(tx, caller, n.ClientToken, n.Sum)
		switch {
		case err != nil:
			return err
		case remembered != nil && exists:
			made = old
			return nil
		case exists:
			return refuse(TemplateExists, n.Name)
		}
		now := c.cfg.Now().UTC().Truncate(time.Second)
		made = &state.Template{
			ID: id, Name: n.Name, Account: caller.Account, Region: caller.Region, Created: now, Default: 1, Tags: maps.Clone(n.Tags),
			Versions: []state.TemplateVersion{{Number: 1, Description: n.Description, Created: now, Parameters: n.Parameters}},
		}
		if err := c.remember(tx, caller, n.ClientToken, n.Sum, []string{id}); err != nil {
			return err
		}
		return state.Save(tx, c.db.Templates, id, made)
	})
	return made, err
}

// NewVersion is what a version of a launch template is made of.
type NewVersion struct {
	Description string
	// Source is the version that it is laid over; empty: none.
	Source string
	// Parameters gets those of the source version, or nil, and returns those of the new one; it must be without other effects.
	Parameters func(source map[string]string) map[string]string
	// ClientToken makes the call idempotent. Sum is a digest of its parameters.
	ClientToken, Sum string
}

// AddTemplateVersion adds a version and returns the template, and the number of
// the version.
func (c *Control) AddTemplateVersion(ctx context.Context, caller Caller, ref TemplateRef, n NewVersion) (*state.Template, int, error) {
	number := 0
	t, err := c.changeTemplate(ctx, caller, ref, func(tx *state.Tx, t *state.Template) error {
		remembered, err := c.recall(tx, caller, n.ClientToken, n.Sum)
		if err != nil {
			return err
		}
		if remembered != nil {
			number, err = strconv.Atoi(remembered.IDs[0])
			return err
		}
		var from map[string]string
		if n.Source != "" {
			v, err := TemplateVersion(t, n.Source)
			if err != nil {
				return err
			}
			from = v.Parameters
		}
		number = 1
		if len(t.Versions) > 0 {
			number = t.Versions[len(t.Versions)-1].Number + 1
		}
		t.Versions = append(t.Versions, state.TemplateVersion{
			Number: number, Description: n.Description, Created: c.cfg.Now().UTC().Truncate(time.Second), Parameters: n.Parameters(from),
		})
		return c.remember(tx, caller, n.ClientToken, n.Sum, []string{strconv.Itoa(number)})
	})
	return t, number, err
}

// SetTemplateDefault makes a version the default.
func (c *Control) SetTemplateDefault(ctx context.Context, caller Caller, ref TemplateRef, version string) (*state.Template, error) {
	return c.changeTemplate(ctx, caller, ref, func(_ *state.Tx, t *state.Template) error {
		v, err := TemplateVersion(t, version)
		if err == nil {
			t.Default = v.Number
		}
		return err
	})
}

// changeTemplate commits a change of a template and returns it as it is then.
func (c *Control) changeTemplate(ctx context.Context, caller Caller, ref TemplateRef, change func(*state.Tx, *state.Template) error) (*state.Template, error) {
	if err := c.permitTemplate(caller, ref); err != nil {
		return nil, err
	}
	var after *state.Template
	err := c.update(ctx, func(tx *state.Tx) error {
		t, ok, err := state.Load(tx, c.db.Templates, ref.id(caller))
		switch {
		case err != nil:
			return err
		case !ok:
			return refuse(TemplateNotFound, ref.subject())
		}
		if err := change(tx, t); err != nil {
			return err
		}
		after = t
		return state.Save(tx, c.db.Templates, t.ID, t)
	})
	return after, err
}

// DeleteTemplate forgets a launch template and returns it as it was. Instances
// launched from it stay as they are.
func (c *Control) DeleteTemplate(ctx context.Context, caller Caller, ref TemplateRef) (*state.Template, error) {
	if err := c.permitTemplate(caller, ref); err != nil {
		return nil, err
	}
	var last *state.Template
	err := c.update(ctx, func(tx *state.Tx) error {
		t, ok, err := state.Load(tx, c.db.Templates, ref.id(caller))
		switch {
		case err != nil:
			return err
		case !ok:
			return refuse(TemplateNotFound, ref.subject())
		}
		last = t
		state.Remove(tx, c.db.Templates, t.ID)
		return nil
	})
	return last, err
}

func (c *Control) permitTemplate(caller Caller, ref TemplateRef) error {
	t, err := c.Template(caller, ref)
	if err != nil {
		return err
	}
	a := ask{}
	keys := policy.Context{}
	resourceTags(caller.Dialect, keys, t.Tags)
	a.on(arn(caller, "launch-template", t.ID), keys)
	return c.permit(caller, a)
}
