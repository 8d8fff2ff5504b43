package node

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"openimds/internal/config"
	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/testnet"
	"openimds/internal/throttle"
	"openimds/internal/token"
	"openimds/internal/usage"
	"openimds/internal/wire"
)

// bed is a node with the sample instances and without a network: requests are
// handed to the pipeline as bytes.
type bed struct {
	t    testing.TB
	node *Node
	ends map[string]*Endpoint
	now  time.Time
	log  bytes.Buffer
}

func newBed(t testing.TB, change func(*Config)) *bed {
	t.Helper()
	b := &bed{t: t, now: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC), ends: map[string]*Endpoint{}}
	s, err := token.NewSecrets(b.now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Ring: token.NewRing(s), Loopback: true, Now: func() time.Time { return b.now },
		Logger: testnet.Logger(&b.log, nil),
	}
	if change != nil {
		change(&cfg)
	}
	b.node = New(cfg)
	b.set(config.Samples())
	for _, d := range Dialects() {
		e, err := b.node.Listen(t.Context(), Listener{Dialect: d.Name, Address: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		b.ends[d.Name] = e
	}
	return b
}

func (b *bed) set(instances []*instance.Instance) {
	b.t.Helper()
	if err := b.node.Set(instances); err != nil {
		b.t.Fatal(err)
	}
}

// exchange makes the exchange of one request from an address, over a
// connection to a local address.
func (b *bed) exchange(dialect, from, to, request string) *wire.Exchange {
	x := &wire.Exchange{Conn: &wire.Conn{
		Peer:     netip.AddrPortFrom(netip.MustParseAddr(from), 40000),
		Local:    netip.AddrPortFrom(netip.MustParseAddr(to), 80),
		Listener: b.ends[dialect].e,
	}}
	n, status := x.Request.Parse([]byte(request))
	if n == 0 && status == 0 {
		b.t.Fatalf("%q is not a whole request", request)
	}
	x.Malformed = status
	return x
}

// ask sends one request from a loopback address: its first line and headers.
func (b *bed) ask(dialect, from string, lines ...string) (*http.Response, string) {
	b.t.Helper()
	x := b.exchange(dialect, from, "127.0.0.1", strings.Join(lines, "\r\n")+"\r\n\r\n")
	pipeline{b.node}.Serve(x)
	return b.read(x, strings.HasPrefix(lines[0], "HEAD"))
}

func (b *bed) read(x *wire.Exchange, head bool) (*http.Response, string) {
	b.t.Helper()
	method := "GET"
	if head {
		method = "HEAD"
	}
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(x.Out)), &http.Request{Method: method})
	if err != nil {
		b.t.Fatalf("%q is not an answer: %v", x.Out, err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return r, string(body)
}

const (
	ec2Host  = "Host: 169.254.169.254"
	ecsHost  = "Host: 100.100.100.200"
	ec2Token = "X-aws-ec2-metadata-token"
	getID    = "GET /latest/meta-data/instance-id HTTP/1.1"
	putToken = "PUT /latest/api/token HTTP/1.1"
)

func (b *bed) mint(from string) string {
	b.t.Helper()
	r, body := b.ask("ec2", from, putToken, ec2Host, ec2Token+"-ttl-seconds: 60")
	if r.StatusCode != 200 || len(body) != token.Length {
		b.t.Fatalf("no token: %s", r.Status)
	}
	return body
}

// A change is in force for the very next request, tokens included (SEC-65);
// only a running instance is answered (ECS-ADDR-04).
func TestSet(t *testing.T) {
	b := newBed(t, nil)
	good := ec2Token + ": " + b.mint("127.0.0.1")
	status := func(want int, lines ...string) {
		t.Helper()
		if r, _ := b.ask("ec2", "127.0.0.1", append([]string{getID, ec2Host}, lines...)...); r.StatusCode != want {
			t.Errorf("%v: %d, want %d", lines != nil, r.StatusCode, want)
		}
	}
	status(200)
	change := func(f func(*instance.Instance)) {
		t.Helper()
		all := config.Samples()
		for _, in := range all {
			if in.Dialect == "ec2" && in.Sources[0] == netip.MustParseAddr("127.0.0.1") {
				f(in)
			}
		}
		b.set(all)
	}
	change(func(in *instance.Instance) { in.Metadata.HTTPTokens = instance.Required })
	status(401)
	status(200, good)
	change(func(in *instance.Instance) { in.Generation++ })
	status(401, good)
	change(func(in *instance.Instance) { in.Metadata.HTTPEndpoint = instance.Disabled })
	status(403)
	change(func(in *instance.Instance) { in.State = "stopped" })
	status(404)
	change(func(*instance.Instance) {})
	status(200, good)
}

func TestUpdate(t *testing.T) {
	b := newBed(t, nil)
	var in *instance.Instance
	for _, s := range config.Samples() {
		if s.Dialect == "ec2" && s.Sources[0] == netip.MustParseAddr("127.0.0.1") {
			in = s
		}
	}
	update := func(put []*instance.Instance, removed ...string) {
		t.Helper()
		if err := b.node.Update(put, removed); err != nil {
			t.Fatal(err)
		}
	}
	status := func(from string, want int) {
		t.Helper()
		if r, _ := b.ask("ec2", from, getID, ec2Host); r.StatusCode != want {
			t.Errorf("from %s: %s, want %d", from, r.Status, want)
		}
	}
	required := *in
	required.Metadata.HTTPTokens = instance.Required
	update([]*instance.Instance{&required})
	status("127.0.0.1", 401)
	moved := *in
	moved.Sources = []netip.Addr{netip.MustParseAddr("127.0.0.50")}
	update([]*instance.Instance{&moved})
	status("127.0.0.1", 404)
	status("127.0.0.50", 200)
	more := *in
	more.ID = "i-more"
	update([]*instance.Instance{&more})
	status("127.0.0.1", 200)
	status("127.0.0.2", 401)
	clash := *in
	clash.ID = "i-clash"
	if err := b.node.Update([]*instance.Instance{&clash}, nil); fault.KindOf(err) != fault.Conflict {
		t.Errorf("an address that is taken: %v", err)
	}
	update(nil, "i-more")
	status("127.0.0.1", 404)
	if _, err := b.node.Usage("i-more"); err == nil {
		t.Error("a removed instance is still there")
	}
}

func TestSetRefused(t *testing.T) {
	b := newBed(t, nil)
	all := config.Samples()
	all[0].Sources = append(all[0].Sources, netip.MustParseAddr("127.0.0.2"))
	err := b.node.Set(all)
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "127.0.0.2") {
		t.Errorf("two instances with one address: %v", err)
	}
	if err := b.node.Set(append(config.Samples(), config.Samples()[0])); fault.KindOf(err) != fault.Conflict {
		t.Errorf("one instance twice: %v", err)
	}
	all = config.Samples()
	all[0].Dialect = "gce"
	if err := b.node.Set(all); fault.KindOf(err) != fault.Invalid {
		t.Errorf("unknown dialect: %v", err)
	}
	if r, _ := b.ask("ec2", "127.0.0.1", getID, ec2Host); r.StatusCode != 200 {
		t.Errorf("after refused changes: %s", r.Status)
	}
}

func TestUsage(t *testing.T) {
	b := newBed(t, func(c *Config) { c.Throttle = throttle.Policy{Interval: time.Hour, Burst: 9} })
	tok := ec2Token + ": " + b.mint("127.0.0.1")
	b.ask("ec2", "127.0.0.1", getID, ec2Host)                            // served
	b.ask("ec2", "127.0.0.1", "GET /latest/none HTTP/1.1", ec2Host)      // absent
	b.ask("ec2", "127.0.0.1", getID, ec2Host, tok)                       // tokened
	b.ask("ec2", "127.0.0.1", "GET /latest/none HTTP/1.1", ec2Host, tok) // tokened, absent
	b.ask("ec2", "127.0.0.1", getID, ec2Host, tok+"x")                   // bad token
	b.ask("ec2", "127.0.0.1", getID, "Host: example.com")                // refused, before the throttle
	for range 4 {
		b.ask("ec2", "127.0.0.1", getID, ec2Host) // three served, one throttled
	}
	b.ask("ec2", "127.0.0.2", getID, ec2Host) // rejected
	id := func(from string) string {
		t.Helper()
		for _, in := range config.Samples() {
			if in.Dialect == "ec2" && in.Sources[0] == netip.MustParseAddr(from) {
				return in.ID
			}
		}
		t.Fatal("no sample calls from " + from)
		return ""
	}
	got, err := b.node.Usage(id("127.0.0.1"))
	want := usage.Report{
		Instance: id("127.0.0.1"), Dialect: "ec2", TokenFreeServed: 4, TokenFreeAbsent: 1, TokenedServed: 1, TokenedAbsent: 1,
		BadToken: 1, TokensMinted: 1, Throttled: 1, Refused: 1, LastRequest: b.now, LastTokenFree: b.now,
	}
	if err != nil || got != want {
		t.Errorf("usage %+v (%v)\nwant  %+v", got, err, want)
	}
	if got, _ := b.node.Usage(id("127.0.0.2")); got.TokenFreeRejected != 1 || got.TokenFreeServed != 0 { // SEC-01
		t.Errorf("usage of an instance that requires tokens: %+v", got)
	}
	if all := b.node.Usages(); len(all) != len(config.Samples()) {
		t.Errorf("%d reports for %d instances", len(all), len(config.Samples()))
	}
	if _, err := b.node.Usage("i-none"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("usage of nobody: %v", err)
	}
	// An instance keeps its counters when it changes, and loses them when it goes.
	b.set(config.Samples())
	if again, _ := b.node.Usage(id("127.0.0.1")); again != want {
		t.Errorf("after a change: %+v", again)
	}
	b.set(nil)
	if len(b.node.Usages()) != 0 {
		t.Error("an instance that went is still reported")
	}
	total := uint64(0)
	b.node.Totals(func(c usage.Total) {
		if strings.Contains(c.Item, "none/") || strings.Contains(c.Item, "i-") {
			t.Errorf("label %q is a path that was asked for", c.Item)
		}
		total += c.Count
	})
	if total != 12 {
		t.Errorf("%d requests in total, want 12", total)
	}
}

// EC2-THR-02, SEC-O5: the limit is per instance.
func TestThrottle(t *testing.T) {
	for dialect, tc := range map[string]struct {
		host   string
		status int
	}{"ec2": {ec2Host, 503}, "ecs": {ecsHost, 429}} {
		b := newBed(t, func(c *Config) { c.Throttle = throttle.PerSecond(0.5, 2) })
		for range 2 {
			if r, _ := b.ask(dialect, "127.0.0.1", getID, tc.host); r.StatusCode != 200 {
				t.Errorf("%s: within the burst: %s", dialect, r.Status)
			}
		}
		r, _ := b.ask(dialect, "127.0.0.1", getID, tc.host)
		if r.StatusCode != tc.status || r.Header.Get("Retry-After") != "2" {
			t.Errorf("%s: %s, Retry-After %q", dialect, r.Status, r.Header.Get("Retry-After"))
		}
		if r, _ := b.ask(dialect, "127.0.0.2", getID, tc.host); r.StatusCode == tc.status {
			t.Errorf("%s: another instance is throttled, too", dialect)
		}
		b.now = b.now.Add(2 * time.Second)
		if r, _ := b.ask(dialect, "127.0.0.1", getID, tc.host); r.StatusCode != 200 {
			t.Errorf("%s: after the wait: %s", dialect, r.Status)
		}
	}
}

// SEC-07, SEC-08: what the security contract leaves to choose.
func TestForwardingOptions(t *testing.T) {
	b := newBed(t, func(c *Config) {
		c.StrictForwarding = true
		c.ForwardedReads = map[string]bool{"ec2": true, "ecs": false}
	})
	for _, h := range []string{"Forwarded: for=1", "X-Forwarded-Host: a", "X-Forwarded-Proto: http", "X-Real-IP: 1.1.1.1", "Via: 1.1 a", "True-Client-IP: 1"} {
		if r, _ := b.ask("ec2", "127.0.0.1", putToken, ec2Host, ec2Token+"-ttl-seconds: 60", h); r.StatusCode != 403 {
			t.Errorf("strict, %s: %s", h, r.Status)
		}
	}
	tok := ec2Token + ": " + b.mint("127.0.0.1")
	if r, _ := b.ask("ec2", "127.0.0.1", getID, ec2Host, tok, "X-Forwarded-For: 1"); r.StatusCode != 200 {
		t.Errorf("EC2 reads allowed: %s", r.Status)
	}
	_, ecs := b.ask("ecs", "127.0.0.1", putToken, ecsHost, "X-aliyun-ecs-metadata-token-ttl-seconds: 60")
	if r, _ := b.ask("ecs", "127.0.0.1", getID, ecsHost, "X-aliyun-ecs-metadata-token: "+ecs, "X-Forwarded-For: 1"); r.StatusCode != 403 {
		t.Errorf("ECS reads refused: %s", r.Status)
	}
}

// SEC-60: the hop limit is the instance's, and the token's answer's alone.
func TestHopLimit(t *testing.T) {
	b := newBed(t, nil)
	all := config.Samples()
	want := map[string]int{"ec2": 1, "ecs": 0}
	for _, in := range all {
		in.Metadata.HTTPPutResponseHopLimit = 0
		if in.Dialect == "ec2" && in.Sources[0] == netip.MustParseAddr("127.0.0.2") {
			in.Metadata.HTTPPutResponseHopLimit = 5
		}
	}
	b.set(all)
	put := func(dialect, from, host, header string) int {
		x := b.exchange(dialect, from, "127.0.0.1", putToken+"\r\n"+host+"\r\n"+header+"-ttl-seconds: 60\r\n\r\n")
		pipeline{b.node}.Serve(x)
		return x.HopLimit
	}
	if got := put("ec2", "127.0.0.1", ec2Host, ec2Token); got != want["ec2"] {
		t.Errorf("EC2 default: %d", got)
	}
	if got := put("ecs", "127.0.0.1", ecsHost, "X-aliyun-ecs-metadata-token"); got != want["ecs"] {
		t.Errorf("ECS default: %d", got)
	}
	if got := put("ec2", "127.0.0.2", ec2Host, ec2Token); got != 5 {
		t.Errorf("set to 5: %d", got)
	}
	x := b.exchange("ec2", "127.0.0.1", "127.0.0.1", getID+"\r\n"+ec2Host+"\r\n\r\n")
	if (pipeline{b.node}).Serve(x); x.HopLimit != 0 {
		t.Errorf("a read is limited to %d hops", x.HopLimit)
	}
}

// The IPv6 address of EC2 answers only instances that opted in; an address of
// any family finds the same instance and the same policy (SEC-66).
func TestIPv6(t *testing.T) {
	b := newBed(t, nil)
	all := config.Samples()
	for _, in := range all {
		in.Sources = append(in.Sources, netip.MustParseAddr(strings.Replace(in.Sources[0].String(), "127.0.0.", "2001:db8::", 1)))
		in.Metadata.HTTPProtocolIPv6 = ""
		if in.Sources[0] == netip.MustParseAddr("127.0.0.1") {
			in.Metadata.HTTPProtocolIPv6 = instance.Enabled
		}
	}
	b.set(all)
	for _, tc := range []struct {
		dialect, from, to, host string
		want                    int
	}{
		{"ec2", "2001:db8::1", "fd00:ec2::254", "[fd00:ec2::254]", 200},
		{"ec2", "2001:db8::2", "fd00:ec2::254", "[fd00:ec2::254]", 403},
		{"ec2", "2001:db8::2", "::1", "[::1]", 401},
		{"ec2", "::ffff:127.0.0.2", "127.0.0.1", "169.254.169.254", 401},
		{"ecs", "2001:db8::2", "fd00:100::100:200", "[fd00:100::100:200]", 403},
		{"ecs", "2001:db8::1", "fd00:100::100:200", "[fd00:100::100:200]", 200},
	} {
		x := b.exchange(tc.dialect, tc.from, tc.to, getID+"\r\nHost: "+tc.host+"\r\n\r\n")
		pipeline{b.node}.Serve(x)
		if r, _ := b.read(x, false); r.StatusCode != tc.want {
			t.Errorf("%+v: %s", tc, r.Status)
		}
	}
}

func TestFaults(t *testing.T) {
	b := newBed(t, nil)
	id := config.Samples()[0].ID
	dialect, host := config.Samples()[0].Dialect, ecsHost
	if dialect == "ec2" {
		host = ec2Host
	}
	inject := func(f *Fault) {
		t.Helper()
		if err := b.node.Inject(id, f); err != nil {
			t.Fatal(err)
		}
	}
	status := func(want int) {
		t.Helper()
		if r, _ := b.ask(dialect, "127.0.0.1", getID, host); r.StatusCode != want {
			t.Errorf("%s, want %d", r.Status, want)
		}
	}
	inject(&Fault{Status: 500, Times: 2})
	status(500)
	status(500)
	status(200)
	inject(&Fault{Status: 502, PathPrefix: "latest/user-data"})
	status(200)
	inject(&Fault{Throttle: true})
	status(map[string]int{"ec2": 503, "ecs": 429}[dialect])
	inject(&Fault{Delay: time.Minute, Reset: true})
	x := b.exchange(dialect, "127.0.0.1", "127.0.0.1", getID+"\r\n"+host+"\r\n\r\n")
	if (pipeline{b.node}).Serve(x); !x.Abort || x.Delay != time.Minute || len(x.Out) != 0 {
		t.Errorf("reset: abort %v, delay %v, %d bytes", x.Abort, x.Delay, len(x.Out))
	}
	inject(nil)
	status(200)
	if err := b.node.Inject("i-none", nil); fault.KindOf(err) != fault.NotFound {
		t.Errorf("fault for nobody: %v", err)
	}
}

// SEC-O1: strangers are counted, and logged once a minute each.
func TestStrangers(t *testing.T) {
	b := newBed(t, nil)
	for range 3 {
		b.ask("ec2", "127.0.0.66", getID, ec2Host)
		b.ask("ecs", "127.0.0.67", getID, ecsHost)
	}
	b.now = b.now.Add(time.Minute)
	b.ask("ec2", "127.0.0.66", getID, ec2Host)
	if got := strings.Count(b.log.String(), "unknown caller"); got != 3 {
		t.Errorf("%d lines logged, want 3:\n%s", got, b.log.String())
	}
	if got := b.node.Stats().Strangers; got != 7 {
		t.Errorf("%d counted, want 7", got)
	}
}

func TestShares(t *testing.T) {
	b := newBed(t, func(c *Config) { c.ConnectionsPerInstance = 2 })
	conn := func(from string) *wire.Conn {
		return b.exchange("ec2", from, "127.0.0.1", getID+"\r\n"+ec2Host+"\r\n\r\n").Conn
	}
	p := pipeline{b.node}
	first, second := conn("127.0.0.1"), conn("127.0.0.1")
	if !p.Open(first) || !p.Open(second) || p.Open(conn("127.0.0.1")) {
		t.Error("an instance does not get exactly its share")
	}
	if !p.Open(conn("127.0.0.2")) { // SEC-28
		t.Error("another instance feels it")
	}
	p.Closed(first)
	if !p.Open(conn("127.0.0.1")) || p.Open(conn("127.0.0.1")) {
		t.Error("a share is not given back")
	}
	for range strangerConns {
		if !p.Open(conn("127.0.0.99")) {
			t.Fatal("strangers do not get their share")
		}
	}
	if p.Open(conn("127.0.0.98")) {
		t.Error("strangers get more than their share")
	}
	if got := b.node.Stats().RefusedShare; got != 3 {
		t.Errorf("%d refused, want 3", got)
	}
}

func TestListenErrors(t *testing.T) {
	b := newBed(t, nil)
	if _, err := b.node.Listen(t.Context(), Listener{Dialect: "gce", Address: "127.0.0.1:0"}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "ecs, ec2") {
		t.Errorf("unknown dialect: %v", err)
	}
	if _, err := b.node.Listen(t.Context(), Listener{Dialect: "ec2", Address: b.ends["ec2"].Addr().String()}); err == nil {
		t.Error("a port was opened twice")
	}
}

func TestNoAllocations(t *testing.T) {
	b := newBed(t, nil)
	tok := ec2Token + ": " + b.mint("127.0.0.1")
	for name, request := range map[string]string{
		"tokened read": getID + "\r\n" + ec2Host + "\r\n" + tok + "\r\n\r\n",
		"free read":    getID + "\r\n" + ec2Host + "\r\n\r\n",
		"listing":      "GET /latest/meta-data/ HTTP/1.1\r\n" + ec2Host + "\r\n\r\n",
		"credentials":  "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1\r\n" + ec2Host + "\r\n\r\n",
		"mint":         putToken + "\r\n" + ec2Host + "\r\n" + ec2Token + "-ttl-seconds: 60\r\n\r\n",
		"bad token":    getID + "\r\n" + ec2Host + "\r\n" + ec2Token + ": x\r\n\r\n",
		"no such item": "GET /latest/none HTTP/1.1\r\n" + ec2Host + "\r\n\r\n",
		"method":       "POST / HTTP/1.1\r\n" + ec2Host + "\r\n\r\n",
		"foreign host": "GET / HTTP/1.1\r\nHost: 127.0.0.5\r\n\r\n",
	} {
		x := b.exchange("ec2", "127.0.0.1", "127.0.0.1", request)
		p := pipeline{b.node}
		p.Serve(x)
		most := 0.0
		if name == "foreign host" {
			most = 4 // another spelling of our own host: rare
		}
		if n := testing.AllocsPerRun(100, func() { x.Out = x.Out[:0]; p.Serve(x) }); n > most {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// Whatever a tenant sends, the answer is well formed, and nothing of the
// request is in it.
func FuzzPipeline(f *testing.F) {
	for _, s := range []string{
		getID + "\r\n" + ec2Host + "\r\n\r\n", putToken + "\r\n" + ec2Host + "\r\n" + ec2Token + "-ttl-seconds: 60\r\n\r\n",
		"GET /%0d%0aX-Evil:%201 HTTP/1.1\r\n" + ec2Host + "\r\n\r\n", "\x00", "HEAD / HTTP/1.0\r\n\r\n",
		"GET http://[::1]/latest/user-data?x HTTP/1.1\r\n" + ec2Host + "\r\nConnection: keep-alive\r\n\r\n",
	} {
		f.Add(s, true)
	}
	b := newBed(f, nil)
	f.Fuzz(func(t *testing.T, request string, ec2 bool) {
		dialect := "ecs"
		if ec2 {
			dialect = "ec2"
		}
		x := &wire.Exchange{Conn: b.exchange(dialect, "127.0.0.1", "127.0.0.1", "GET / HTTP/1.0\r\n\r\n").Conn}
		n, status := x.Request.Parse([]byte(request))
		if n == 0 && status == 0 {
			return
		}
		x.Malformed = status
		pipeline{b.node}.Serve(x)
		head, _, ok := bytes.Cut(x.Out, []byte("\r\n\r\n"))
		if !ok || bytes.Contains(head, []byte("X-Evil")) || bytes.Contains(head, []byte("\x00")) {
			t.Fatalf("answer %q", x.Out)
		}
		r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(x.Out)), &http.Request{Method: map[bool]string{true: "HEAD"}[x.Request.Method == wire.HEAD]})
		if err != nil {
			t.Fatalf("answer %q: %v", x.Out, err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || x.Request.Method != wire.HEAD && int64(len(body)) != r.ContentLength {
			t.Fatalf("answer %q: %v", x.Out, err)
		}
		if status != 0 && !x.CloseAfter {
			t.Fatal("the connection stays open after a malformed message")
		}
	})
}

func BenchmarkTokenedRead(b *testing.B) {
	bed := newBed(b, nil)
	x := bed.exchange("ec2", "127.0.0.1", "127.0.0.1", getID+"\r\n"+ec2Host+"\r\n"+ec2Token+": "+bed.mint("127.0.0.1")+"\r\n\r\n")
	p := pipeline{bed.node}
	for b.Loop() {
		x.Out = x.Out[:0]
		p.Serve(x)
	}
}
