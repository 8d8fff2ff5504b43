package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"openimds/internal/admin"
	"openimds/internal/config"
)

// column is one of a table of resources.
type column struct {
	title string
	of    func(object) string
}

func at(title, path string) column {
	return column{title, func(o object) string { return o.at(path) }}
}

// created is when a resource was made, to the second.
var created = column{"CREATED", func(o object) string {
	t, err := time.Parse(time.RFC3339, o.at("created"))
	if err != nil {
		return ""
	}
	return stamp(t)
}}

// columns of the tables, by kind. The first is the name.
var columns = map[string][]column{
	"instances": {
		at("INSTANCE", "id"), at("DIALECT", "dialect"), at("STATE", "state"), at("TOKENS", "metadata.httpTokens"),
		at("ENDPOINT", "metadata.httpEndpoint"), at("HOPS", "metadata.httpPutResponseHopLimit"), at("TYPE", "type"),
		{"ADDRESS", func(o object) string {
			if source := o.at("sources"); source != "" {
				return source
			}
			return o.at("interfaces.ipv4")
		}},
		{"NAME", func(o object) string {
			if name := o.at("name"); name != "" {
				return name
			}
			return o.at("tags.Name")
		}},
	},
	"images":    {at("IMAGE", "id"), at("DIALECT", "dialect"), at("PLATFORM", "platform"), at("TOKENS-ALONE", "imdsSupport"), at("NAME", "name")},
	"keys":      {at("KEY", "id"), at("DIALECT", "dialect"), at("ACCOUNT", "account"), at("USER", "user"), at("POLICIES", "policies"), at("DISABLED", "disabled")},
	"policies":  {named("POLICY", "dialect", "name"), at("GUARD", "guard"), created},
	"roles":     {named("ROLE", "dialect", "account", "name"), at("POLICIES", "policies"), at("STATIC", "static"), created},
	"key-pairs": {named("KEY-PAIR", "dialect", "account", "region", "name"), at("ID", "id"), at("FINGERPRINT", "fingerprint")},
	"templates": {
		named("TEMPLATE", "account", "region", "name"), at("ID", "id"), at("DEFAULT", "default"),
		{"VERSIONS", func(o object) string { all, _ := o["versions"].([]any); return strconv.Itoa(len(all)) }},
	},
	"defaults": {
		named("DEFAULTS", "account", "region"), at("TOKENS", "httpTokens"), at("ENDPOINT", "httpEndpoint"), at("HOPS", "hopLimit"),
		at("TAGS", "instanceMetadataTags"), at("ENFORCED", "httpTokensEnforced"),
	},
	"alarms": alarmColumns,
}

// named joins the parts of a name.
func named(title string, parts ...string) column {
	return column{title, func(o object) string {
		words := make([]string, len(parts))
		for i, part := range parts {
			words[i] = o.at(part)
		}
		return strings.Join(words, "/")
	}}
}

// nameOf returns what a resource is called in commands.
func nameOf(kind string, o object) string { return columns[kind][0].of(o) }

// kindArg finds the kind that an argument means, in the plural or singular. Also
// is one, in both, that only some commands have.
func kindArg(arg string, also ...string) (string, error) {
	if slices.Contains(also, arg) {
		return also[0], nil
	}
	plural, singular := admin.KindNames()
	if len(also) > 0 {
		plural, singular = append(plural, also[0]), append(singular, also[1])
	}
	if i := slices.Index(singular, arg); i >= 0 {
		return plural[i], nil
	}
	if !slices.Contains(plural, arg) {
		known := slices.Concat(plural, singular)
		hint := config.Suggest(arg, known)
		if hint == "" {
			hint = "; the kinds are " + strings.Join(plural, ", ")
		}
		return "", usageError{fmt.Errorf("there is no kind %q%s", arg, hint)}
	}
	return arg, nil
}

// withKind asks for a kind and for at least so many names.
func withKind(names int, also ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		plural, _ := admin.KindNames()
		plural = append(plural, also[:min(1, len(also))]...)
		switch {
		case len(args) == 0:
			return usageError{fmt.Errorf("say which kind: %s (see %s --help)", strings.Join(plural, ", "), c.CommandPath())}
		case len(args) <= names:
			return usageError{fmt.Errorf("say which of the %s: give a name (imds get %s lists them)", args[0], args[0])}
		}
		return nil
	}
}

// filterFlags are the flags that say which resources of a kind are meant.
type filterFlags struct {
	tags   []string
	values map[string]*string
}

var filterNames = [][2]string{
	{"dialect", "only those of this dialect: ecs or ec2"}, {"account", "only those of this account"}, {"region", "only those of this region"},
	{"state", "only instances in this state"}, {"http-tokens", "only instances with this access mode: optional or required"},
	{"http-endpoint", "only instances whose endpoint is enabled or disabled"},
}

func (f *filterFlags) flags(c *cobra.Command) {
	f.values = map[string]*string{}
	c.Flags().StringArrayVarP(&f.tags, "tag", "l", nil, "only those with this tag: KEY=VALUE, or KEY for any value; may be repeated")
	for _, n := range filterNames {
		f.values[n[0]] = c.Flags().String(n[0], "", n[1])
	}
}

func (f *filterFlags) query() url.Values {
	q := url.Values{}
	for name, value := range f.values {
		if *value != "" {
			q.Set(name, *value)
		}
	}
	if len(f.tags) > 0 {
		q["tag"] = f.tags
	}
	return q
}

func newGet() *cobra.Command {
	var client clientOptions
	var filter filterFlags
	var form string
	c := &cobra.Command{
		Use:   "get KIND [NAME…]",
		Short: "list resources, or show some of them",
		Long: `get lists the resources of a kind, or those that are named: instances, images,
keys, policies, roles, key-pairs, templates or defaults. What -o yaml and json write,
imds apply takes. alarms are listed, too, with the messages that do not arrive;
they are put with the clouds' own tools.`,
		Example:           "  imds get instances -l env=prod --http-tokens optional\n  imds get policies ec2/AdministratorAccess -o yaml",
		Args:              withKind(0, admin.AlarmsKind[:]...),
		ValidArgsFunction: completeResources(&client, admin.AlarmsKind[:]...),
		RunE: func(c *cobra.Command, args []string) error {
			kind, err := kindArg(args[0], admin.AlarmsKind[:]...)
			switch {
			case err != nil:
				return err
			case kind == admin.AlarmsKind[0]:
				return getAlarms(c, client, filter.query(), form, args[1:])
			}
			return getResources(c, client, filter.query(), form, args)
		},
	}
	client.flags(c)
	filter.flags(c)
	outputFlag(c, &form)
	return c
}

func getResources(c *cobra.Command, o clientOptions, query url.Values, form string, args []string) error {
	kind, err := kindArg(args[0])
	if err != nil {
		return err
	}
	if err := checkForm(form); err != nil {
		return err
	}
	if len(args) > 1 && len(query) > 0 {
		return usageError{fmt.Errorf("names and filters contradict each other: leave one out")}
	}
	server, err := o.open()
	if err != nil {
		return err
	}
	var items []json.RawMessage
	if len(args) > 1 {
		for _, name := range args[1:] {
			item, err := server.do(c.Context(), http.MethodGet, resourcePath(kind, name), nil, nil)
			if err != nil {
				return err
			}
			items = append(items, item)
		}
	} else if items, err = server.list(c.Context(), kind, query); err != nil {
		return err
	}
	return show(c, kind, form, items, len(args) == 2)
}

// list reads all pages of a listing.
func (c *client) list(ctx context.Context, kind string, query url.Values) ([]json.RawMessage, error) {
	q := url.Values{"limit": {"1000"}}
	for name, values := range query {
		q[name] = values
	}
	items := []json.RawMessage{}
	for {
		var page struct {
			Items []json.RawMessage
			Next  string
		}
		if err := c.into(ctx, &page, http.MethodGet, kind, q, nil); err != nil {
			return nil, err
		}
		items = append(items, page.Items...)
		if page.Next == "" {
			return items, nil
		}
		q.Set("after", page.Next)
	}
}

// show writes resources in a form; one that was named alone is not in a list.
func show(c *cobra.Command, kind, form string, items []json.RawMessage, alone bool) error {
	w := c.OutOrStdout()
	switch {
	case form == formYAML:
		for i, item := range items {
			if i > 0 {
				fmt.Fprintln(w, "---")
			}
			if err := write(w, form, item); err != nil {
				return err
			}
		}
		return nil
	case form == formJSON && alone:
		return write(w, form, items[0])
	case form == formJSON:
		data, err := json.Marshal(map[string]any{"items": items})
		if err != nil {
			return err
		}
		return write(w, form, data)
	case len(items) == 0:
		fmt.Fprintf(c.ErrOrStderr(), "there are no such %s\n", kind)
		return nil
	}
	titles, rows := []string{}, [][]string{}
	for _, col := range columns[kind] {
		titles = append(titles, col.title)
	}
	for _, item := range items {
		o, err := decode(item)
		if err != nil {
			return err
		}
		var row []string
		for _, col := range columns[kind] {
			row = append(row, col.of(o))
		}
		rows = append(rows, row)
	}
	return table(w, titles, rows)
}
