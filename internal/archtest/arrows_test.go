// Package archtest holds the tests that guard the shape of the whole
// repository: which package may import which, what the data plane must not
// link, that every package says what it is for, and that no test can reach a
// real metadata service. It has no code of its own.
package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "openimds"

// root is the top of the repository, seen from this package.
const root = "../.."

// layers are the packages from the top down. A package imports packages of
// lower layers only, and what its row names of its own layer. Whoever adds a
// package adds it here, and with it says where it belongs; what the design
// names and nobody has written yet stands here already.
var layers = []layer{
	{"programs, and the public package for tests", rows{
		"cmd/imds":       {modules: []string{cobra, "github.com/spf13/pflag", "golang.org/x/sys"}},
		"cmd/imds-node":  {},
		"cmd/imds-trace": {modules: []string{cobra, "github.com/spf13/pflag", "golang.org/x/sys"}},
		"bench/boot":     {also: []string{"bench/section"}, modules: []string{"golang.org/x/sys"}},
		"bench/section":  {},
		"bench/compare":  {modules: []string{"golang.org/x/sys"}},
		"bench/floor":    {modules: []string{"golang.org/x/sys"}},
		"bench/load":     {modules: []string{"golang.org/x/sys"}},
		"bench/trace":    {modules: []string{"golang.org/x/sys"}},
		"bench/restart":  {also: []string{"bench/section"}},
		"bench/follow":   {},
		"bench/series":   {},
		"imdstest":       {},
	}},
	{"what people and their tools talk to", rows{
		"internal/admin":                  {modules: []string{prometheus}},
		"internal/telemetry":              {},
		"internal/telemetry/registry":     {also: []string{"internal/telemetry"}, modules: []string{prometheus}},
		"internal/api/ec2query":           {},
		"internal/api/ecsrpc":             {},
		"internal/api/sts":                {},
		"internal/api/monitor/cloudwatch": {modules: []string{"github.com/aws/smithy-go"}}, // its CBOR, which has no further packages
		"internal/api/monitor/cms":        {},
		"internal/console":                {},
	}},
	{"the data plane, the control plane", rows{
		"internal/node":             {},
		"internal/control":          {},
		"internal/alarm/deliver":    {},
		"internal/feed/hub":         {},
		"internal/usage/meter":      {also: []string{"internal/node"}},
		"internal/usage/ledger":     {},
		"internal/readiness/survey": {also: []string{"internal/usage/ledger"}},
		"internal/api":              {},
	}},
	{"dialects, state, configuration, counters", rows{
		"internal/dialect/ecs":     {},
		"internal/dialect/ec2":     {},
		"internal/config":          {modules: []string{yaml}},
		"internal/usage":           {},
		"internal/usage/series":    {also: []string{"internal/usage"}},
		"internal/usage/history":   {also: []string{"internal/usage", "internal/usage/series"}, modules: []string{"go.etcd.io/bbolt"}},
		"internal/usage/remote":    {also: []string{"internal/usage/series", "internal/usage/history"}, modules: []string{"github.com/klauspost/compress", "google.golang.org/protobuf"}},
		"internal/metric":          {also: []string{"internal/usage/series"}},
		"internal/creds":           {},
		"internal/creds/awssts":    {also: []string{"internal/creds"}, modules: []string{"github.com/aws/aws-sdk-go-v2", "github.com/aws/aws-sdk-go-v2/credentials", "github.com/aws/aws-sdk-go-v2/service/sts", "github.com/aws/smithy-go"}},
		"internal/creds/alists":    {also: []string{"internal/creds"}},
		"internal/creds/command":   {also: []string{"internal/creds"}},
		"internal/docsign":         {},
		"internal/feed":            {},
		"internal/state":           {},
		"internal/store/memstore":  {},
		"internal/store/boltstore": {modules: []string{"go.etcd.io/bbolt"}},
		"internal/store/etcdstore": {modules: []string{"go.etcd.io/etcd/client/v3"}},
	}},
	{"what dialects share, what stores share", rows{
		"internal/dialect":         {},
		"internal/session":         {},
		"internal/store/fanout":    {},
		"internal/store/storetest": {modules: []string{"pgregory.net/rapid"}}, // imported by tests alone
	}},
	{"the tracer", rows{
		"internal/trace": {},
	}},
	{"parts of the tracer", rows{
		"internal/trace/engine": {modules: []string{"golang.org/x/sys", "github.com/cilium/ebpf"}},
		"internal/trace/procs":  {modules: []string{"golang.org/x/sys"}},
		"internal/trace/sink":   {},
		"internal/trace/tally":  {},
	}},
	{"mechanisms, each by itself", rows{
		"internal/trace/confine": {modules: []string{"golang.org/x/sys"}},
		"internal/trace/record":  {},
		"internal/trace/redact":  {},
		"internal/trace/stream":  {},
		"internal/item":          {},
		"internal/token":         {},
		"internal/throttle":      {},
		"internal/identify":      {},
		"internal/wire":          {modules: []string{"golang.org/x/sys"}},
		"internal/netenv":        {modules: []string{"golang.org/x/sys", "github.com/vishvananda/netlink", "github.com/google/nftables"}},
		"internal/proxy":         {},
		"internal/policy":        {},
		"internal/alarm":         {},
		"internal/store":         {},
		"internal/seal":          {},
		"internal/pki":           {},
		"internal/readiness":     {},
		"internal/handover":      {},
		"internal/systemd":       {},
		"internal/audit":         {},
		"internal/api/sigv4":     {},
		"internal/api/alisign":   {},
	}},
	{"the domain", rows{
		"internal/instance":      {},
		"internal/fault":         {},
		"internal/trace/finding": {}, // what tracers report, which the control plane reads
		"identity":               {}, // public: for verifiers, which run elsewhere
	}},
}

// apart are packages that only tests import. They stand beside the layers and
// import none of them.
var apart = rows{
	"internal/testnet":  {modules: []string{"golang.org/x/sys"}},
	"internal/archtest": {},
}

const (
	cobra      = "github.com/spf13/cobra"
	prometheus = "github.com/prometheus/client_golang"
	yaml       = "go.yaml.in/yaml/v3"
)

type layer struct {
	about string
	rows  rows
}

type rows map[string]row

type row struct {
	also    []string // packages of the same layer
	modules []string // modules of others
}

// forbidden are packages that must not be linked into others, not even through
// a third package.
var forbidden = []struct {
	into   []string
	what   []string // import paths; what lies below them is meant too
	reason string
}{
	{
		into:   []string{"internal/node", "cmd/imds-node"},
		what:   []string{"github.com/aws", "github.com/aliyun", "github.com/denverdino", "github.com/AliyunContainerService"},
		reason: "a node runs on every host: cloud SDKs are large, and serve the control plane and tests only",
	},
	{
		into:   []string{"internal/node", "cmd/imds-node"},
		what:   []string{"database/sql", "go.etcd.io", "github.com/mattn/go-sqlite3", "modernc.org/sqlite"},
		reason: "a node serves from memory and from its last-good file; the store belongs to the control plane",
	},
	{
		into:   []string{"internal/node", "cmd/imds-node"},
		what:   []string{"html/template", "text/template"},
		reason: "answers are appended to buffers; a template engine costs allocations, and method reachability makes the binary large",
	},
	{
		into:   []string{"internal/node", "cmd/imds-node"},
		what:   []string{prometheus, "github.com/prometheus"},
		reason: "the data plane counts in its own atomics; what scrapes them is above it",
	},
	{
		into:   []string{"internal/wire", "internal/item", "internal/token", "internal/throttle", "internal/identify"},
		what:   []string{"net/http"},
		reason: "tenants are served by our own strict reader, and mechanisms know no protocol",
	},
	{
		into:   []string{"internal/wire", "internal/item", "internal/token", "internal/throttle", "internal/instance", "internal/fault"},
		what:   []string{"os/exec", "plugin", "net/rpc"},
		reason: "nothing that a tenant's bytes pass through starts a program",
	},
	{
		into:   []string{"cmd/imds-node"},
		what:   []string{"internal/state", "internal/store", "internal/control", "internal/seal", "internal/docsign", "internal/admin", "internal/feed/hub"},
		reason: "a host of a fleet holds no state but that of its own instances, and no keys but those derived for them",
	},
	{
		into:   []string{"imdstest", "internal/creds", "internal/control"},
		what:   []string{"github.com/aws", "github.com/aliyun", "github.com/denverdino", "github.com/AliyunContainerService"},
		reason: "cloud SDKs are the oracles of tests; users of the test package do not pay for them",
	},
	{
		into: []string{"cmd/imds"},
		what: []string{
			"github.com/aliyun", "github.com/denverdino", "github.com/AliyunContainerService",
			"github.com/aws/aws-sdk-go-v2/config", "github.com/aws/aws-sdk-go-v2/feature", "github.com/aws/aws-sdk-go-v2/service/ec2", "github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds",
		},
		reason: "the one source of role credentials that assumes roles upstream needs AWS's STS client, and nothing that looks for a metadata service by itself",
	},
	{
		into:   []string{"cmd/imds"},
		what:   []string{"testing", "internal/testnet", "net/http/pprof"},
		reason: "test code registers flags, and profiling handlers register themselves on the default mux",
	},
}

// listed is what `go list -json` says of a package.
type listed struct {
	ImportPath   string
	Standard     bool
	Module       *struct{ Path string }
	GoFiles      []string
	Imports      []string
	Deps         []string
	TestImports  []string
	XTestImports []string
}

// name is the path inside the module.
func (l listed) name() string { return strings.TrimPrefix(l.ImportPath, module+"/") }

// list returns every package that ours depend on, by import path.
func list(t *testing.T) map[string]listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Module,GoFiles,Imports,Deps,TestImports,XTestImports", "./...")
	cmd.Dir = root
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, problems.String())
	}
	all := map[string]listed{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var l listed
		if err := d.Decode(&l); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[l.ImportPath] = l
	}
}

// place finds a package's layer; test support has none.
func place(name string) (height int, r row, known bool) {
	for i, l := range layers {
		if r, ok := l.rows[name]; ok {
			return i, r, true
		}
	}
	r, known = apart[name]
	return -1, r, known
}

func TestArrowsPointDown(t *testing.T) {
	all := list(t)
	for _, path := range slices.Sorted(maps.Keys(all)) {
		p := all[path]
		if p.Module == nil || p.Module.Path != module {
			continue
		}
		height, r, known := place(p.name())
		if !known {
			t.Errorf("%s is in no layer: add it to the table in arrows_test.go", p.name())
			continue
		}
		for _, imported := range p.Imports {
			i := all[imported]
			switch {
			case i.Standard, imported == "C", imported == "unsafe":
			case i.Module.Path != module:
				if !slices.Contains(r.modules, i.Module.Path) {
					t.Errorf("%s imports %s: it may use of other modules only %q", p.name(), imported, r.modules)
				}
			default:
				if problem := arrow(height, r, i.name()); problem != "" {
					t.Errorf("%s imports %s: %s", p.name(), i.name(), problem)
				}
			}
		}
	}
}

// arrow tells what is wrong with an import of to by a package at height.
func arrow(height int, r row, to string) string {
	below, _, known := place(to)
	switch {
	case !known:
		return "" // reported by itself
	case height < 0:
		return "what serves tests imports nothing of what it tests"
	case below < 0:
		return "it is for tests only"
	case below > height:
		return ""
	case below == height && slices.Contains(r.also, to):
		return ""
	case below == height:
		return "siblings do not know each other (" + layers[height].about + ")"
	default:
		return "arrows point down, and \"" + layers[below].about + "\" is above \"" + layers[height].about + "\""
	}
}

func TestPackagesStandInOneLayer(t *testing.T) {
	seen := map[string]bool{}
	tables := []rows{apart}
	for _, l := range layers {
		tables = append(tables, l.rows)
	}
	for _, rows := range tables {
		for name := range rows {
			if seen[name] {
				t.Errorf("%s stands in the table twice", name)
			}
			seen[name] = true
		}
	}
}

func TestForbiddenDependencies(t *testing.T) {
	all := list(t)
	for _, f := range forbidden {
		for _, into := range f.into {
			p, ok := all[module+"/"+into]
			if !ok {
				t.Errorf("the table names %s, which does not exist", into)
				continue
			}
			for _, dep := range p.Deps {
				name := strings.TrimPrefix(dep, module+"/")
				if slices.ContainsFunc(f.what, func(w string) bool { return name == w || strings.HasPrefix(name, w+"/") }) {
					t.Errorf("%s links %s: %s\nimport chain: %s", into, dep, f.reason, chain(all, p.ImportPath, dep))
				}
			}
		}
	}
}

// mostNodeModules is how many modules imds-node may link, this one included:
// it runs on every host, with privileges, and each of them is one more to trust.
const mostNodeModules = 8

func TestNodeLinksFewModules(t *testing.T) {
	all := list(t)
	p, ok := all[module+"/cmd/imds-node"]
	if !ok {
		t.Fatal("there is no cmd/imds-node")
	}
	modules := map[string]bool{module: true}
	for _, dep := range p.Deps {
		if m := all[dep].Module; m != nil {
			modules[m.Path] = true
		}
	}
	if len(modules) > mostNodeModules {
		t.Errorf("imds-node links %d modules, want at most %d: %q", len(modules), mostNodeModules, slices.Sorted(maps.Keys(modules)))
	}
	if len(modules) < 3 {
		t.Errorf("imds-node links %d modules: the test counts wrongly", len(modules))
	}
}

// chain is a shortest import chain between two packages, for the message.
func chain(all map[string]listed, from, to string) string {
	before := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at == to {
			var path []string
			for ; at != ""; at = before[at] {
				path = append(path, at)
			}
			slices.Reverse(path)
			return strings.Join(path, " → ")
		}
		for _, next := range all[at].Imports {
			if _, seen := before[next]; !seen {
				before[next] = at
				queue = append(queue, next)
			}
		}
	}
	return "not found"
}

func TestArrowRefuses(t *testing.T) {
	node, _, _ := place("internal/node")
	ecs, ecsRow, _ := place("internal/dialect/ecs")
	for _, c := range []struct {
		height int
		row    row
		to     string
		ok     bool
	}{
		{node, row{}, "internal/dialect/ecs", true},
		{node, row{}, "internal/fault", true},
		{ecs, ecsRow, "internal/dialect", true},
		{ecs, ecsRow, "internal/dialect/ec2", false},
		{ecs, row{also: []string{"internal/dialect/ec2"}}, "internal/dialect/ec2", true},
		{ecs, ecsRow, "internal/node", false},
		{ecs, ecsRow, "internal/testnet", false},
		{-1, row{}, "internal/fault", false},
	} {
		if problem := arrow(c.height, c.row, c.to); (problem == "") != c.ok {
			t.Errorf("from layer %d to %s: %q", c.height, c.to, problem)
		}
	}
}
