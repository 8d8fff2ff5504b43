package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/state"
)

// Kind is a kind of resource that the operator handles by name.
type Kind string

// The kinds.
const (
	KindInstances Kind = "instances"
	KindImages    Kind = "images"
	KindKeys      Kind = "keys"
	KindPolicies  Kind = "policies"
	KindRoles     Kind = "roles"
	KindKeyPairs  Kind = "key-pairs"
	KindTemplates Kind = "templates"
	KindDefaults  Kind = "defaults"
)

// Kinds returns all kinds, in the order in which they depend on each other.
func Kinds() []Kind {
	return []Kind{KindPolicies, KindKeys, KindRoles, KindKeyPairs, KindImages, KindTemplates, KindDefaults, KindInstances}
}

// Resource is a record of any kind, as the operator reads and writes it.
type Resource struct {
	Kind Kind
	// Name is what the operator calls it, made of the record: the identifier of an instance, image or key;
	// DIALECT/NAME of a policy, DIALECT/ACCOUNT/NAME of a role, DIALECT/ACCOUNT/REGION/NAME of a key pair,
	// ACCOUNT/REGION/NAME of a template, ACCOUNT/REGION of defaults.
	Name string
	// Record is a *state.Instance, *state.Image, *state.AccessKey, *state.Policy, *state.Role, *state.KeyPair,
	// *state.Template or *state.Defaults. One that was read is shared and must not be changed.
	Record any
	// Secret of an access key that is put. Empty: the one it has stays, or a new one is made.
	Secret string
	// Credentials to serve for a role that is put, in place of sessions. Nil: what it has stays.
	Credentials *instance.Credentials
}

// String names the resource.
func (r Resource) String() string { return string(r.Kind) + "/" + r.Name }

// records are the resources of one kind.
type records interface {
	all(keep func(any) bool) []Resource
	get(name string) (Resource, bool)
	// nameOf makes the name of a record of this kind.
	nameOf(record any) string
	put(tx *state.Tx, b *batch, r Resource) (Applied, error)
	remove(tx *state.Tx, name string) error
}

// recordsOf is records for one type.
type recordsOf[T any] struct {
	kind  Kind
	table *state.Table[T]
	name  func(*T) string
	// key makes the key in the state of a name.
	key func(name string) string
	// ready completes and checks a record that is put; old is the one there is,
	// nil if there is none. It returns a secret to tell, if it made one.
	ready func(b *batch, next, old *T, given Resource) (string, error)
	// free refuses a removal; nil: it never does.
	free func(*T) error
}

func (r recordsOf[T]) resource(record *T) Resource {
	return Resource{Kind: r.kind, Name: r.name(record), Record: record}
}

func (r recordsOf[T]) nameOf(record any) string { return r.name(record.(*T)) }

func (r recordsOf[T]) all(keep func(any) bool) []Resource {
	found := r.table.All(func(t *T) bool { return keep == nil || keep(t) })
	list := make([]Resource, len(found))
	for i, t := range found {
		list[i] = r.resource(t)
	}
	return list
}

func (r recordsOf[T]) get(name string) (Resource, bool) {
	record, ok := r.table.Get(r.key(name))
	if !ok {
		return Resource{}, false
	}
	return r.resource(record), true
}

func (r recordsOf[T]) put(tx *state.Tx, b *batch, given Resource) (Applied, error) {
	done := Applied{Effect: Created}
	name := given.Name
	old, exists, err := state.Load(tx, r.table, r.key(name))
	if err != nil {
		return done, err
	}
	if !exists {
		old = nil
	}
	copied := *given.Record.(*T)
	next := &copied
	if done.Secret, err = r.ready(b, next, old, given); err != nil {
		return done, err
	}
	done.Resource = r.resource(next)
	if exists {
		done.Effect = Changed
		if same, err := equal(old, next); err != nil || same {
			done.Effect = Unchanged
			return done, err
		}
	}
	return done, state.Save(tx, r.table, r.key(name), next)
}

// equal tells whether two records are stored alike.
func equal[T any](a, b *T) (bool, error) {
	x, err := json.Marshal(a)
	if err != nil {
		return false, fmt.Errorf("compare records: %w", err)
	}
	y, err := json.Marshal(b)
	return string(x) == string(y), err
}

func (r recordsOf[T]) remove(tx *state.Tx, name string) error {
	record, ok, err := state.Load(tx, r.table, r.key(name))
	switch {
	case err != nil:
		return err
	case !ok:
		return noResource(r.kind, name)
	}
	if r.free != nil {
		if err := r.free(record); err != nil {
			return err
		}
	}
	state.Remove(tx, r.table, r.key(name))
	return nil
}

func noResource(kind Kind, name string) error {
	return fault.New(fault.NotFound, "there is no %s/%.200s", kind, name)
}

func itself(name string) string { return name }

// records returns those of a kind, nil if there is no such kind.
func (c *Control) records(kind Kind) records {
	switch kind {
	case KindInstances:
		return recordsOf[state.Instance]{kind, c.db.Instances, func(in *state.Instance) string { return in.Spec.ID }, itself, readyInstance, freeInstance}
	case KindImages:
		return recordsOf[state.Image]{kind, c.db.Images, func(i *state.Image) string { return i.ID }, itself, readyImage, nil}
	case KindKeys:
		return recordsOf[state.AccessKey]{kind, c.db.Keys, func(k *state.AccessKey) string { return k.ID }, itself, readyKey, nil}
	case KindPolicies:
		return recordsOf[state.Policy]{kind, c.db.Policies, func(p *state.Policy) string { return state.Key(p.Dialect, p.Name) }, itself, readyPolicy, c.freePolicy}
	case KindRoles:
		return recordsOf[state.Role]{kind, c.db.Roles, func(r *state.Role) string { return state.Key(r.Dialect, r.Account, r.Name) }, itself, readyRole, nil}
	case KindKeyPairs:
		return recordsOf[state.KeyPair]{kind, c.db.KeyPairs, func(k *state.KeyPair) string { return state.Key(k.Dialect, k.Account, k.Region, k.Name) }, itself, readyKeyPair, nil}
	case KindTemplates:
		return recordsOf[state.Template]{kind, c.db.Templates, func(t *state.Template) string { return state.Key(t.Account, t.Region, t.Name) }, templateKey, readyTemplate, nil}
	case KindDefaults:
		return recordsOf[state.Defaults]{kind, c.db.Defaults, func(d *state.Defaults) string { return state.Key(d.Account, d.Region) }, itself, readyDefaults, nil}
	}
	return nil
}

// templateKey is the key of the template that the operator calls
// ACCOUNT/REGION/NAME.
func templateKey(name string) string {
	parts := strings.SplitN(name, "/", 3)
	if len(parts) != 3 {
		return name
	}
	return templateID(Caller{Account: parts[0], Region: parts[1]}, parts[2])
}

// NameOf returns what the operator calls a record of a kind.
func (c *Control) NameOf(kind Kind, record any) string { return c.records(kind).nameOf(record) }

// List returns the resources of a kind for which keep is true, by name.
func (c *Control) List(caller Caller, kind Kind, keep func(record any) bool) ([]Resource, error) {
	if err := c.permit(caller, ask{resources: []string{string(kind)}}); err != nil {
		return nil, err
	}
	return c.records(kind).all(keep), nil
}

// Get returns one resource; fault.NotFound if there is none.
func (c *Control) Get(caller Caller, kind Kind, name string) (Resource, error) {
	if err := c.permit(caller, ask{resources: []string{string(kind) + "/" + name}}); err != nil {
		return Resource{}, err
	}
	r, ok := c.records(kind).get(name)
	if !ok {
		return r, noResource(kind, name)
	}
	return r, nil
}

// invalid is a mistake in what the operator gave.
func invalid(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }

// problems are the mistakes in one record, in the order of its fields.
type problems []string

func (p *problems) addf(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

func (p *problems) err() error {
	if len(*p) == 0 {
		return nil
	}
	return fault.Wrap(fault.Invalid, nil, "%s", strings.Join(*p, "\n"))
}

// isInvalid reports whether err is a mistake in what was given, of which there
// may be others.
func isInvalid(err error) bool {
	refused, ok := errors.AsType[*fault.Error](err)
	return ok && (refused.Kind == fault.Invalid || refused.Kind == fault.Conflict)
}
