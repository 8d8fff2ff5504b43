package admin

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"openimds/internal/config"
	"openimds/internal/control"
	"openimds/internal/fault"
)

// kind is a kind of resource as the API shows it.
type kind struct {
	control.Kind
	singular string
	// parts of its name: members of the document that the path has, too.
	parts []string
	doc   string
	// typ is the document.
	typ reflect.Type
	// filters are parameters of its listing.
	filters []string
	traits  func(record any) traits
	// view is the document of a record, without secrets.
	view func(record any) any
	// read decodes a document.
	read func(data []byte, parts map[string]string) (control.Resource, error)
}

// path is that of one resource, below /v1/.
func (k *kind) path() string { return string(k.Kind) + "/{" + strings.Join(k.parts, "}/{") + "}" }

// traits are what listings are filtered by.
type traits struct {
	dialect, account, region, state, tokens, endpoint string
	tags                                              map[string]string
}

// describing makes the rows of the table of kinds, without their types: T is
// the record, D the document that is read.
func describing[T, D any](k kind, o config.JSONOptions, view func(*T) any, traitsOf func(*T) traits, record func(*D) (control.Resource, error)) kind {
	k.view = func(r any) any { return view(r.(*T)) }
	k.traits = func(r any) traits { return traitsOf(r.(*T)) }
	k.read = func(data []byte, parts map[string]string) (control.Resource, error) {
		d := new(D)
		if err := config.DecodeJSON(data, d, o); err != nil {
			return control.Resource{}, fault.New(fault.Invalid, "%s", strings.ReplaceAll(err.Error(), "the body: ", ""))
		}
		if err := k.fill(reflect.ValueOf(d).Elem(), parts); err != nil {
			return control.Resource{}, err
		}
		r, err := record(d)
		r.Kind = k.Kind
		return r, err
	}
	return k
}

// fill gives a document the parts of its name that stand in the path, and
// refuses one that has others.
func (k *kind) fill(d reflect.Value, parts map[string]string) error {
	set := func(key, value string) error {
		i := slices.IndexFunc(reflect.VisibleFields(d.Type()), func(f reflect.StructField) bool {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			return name == key
		})
		if i < 0 {
			return nil
		}
		field := d.FieldByIndex(reflect.VisibleFields(d.Type())[i].Index)
		if has := field.String(); has != "" && has != value {
			return fault.New(fault.Invalid, "%s: found %.80q, and the path says %.80q", key, has, value)
		}
		field.SetString(value)
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(parts)) {
		if err := set(key, parts[key]); err != nil {
			return err
		}
	}
	return nil
}

// kinds is the table of kinds.
func kinds() []*kind {
	all := []kind{
		describing(kind{
			Kind: control.KindInstances, singular: "instance", parts: []string{"id"}, doc: "An instance and all of its metadata",
			typ: reflect.TypeFor[Instance](), filters: []string{"dialect", "account", "region", "tag", "state", "http-tokens", "http-endpoint"},
		}, config.JSONOptions{Drop: []string{"kind", "status"}, Bytes: []string{"userData", "vendorData"}}, viewInstance, instanceTraits, instanceRecord),
		describing(kind{
			Kind: control.KindImages, singular: "image", parts: []string{"id"}, doc: "What instances are launched from",
			typ: reflect.TypeFor[Image](), filters: []string{"dialect", "account", "region", "tag"},
		}, config.JSONOptions{}, viewImage, imageTraits, (*Image).record),
		describing(kind{
			Kind: control.KindKeys, singular: "key", parts: []string{"id"}, doc: "An access key of a cloud's API",
			typ: reflect.TypeFor[Key](), filters: []string{"dialect", "account"},
		}, config.JSONOptions{}, viewKey, keyTraits, (*Key).record),
		describing(kind{
			Kind: control.KindPolicies, singular: "policy", parts: []string{"dialect", "name"}, doc: "A policy that is attached to keys and roles, or guards all",
			typ: reflect.TypeFor[Policy](), filters: []string{"dialect"},
		}, config.JSONOptions{Verbatim: []string{"document"}}, viewPolicy, policyTraits, (*Policy).record),
		describing(kind{
			Kind: control.KindRoles, singular: "role", parts: []string{"dialect", "account", "name"}, doc: "A role that instances may have",
			typ: reflect.TypeFor[Role](), filters: []string{"dialect", "account"},
		}, config.JSONOptions{}, viewRole, roleTraits, (*Role).record),
		describing(kind{
			Kind: control.KindKeyPairs, singular: "key-pair", parts: []string{"dialect", "account", "region", "name"}, doc: "A public key that instances are launched with",
			typ: reflect.TypeFor[KeyPair](), filters: []string{"dialect", "account", "region", "tag"},
		}, config.JSONOptions{}, viewKeyPair, keyPairTraits, (*KeyPair).record),
		describing(kind{
			Kind: control.KindTemplates, singular: "template", parts: []string{"account", "region", "name"}, doc: "A launch template (EC2)",
			typ: reflect.TypeFor[Template](), filters: []string{"account", "region", "tag"},
		}, config.JSONOptions{}, viewTemplate, templateTraits, (*Template).record),
		describing(kind{
			Kind: control.KindDefaults, singular: "default", parts: []string{"account", "region"}, doc: "The defaults of an account and region for new instances (EC2)",
			typ: reflect.TypeFor[Defaults](), filters: []string{"account", "region"},
		}, config.JSONOptions{}, viewDefaults, defaultsTraits, (*Defaults).record),
	}
	list := make([]*kind, len(all))
	for i := range all {
		list[i] = &all[i]
	}
	return list
}

// kindNamed finds a kind by its name in the plural or the singular; nil if
// there is none.
func kindNamed(name string) *kind {
	for _, k := range kinds() {
		if name == string(k.Kind) || name == k.singular {
			return k
		}
	}
	return nil
}

// KindNames returns the names of all kinds, and those of one in the singular.
func KindNames() (plural, singular []string) {
	for _, k := range kinds() {
		plural, singular = append(plural, string(k.Kind)), append(singular, k.singular)
	}
	return plural, singular
}

// kindOf reads the kind that a document says it is of.
func kindOf(document json.RawMessage) (*kind, error) {
	var head struct {
		Kind string `json:"kind"`
	}
	if !bytes.HasPrefix(bytes.TrimSpace(document), []byte("{")) {
		return nil, fault.New(fault.Invalid, "expected a JSON object")
	}
	if err := json.Unmarshal(document, &head); err != nil {
		return nil, fault.New(fault.Invalid, "kind: expected text")
	}
	names, _ := KindNames()
	k := kindNamed(head.Kind)
	switch {
	case head.Kind == "":
		return nil, fault.New(fault.Invalid, "kind: is required: one of %s", strings.Join(names, ", "))
	case k == nil:
		return nil, fault.New(fault.Invalid, "kind: unknown kind %.40q%s", head.Kind, config.Suggest(head.Kind, names))
	}
	return k, nil
}

// checkKind refuses a document that says it is of another kind.
func (k *kind) checkKind(document json.RawMessage) error {
	var head struct {
		Kind string `json:"kind"`
	}
	if json.Unmarshal(document, &head) == nil && head.Kind != "" && kindNamed(head.Kind) != nil && kindNamed(head.Kind).Kind != k.Kind {
		return fault.New(fault.Invalid, "kind: found %q, and the path says %q", head.Kind, k.Kind)
	}
	return nil
}
