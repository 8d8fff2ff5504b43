package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"openimds/internal/config"
	"openimds/internal/control"
	"openimds/internal/fault"
	"openimds/internal/state"
)

// page is a part of a listing.
type page struct {
	Items []any  `json:"items"`
	Next  string `json:"next,omitempty"`
}

// Deleted names what was deleted.
type Deleted struct {
	// Kind and name.
	Deleted string `json:"deleted"`
}

const (
	usualLimit = 100
	mostLimit  = 1000
)

// limit reads how many results are wanted.
func limit(query url.Values) (int, error) {
	text := query.Get("limit")
	if text == "" {
		return usualLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > mostLimit {
		return 0, fault.New(fault.Invalid, "limit: found %.40q, expected a number from 1 to %d", text, mostLimit)
	}
	return n, nil
}

// tags reads KEY=VALUE, or KEY, which is any value.
func tags(given []string) (map[string]string, error) {
	all := map[string]string{}
	for _, text := range given {
		key, value, hasValue := strings.Cut(text, "=")
		if key == "" {
			return nil, fault.New(fault.Invalid, "tag: found %.80q, expected KEY=VALUE, or KEY for any value", text)
		}
		if !hasValue {
			value = "*"
		}
		all[key] = value
	}
	return all, nil
}

// filter makes the condition of a listing.
func (c *call) filter(k *kind) (func(any) bool, error) {
	wanted, err := tags(c.query["tag"])
	if err != nil {
		return nil, err
	}
	is := func(name, value string) bool { return !c.query.Has(name) || c.query.Get(name) == value }
	return func(record any) bool {
		t := k.traits(record)
		for key, value := range wanted {
			if has, ok := t.tags[key]; !ok || value != "*" && has != value {
				return false
			}
		}
		return is("dialect", t.dialect) && is("account", t.account) && is("region", t.region) &&
			is("state", t.state) && is("http-tokens", t.tokens) && is("http-endpoint", t.endpoint)
	}, nil
}

func (c *call) list(k *kind) (any, error) {
	most, err := limit(c.query)
	if err != nil {
		return nil, err
	}
	keep, err := c.filter(k)
	if err != nil {
		return nil, err
	}
	all, err := c.Control.List(c.caller, k.Kind, keep)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b control.Resource) int { return strings.Compare(a.Name, b.Name) })
	after := c.query.Get("after")
	all = all[max(0, slices.IndexFunc(all, func(r control.Resource) bool { return r.Name > after })):]
	if len(all) > 0 && all[0].Name <= after {
		all = nil // none comes after
	}
	p := page{Items: make([]any, 0, min(most, len(all)))}
	for _, r := range all[:min(most, len(all))] {
		p.Items = append(p.Items, k.view(r.Record))
	}
	if len(all) > most {
		p.Next = all[most-1].Name
	}
	return p, nil
}

// name puts the parts of the path together.
func (c *call) name(k *kind) (string, map[string]string) {
	parts, values := make([]string, len(k.parts)), map[string]string{}
	for i, part := range k.parts {
		parts[i] = c.PathValue(part)
		values[part] = parts[i]
	}
	return strings.Join(parts, "/"), values
}

func (c *call) get(k *kind) (any, error) {
	name, _ := c.name(k)
	r, err := c.Control.Get(c.caller, k.Kind, name)
	if err != nil {
		return nil, err
	}
	return k.view(r.Record), nil
}

func (c *call) put(k *kind) (any, error) {
	body, err := c.body()
	if err != nil {
		return nil, err
	}
	if err := k.checkKind(body); err != nil {
		return nil, err
	}
	_, parts := c.name(k)
	r, err := k.read(body, parts)
	if err == nil {
		err = c.checkTemplate(r)
	}
	if err != nil {
		return nil, err
	}
	done, err := c.Control.Apply(c.Context(), c.caller, []control.Resource{r})
	if err != nil {
		return nil, err
	}
	if done[0].Effect == control.Created {
		c.status = http.StatusCreated
	}
	view := k.view(done[0].Record)
	if key, ok := view.(Key); ok {
		key.Secret = done[0].Secret
		return key, nil
	}
	return view, nil
}

func (c *call) remove(k *kind) (any, error) {
	name, _ := c.name(k)
	return Deleted{string(k.Kind) + "/" + name}, c.Control.Delete(c.Context(), c.caller, k.Kind, name)
}

// applyBody is the body of an apply.
type applyBody struct {
	// Documents of any kinds, each with its `kind`.
	Documents []json.RawMessage `json:"documents"`
}

// Applied is the answer to an apply.
type Applied struct {
	// What became of each document, in their order.
	Results []AppliedDocument `json:"results"`
	// Nothing was changed: it was only tried.
	DryRun bool `json:"dryRun,omitempty"`
}

// AppliedDocument is what became of one document.
type AppliedDocument struct {
	// Kind.
	Kind string `json:"kind"`
	// Name.
	Name string `json:"name"`
	// `created`, `changed` or `unchanged`.
	Result string `json:"result"`
	// Secret of an access key that was made here. It is not shown again.
	Secret string `json:"secret,omitempty"`
}

func (c *call) apply() (any, error) {
	body, err := c.body()
	if err != nil {
		return nil, err
	}
	resources, err := c.readDocuments(body)
	if err != nil {
		return nil, err
	}
	c.caller.DryRun = c.query.Get("dryRun") == "true"
	done, err := c.Control.Apply(c.Context(), c.caller, resources)
	if err != nil {
		return nil, err
	}
	out := Applied{Results: []AppliedDocument{}, DryRun: c.caller.DryRun}
	for _, d := range done {
		r := AppliedDocument{Kind: string(d.Kind), Name: d.Name, Result: string(d.Effect), Secret: d.Secret}
		if out.DryRun {
			r.Secret = ""
		}
		out.Results = append(out.Results, r)
	}
	return out, nil
}

// mostWrong is how many documents' mistakes are reported.
const mostWrong = 20

// checkTemplate checks what each version of a launch template is made of.
func (h *handler) checkTemplate(r control.Resource) error {
	t, ok := r.Record.(*state.Template)
	if !ok || h.CheckTemplate == nil {
		return nil
	}
	for i, v := range t.Versions {
		if err := h.CheckTemplate(v.Parameters); err != nil {
			return fault.New(fault.Invalid, "versions[%d].parameters: %v", i, err)
		}
	}
	return nil
}

func (h *handler) readDocuments(body []byte) ([]control.Resource, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, fault.New(fault.Invalid, `the body is not JSON: %v: expected {"documents": […]}`, err)
	}
	for name := range members {
		if name != "documents" {
			return nil, fault.New(fault.Invalid, "%.80s: unknown key%s", name, config.Suggest(name, []string{"documents"}))
		}
	}
	var documents []json.RawMessage
	if err := json.Unmarshal(members["documents"], &documents); err != nil || len(documents) == 0 {
		return nil, fault.New(fault.Invalid, "documents: expected a list of at least one document")
	}
	if len(documents) > control.MaxApply {
		return nil, fault.New(fault.Invalid, "documents: found %d, expected at most %d, which is what one commit can hold: apply them in parts", len(documents), control.MaxApply)
	}
	var resources []control.Resource
	var wrong []string
	for i, document := range documents {
		prefix := fmt.Sprintf("document %d: ", i+1)
		k, err := kindOf(document)
		if err == nil {
			prefix = fmt.Sprintf("document %d, %s: ", i+1, k.Kind)
			var r control.Resource
			if r, err = k.read(document, nil); err == nil {
				err = h.checkTemplate(r)
			}
			if err == nil {
				resources = append(resources, r)
				continue
			}
		}
		wrong = append(wrong, prefix+strings.ReplaceAll(err.Error(), "\n", "\n"+prefix))
		if len(wrong) == mostWrong {
			break
		}
	}
	if len(wrong) > 0 {
		return nil, fault.New(fault.Invalid, "%s", strings.Join(wrong, "\n"))
	}
	return resources, nil
}
