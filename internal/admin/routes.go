package admin

import (
	"net/http"
	"reflect"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"openimds/internal/control"
	"openimds/internal/instance"
	"openimds/internal/node"
	"openimds/internal/usage"
)

// routes is the table of everything that is answered here.
func routes() []route {
	all := []route{
		{method: "GET", path: "/healthz", id: "health", doc: "200 while the process runs", open: true, media: "text/plain", plain: health},
		{method: "GET", path: "/readyz", id: "ready", doc: "200 once every listener accepts, 503 before that and during the end", open: true, media: "text/plain", plain: ready},
		{
			method: "GET", path: "/metrics", id: "metrics", doc: "The metrics in the text format of Prometheus", open: true, media: "text/plain",
			plain: func(h *handler) http.Handler { return promhttp.HandlerFor(h.Metrics, promhttp.HandlerOpts{}) },
		},
		answering(route{method: "GET", path: "/v1/openapi.json", id: "describeAPI", doc: "This description"}, func(*call) (map[string]any, error) { return OpenAPI() }),
		answering(route{
			method: "GET", path: "/v1/usage", id: "getUsage", doc: "The usage of all instances, by identifier, or of one",
			params: []param{{name: "instance", doc: "identifier of the one instance whose report is the answer"}},
			outs:   []reflect.Type{reflect.TypeFor[allUsage](), reflect.TypeFor[usage.Report]()},
		}, (*call).usage),
		answering(route{
			method: "GET", path: "/v1/usage/series", id: "getUsageSeries", doc: "What an instance did in the course of time", params: seriesParams,
		}, (*call).usageSeries),
		answering(route{
			method: "GET", path: "/v1/usage/callers", id: "getUsageCallers", doc: "Who asked of an instance: programs by their user agents, those without a token first, and what they asked for",
			params: callersParams,
		}, (*call).usageCallers),
		answering(route{
			method: "GET", path: "/v1/readiness", id: "queryReadiness", doc: "Whether instances can do without normal mode, and why, or why not",
			params: readinessParams,
		}, (*call).readiness),
		findingsRoute(),
		answering(route{
			method: "GET", path: "/v1/interfaces", id: "listInterfaces", doc: "The host's interfaces that are listened on, and how often somebody forged an address there",
		}, (*call).interfaces),
		answering(route{method: "GET", path: "/v1/nodes", id: "listNodes", doc: "The nodes of the fleet: those that follow, and those that instances are assigned to"}, (*call).nodes),
		answering(route{
			method: "GET", path: "/v1/audit", id: "queryAudit", doc: "The newest records of the audit log that match, the newest first",
			params: auditParams,
		}, (*call).audit),
		{
			method: "POST", path: "/v1/apply", id: "apply",
			doc:    "Create or replace resources: all of them in one commit, or none. 500 at most",
			params: []param{{name: "dryRun", doc: "check everything and change nothing", words: []string{"true", "false"}}},
			in:     reflect.TypeFor[applyBody](), outs: []reflect.Type{reflect.TypeFor[Applied]()}, serve: func(c *call) (any, error) { return c.apply() },
		},
		taking(route{
			method: "PATCH", path: "/v1/instances/{id}/metadata-options", id: "setOptions",
			doc: "Change metadata options of one instance. What is left out stays. In force when the answer comes",
		}, (*call).setOptions),
		taking(route{
			method: "PATCH", path: "/v1/metadata-options", id: "setOptionsOfMany",
			doc: "Change metadata options of many instances, each by itself: the answer has a result for each",
		}, (*call).setOptionsOfMany),
		taking(route{
			method: "POST", path: "/v1/events", id: "announceEvent",
			doc: "Put an event before instances. Their metadata shows it when the answer comes",
		}, (*call).announce),
		answering(route{method: "GET", path: "/v1/events", id: "listEvents", doc: "The events of instances, past maintenance included", params: eventParams}, (*call).events),
		answering(route{
			method: "DELETE", path: "/v1/events", id: "clearEvents", doc: "Take events away; the answer is those that were",
			params: append([]param{
				{name: "all", doc: "those of all instances", words: []string{"true"}},
				{name: "as", doc: "leave maintenance in the history, as this", words: []string{instance.EventCompleted, instance.EventCanceled}},
			}, eventParams...),
		}, (*call).clearEvents),
		revokeRoute(),
		certificatesRoute(),
		backupRoute(),
	}
	all = append(all, hardenRoutes()...)
	all = append(all, alarmRoutes()...)
	for _, k := range kinds() {
		all = append(all, k.routes()...)
	}
	return all
}

// filterParams are the parameters that listings may have.
var filterParams = map[string]param{
	"dialect":       {name: "dialect", doc: "of this dialect", words: []string{"ecs", "ec2"}},
	"account":       {name: "account", doc: "of this account"},
	"region":        {name: "region", doc: "of this region"},
	"tag":           {name: "tag", doc: "with this tag: KEY=VALUE, or KEY for any value; each of them if given more than once", many: true},
	"state":         {name: "state", doc: "in this state", words: []string{"running", "pending", "stopping", "stopped", "shutting-down", "terminated"}},
	"http-tokens":   {name: "http-tokens", doc: "with this access mode", words: []string{instance.Optional, instance.Required}},
	"http-endpoint": {name: "http-endpoint", doc: "with an endpoint that is so", words: []string{instance.Enabled, instance.Disabled}},
}

// routes of one kind: list, get, put, delete.
func (k *kind) routes() []route {
	one, many := title(k.singular), title(string(k.Kind))
	path := "/v1/" + k.path()
	params := []param{{name: "limit", doc: "how many at most, 1 to 1000; 100 if it is not given"}, {name: "after", doc: "names up to and including this one are left out: the `next` of the page before"}}
	for _, name := range k.filters {
		params = append(params, filterParams[name])
	}
	page := reflect.StructOf([]reflect.StructField{
		{Name: "Items", Type: reflect.SliceOf(k.typ), Tag: `json:"items"`},
		{Name: "Next", Type: reflect.TypeFor[string](), Tag: `json:"next,omitempty"`},
	})
	document := []reflect.Type{k.typ}
	return []route{
		{method: "GET", path: "/v1/" + string(k.Kind), id: "list" + many, doc: k.doc + ": those that match, by name", params: params, outs: []reflect.Type{page}, serve: func(c *call) (any, error) { return c.list(k) }},
		{method: "GET", path: path, id: "get" + one, doc: k.doc, outs: document, serve: func(c *call) (any, error) { return c.get(k) }},
		{method: "PUT", path: path, id: "put" + one, doc: k.doc + ": create (201) or replace it (200); the answer is what is stored", in: k.typ, outs: document, serve: func(c *call) (any, error) { return c.put(k) }},
		{method: "DELETE", path: path, id: "delete" + one, doc: k.doc + ": forget it", outs: []reflect.Type{reflect.TypeFor[Deleted]()}, serve: func(c *call) (any, error) { return c.remove(k) }},
	}
}

// title writes key-pairs as KeyPairs.
func title(s string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(s, "-") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

func health(*handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
}

func ready(h *handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !h.Ready() {
			text(w, http.StatusServiceUnavailable, "not ready")
			return
		}
		text(w, http.StatusOK, "ready")
	})
}

// allUsage is the answer when no instance was named.
type allUsage struct {
	// A report for every instance, by identifier.
	Usage []usage.Report `json:"usage"`
}

// allInterfaces is what is known of the host's interfaces.
type allInterfaces struct {
	// A report for every interface that is listened on, in order.
	Interfaces []node.InterfaceReport `json:"interfaces"`
}

func (c *call) interfaces() (allInterfaces, error) { return allInterfaces{c.Node.Interfaces()}, nil }

func (c *call) usage() (any, error) {
	if !c.query.Has("instance") {
		return allUsage{c.Node.Usages()}, nil
	}
	return c.Node.Usage(c.query.Get("instance"))
}

var eventParams = []param{
	{name: "instance", doc: "of this instance; of each of them if given more than once", many: true},
	{name: "tag", doc: "of instances with this tag: KEY=VALUE, or KEY for any value", many: true},
	{name: "dialect", doc: "of instances of this dialect", words: []string{"ecs", "ec2"}},
	{name: "type", doc: "of this type", words: control.EventTypes()},
	{name: "id", doc: "the one with this identifier"},
}
