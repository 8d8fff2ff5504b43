//go:build linux

package main

import (
	"slices"
	"strings"
)

// Names of servers.
const (
	openimds      = "openimds"
	throttled     = "openimds, throttled" // a second process of it, whose every instance may send one request a second
	nginx         = "nginx"
	nginxDeferred = "nginx, deferred"
	floor         = "floor"
)

// latencyServers are measured at a fixed rate.
var latencyServers = []string{nginx, openimds}

// test is a kind of request.
type test struct {
	name    string
	dialect *dialect
	method  string
	path    string
	headers []string
	token   bool
	fresh   bool   // a new connection for each request
	source  string // address that it comes from; 127.0.0.1 if empty
	status  int    // of the answer
	body    string // of the answer, unless empty
	latency bool   // is measured at a fixed rate, too
	servers []string
	goals   []goal
}

// goal is an upper bound on what a server's CPU may cost, as a multiple of
// another's, or of another test's on the same server.
type goal struct {
	id     string // of the table of targets
	server string
	base   key
	most   float64 // 0: for information
}

// dialect is what tests need to know of one.
type dialect struct {
	name, title string
	host        string
	id          string // of the first sample instance
	ttl, token  string // headers, up to their value
	refused     int    // status where a token lacks
	tooFast     int    // status over the rate
	keep        []string
}

var dialects = []*dialect{
	{
		name: "ec2", title: "EC2", host: "169.254.169.254", id: "i-0a1b2c3d4e5f60001",
		ttl: "X-aws-ec2-metadata-token-ttl-seconds: ", token: "X-aws-ec2-metadata-token: ",
		refused: 401, tooFast: 503,
		keep: []string{"Connection: keep-alive"}, // closes without it
	},
	{
		name: "ecs", title: "ECS", host: "100.100.100.200", id: "i-bp1imdssample0000001",
		ttl: "X-aliyun-ecs-metadata-token-ttl-seconds: ", token: "X-aliyun-ecs-metadata-token: ",
		refused: 403, tooFast: 429,
	},
}

// Paths, which the dialects have in common.
const (
	itemPath  = "/latest/meta-data/instance-id"
	tokenPath = "/latest/api/token"
	tokenTTL  = "21600"
)

// Targets: a GET against nginx, and other answers against a GET.
const (
	mostKept      = 0.95
	mostNew       = 0.55
	mostPut       = 1.1
	mostRefused   = 1.0
	mostThrottled = 0.9
	mostLatency   = 1.1
)

// tests returns the table of tests.
func tests() []test {
	var all []test
	for _, d := range dialects {
		for _, fresh := range []bool{false, true} {
			conn, most, id, headers := ", kept alive", mostKept, "P1", d.keep
			if fresh {
				conn, most, id, headers = ", new connection", mostNew, "P2", []string{"Connection: close"}
			}
			base := test{dialect: d, method: "GET", path: itemPath, headers: headers, fresh: fresh}

			get := base
			get.name = d.title + " GET" + conn
			get.token, get.status, get.body, get.latency = true, 200, d.id, true
			get.servers = []string{nginx, openimds}
			get.goals = []goal{{id, openimds, key{get.name, nginx}, most}}
			if d.name == "ec2" {
				get.servers = append(get.servers, floor)
				get.goals = append(get.goals, goal{"", floor, key{get.name, nginx}, 0})
				if fresh {
					get.servers = append(get.servers, nginxDeferred)
					get.goals = append(get.goals, goal{"", nginxDeferred, key{get.name, nginx}, 0})
				}
			}

			put := base
			put.name = d.title + " PUT of a token" + conn
			put.method, put.path, put.status = "PUT", tokenPath, 200
			put.headers = append(slices.Clone(headers), d.ttl+tokenTTL)
			put.servers = []string{openimds}
			put.goals = []goal{{"P3", openimds, key{get.name, openimds}, mostPut}}

			refused := base
			refused.name = d.title + " refused, no token" + conn
			refused.source, refused.status = "127.0.0.2", d.refused
			refused.servers = []string{openimds}
			refused.goals = []goal{{"P3", openimds, key{get.name, openimds}, mostRefused}}

			fast := base
			fast.name = d.title + " throttled" + conn
			fast.token, fast.status = true, d.tooFast
			fast.servers = []string{throttled}
			fast.goals = []goal{{"P3", throttled, key{get.name, openimds}, mostThrottled}}

			all = append(all, get, put, refused, fast)
		}
	}
	return all
}

// pick returns the tests whose name has part in it, and those that they are
// compared with.
func pick(all []test, part string) []test {
	want := map[string]bool{}
	for _, t := range all {
		if strings.Contains(t.name, part) {
			want[t.name] = true
			for _, g := range t.goals {
				want[g.base.test] = true
			}
		}
	}
	return slices.DeleteFunc(all, func(t test) bool { return !want[t.name] })
}
