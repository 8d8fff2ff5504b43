package ec2query

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"openimds/internal/control"
	"openimds/internal/state"
)

// templateWithoutEffect are the parameters of launch templates that nothing
// here depends on, beside those of RunInstances.
var templateWithoutEffect = []string{"InstanceRequirements", "KernelId", "RamDiskId"}

// dataPrefix stands before the parameters that a template is made of.
const dataPrefix = "LaunchTemplateData."

var templateNames = regexp.MustCompile(`^[a-zA-Z0-9().\-/_]{3,128}$`)

func (r templateRef) ref() (control.TemplateRef, error) {
	switch {
	case r.ID == "" && r.Name == "":
		return control.TemplateRef{}, missing("LaunchTemplateId")
	case r.ID != "" && r.Name != "":
		return control.TemplateRef{}, invalid("InvalidParameterCombination", "The parameters LaunchTemplateId and LaunchTemplateName may not be used together")
	case r.ID != "" && !strings.HasPrefix(r.ID, "lt-"):
		return control.TemplateRef{}, malformed("InvalidLaunchTemplateId.Malformed", r.ID, "lt-")
	}
	return control.TemplateRef{ID: r.ID, Name: r.Name}, nil
}

// launchTemplate is a version of a template that is launched from.
type launchTemplate struct {
	launchData
	parameters map[string]string
	of         *state.Template
}

// template finds what a launch names.
func (c *call) template(r templateRef) (*launchTemplate, error) {
	ref, err := r.ref()
	if err != nil {
		return nil, err
	}
	t, err := c.cfg.Control.Template(c.caller, ref)
	if err != nil {
		return nil, err
	}
	v, err := control.TemplateVersion(t, r.Version)
	if err != nil {
		return nil, err
	}
	data, err := decodeData(v.Parameters)
	if err != nil {
		return nil, err
	}
	return &launchTemplate{*data, v.Parameters, t}, nil
}

func decodeData(parameters map[string]string) (*launchData, error) {
	values := url.Values{}
	for name, value := range parameters {
		values.Set(name, value)
	}
	tree, err := parseTree(values)
	if err != nil {
		return nil, err
	}
	data := &launchData{}
	return data, decode(tree, data, slices.Concat(templateWithoutEffect, launchWithoutEffect))
}

// data takes what a template is made of out of the parameters, and checks it.
func (c *call) data() (map[string]string, error) {
	parameters := map[string]string{}
	for name := range c.values {
		if rest, ok := strings.CutPrefix(name, dataPrefix); ok {
			parameters[rest] = c.values.Get(name)
		}
	}
	if len(parameters) == 0 {
		return nil, missing("LaunchTemplateData")
	}
	return parameters, CheckTemplate(parameters)
}

// CheckTemplate checks what a launch template is made of as far as that can be
// done before a launch.
func CheckTemplate(parameters map[string]string) error {
	data, err := decodeData(parameters)
	if err != nil {
		return err
	}
	if _, err := data.Options.options(); err != nil {
		return err
	}
	if _, err := launchTags(data.Tags); err != nil {
		return err
	}
	_, err = userData(data.UserData)
	return err
}

type createTemplateIn struct {
	Name        string    `q:"LaunchTemplateName,required"`
	Description string    `q:"VersionDescription"`
	ClientToken string    `q:"ClientToken"`
	Tags        []tagSpec `q:"TagSpecification"`
	Data        anything  `q:"LaunchTemplateData,required"` // decoded by data
}

type templateOut struct {
	head
	Template templateXML `xml:"launchTemplate"`
}

type templateXML struct {
	ID      string   `xml:"launchTemplateId"`
	Name    string   `xml:"launchTemplateName"`
	Created string   `xml:"createTime"`
	By      string   `xml:"createdBy"`
	Default int      `xml:"defaultVersionNumber"`
	Latest  int      `xml:"latestVersionNumber"`
	Tags    []tagXML `xml:"tags>item"`
}

func templateView(t *state.Template) templateXML {
	latest := 0
	if n := len(t.Versions); n > 0 {
		latest = t.Versions[n-1].Number
	}
	return templateXML{t.ID, t.Name, stamp(t.Created), "arn:aws:iam::" + t.Account + ":root", t.Default, latest, tagsView(t.Tags)}
}

func createLaunchTemplate(c *call, p *createTemplateIn) (response, error) {
	if !templateNames.MatchString(p.Name) {
		return nil, invalid("InvalidLaunchTemplateName.MalformedException", "Launch template names must be between 3 and 128 characters long, and may contain letters, numbers, and the following characters: - ( ) . / _")
	}
	parameters, err := c.data()
	if err != nil {
		return nil, err
	}
	tags, err := tagsFor(p.Tags, "launch-template", "launch-template")
	if err != nil {
		return nil, err
	}
	t, err := c.cfg.Control.CreateTemplate(c.ctx, c.caller, control.NewTemplate{
		Name: p.Name, Description: p.Description, Parameters: parameters, Tags: tags, ClientToken: p.ClientToken, Sum: c.sum(),
	})
	if err != nil {
		return nil, err
	}
	return &templateOut{Template: templateView(t)}, nil
}

type createVersionIn struct {
	ID          string   `q:"LaunchTemplateId"`
	Name        string   `q:"LaunchTemplateName"`
	Source      string   `q:"SourceVersion"`
	Description string   `q:"VersionDescription"`
	ClientToken string   `q:"ClientToken"`
	Data        anything `q:"LaunchTemplateData,required"`
}

type versionOut struct {
	head
	Version versionXML `xml:"launchTemplateVersion"`
}

func createLaunchTemplateVersion(c *call, p *createVersionIn) (response, error) {
	ref, err := templateRef{ID: p.ID, Name: p.Name}.ref()
	if err != nil {
		return nil, err
	}
	parameters, err := c.data()
	if err != nil {
		return nil, err
	}
	t, number, err := c.cfg.Control.AddTemplateVersion(c.ctx, c.caller, ref, control.NewVersion{
		Description: p.Description, Source: p.Source, ClientToken: p.ClientToken, Sum: c.sum(),
		Parameters: func(source map[string]string) map[string]string { return overSource(source, parameters) },
	})
	if err != nil {
		return nil, err
	}
	made, err := control.TemplateVersion(t, strconv.Itoa(number))
	if err != nil {
		return nil, err
	}
	v, err := versionView(t, *made)
	return &versionOut{Version: v}, err
}

// overSource lays the parameters of a new version over those of its source:
// what it names at all replaces what the source says.
func overSource(source, parameters map[string]string) map[string]string {
	all, named := maps.Clone(parameters), map[string]bool{}
	for name := range parameters {
		top, _, _ := strings.Cut(name, ".")
		named[top] = true
	}
	for name, value := range source {
		if top, _, _ := strings.Cut(name, "."); !named[top] {
			all[name] = value
		}
	}
	return all
}

type modifyTemplateIn struct {
	ID          string   `q:"LaunchTemplateId"`
	Name        string   `q:"LaunchTemplateName"`
	Default     string   `q:"SetDefaultVersion,required"`
	ClientToken anything `q:"ClientToken"`
}

func modifyLaunchTemplate(c *call, p *modifyTemplateIn) (response, error) {
	ref, err := templateRef{ID: p.ID, Name: p.Name}.ref()
	if err != nil {
		return nil, err
	}
	t, err := c.cfg.Control.SetTemplateDefault(c.ctx, c.caller, ref, p.Default)
	if err != nil {
		return nil, err
	}
	return &templateOut{Template: templateView(t)}, nil
}

type deleteTemplateIn struct {
	ID   string `q:"LaunchTemplateId"`
	Name string `q:"LaunchTemplateName"`
}

func deleteLaunchTemplate(c *call, p *deleteTemplateIn) (response, error) {
	ref, err := templateRef{ID: p.ID, Name: p.Name}.ref()
	if err != nil {
		return nil, err
	}
	t, err := c.cfg.Control.DeleteTemplate(c.ctx, c.caller, ref)
	if err != nil {
		return nil, err
	}
	return &templateOut{Template: templateView(t)}, nil
}

type describeTemplatesIn struct {
	IDs   []string `q:"LaunchTemplateId"`
	Names []string `q:"LaunchTemplateName"`
	listing
}

type describeTemplatesOut struct {
	head
	Templates []templateXML `xml:"launchTemplates>item"`
	NextToken string        `xml:"nextToken,omitempty"`
}

var templateFilters = attributes[*state.Template]{
	"launch-template-name": func(t *state.Template) []string { return []string{t.Name} },
	"create-time":          func(t *state.Template) []string { return []string{stamp(t.Created)} },
}

func describeLaunchTemplates(c *call, p *describeTemplatesIn) (response, error) {
	all, err := c.cfg.Control.Templates(c.caller)
	if err != nil {
		return nil, err
	}
	for _, id := range p.IDs {
		if !slices.ContainsFunc(all, func(t *state.Template) bool { return t.ID == id }) {
			return nil, &control.Error{Reason: control.TemplateNotFound, Subject: id}
		}
	}
	for _, name := range p.Names {
		if !slices.ContainsFunc(all, func(t *state.Template) bool { return t.Name == name }) {
			return nil, &control.Error{Reason: control.TemplateNotFound, Subject: name}
		}
	}
	found := slices.DeleteFunc(all, func(t *state.Template) bool { return !wanted(p.IDs, t.ID) || !wanted(p.Names, t.Name) })
	if found, err = choose(found, p.Filters, templateFilters, func(t *state.Template) map[string]string { return t.Tags }); err != nil {
		return nil, err
	}
	shown, next, err := page(found, p.listing, 1, func(t *state.Template) string { return t.ID })
	if err != nil {
		return nil, err
	}
	out := &describeTemplatesOut{NextToken: next}
	for _, t := range shown {
		out.Templates = append(out.Templates, templateView(t))
	}
	return out, nil
}

// wanted reports whether a list, if it has any entry, has this one.
func wanted(list []string, value string) bool { return len(list) == 0 || slices.Contains(list, value) }

// numberKey sorts as the number does.
func numberKey(n int) string {
	text := strconv.Itoa(n)
	return strings.Repeat("0", max(0, 9-len(text))) + text
}
