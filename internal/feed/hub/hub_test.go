package hub_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cryptorand "crypto/rand"

	"openimds/internal/feed"
	"openimds/internal/feed/hub"
	"openimds/internal/instance"
	"openimds/internal/pki"
	"openimds/internal/state"
	"openimds/internal/store"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
	"openimds/internal/token"
)

var quiet = testnet.Quiet()

// fleet is a control plane that nodes follow.
type fleet struct {
	t       *testing.T
	ca      pki.Pair
	store   store.Store
	db      *state.DB
	ring    *token.Ring
	hub     *hub.Hub
	server  *httptest.Server
	address string
	history int
}

func newFleet(t *testing.T, history int) *fleet {
	t.Helper()
	ca, err := pki.NewAuthority("fleet", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := token.NewSecrets(time.Now(), cryptorand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, ca: ca, store: memstore.New(memstore.Config{}), ring: token.NewRing(secrets), history: history, address: "127.0.0.1:0"}
	f.up()
	t.Cleanup(f.down)
	return f
}

// up starts a control plane at the fleet's address.
func (f *fleet) up() {
	f.t.Helper()
	var err error
	if f.db, err = state.Open(context.Background(), f.store, quiet); err != nil {
		f.t.Fatal(err)
	}
	f.hub = hub.New(hub.Config{
		DB: f.db, History: f.history, Heartbeat: 50 * time.Millisecond,
		Lease: func(id string) (token.Lease, error) { s := f.ring.Secrets(); return s.Lease(id) },
		Epoch: func() int64 { return f.ring.Secrets().First },
	})
	own, err := f.ca.Control([]string{"127.0.0.1"}, time.Now())
	if err != nil {
		f.t.Fatal(err)
	}
	ln, err := net.Listen("tcp", f.address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.address = ln.Addr().String()
	f.server = httptest.NewUnstartedServer(f.hub)
	_ = f.server.Listener.Close()
	f.server.Listener = ln
	f.server.Config.ErrorLog = slog.NewLogLogger(quiet.Handler(), slog.LevelError)
	if f.server.TLS, err = pki.Server(own, f.ca.Cert); err != nil {
		f.t.Fatal(err)
	}
	f.server.StartTLS()
}

// down ends it as a kill would: connections break.
func (f *fleet) down() {
	f.server.CloseClientConnections()
	f.hub.Close()
	f.server.Close()
	_ = f.db.Close()
}

func spec(n int, node, tag string) instance.Instance {
	in := instance.Instance{
		ID: fmt.Sprintf("i-%017x", n), Dialect: "ec2", Account: "123456789012", Region: "us-east-1", Zone: "us-east-1a", Type: "m7g.large",
		Image: instance.Image{ID: "ami-0123456789abcdef0"}, Tags: map[string]string{"v": tag}, Node: node,
		Interfaces: []instance.Interface{{
			ID: fmt.Sprintf("eni-%017x", n), MAC: fmt.Sprintf("02:00:00:00:%02x:%02x", n>>8, n&255), IPv4: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})},
			Subnet: instance.Subnet{ID: "subnet-0123456789abcdef0", IPv4: netip.MustParsePrefix("10.0.0.0/16")},
			VPC:    instance.VPC{ID: "vpc-0123456789abcdef0", IPv4: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}},
		}},
	}
	instance.Normalize(&in)
	return in
}

// put stores instances; one without a node's name is removed.
func (f *fleet) put(all ...instance.Instance) {
	f.t.Helper()
	err := f.db.Update(context.Background(), func(tx *state.Tx) error {
		for _, in := range all {
			if in.Tags["v"] == "" {
				state.Remove(tx, f.db.Instances, in.ID)
				continue
			}
			if err := state.Save(tx, f.db.Instances, in.ID, &state.Instance{Spec: in}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// host is a node as far as its feed goes.
type host struct {
	*feed.Client
	t        *testing.T
	path     string
	name     string
	mu       sync.Mutex
	guests   map[string]string
	epochs   map[string]int64
	snapshot atomic.Int32 // how often everything was replaced by a stream
	stop     func()
}

func (f *fleet) host(name, path string) *host {
	f.t.Helper()
	pair, err := f.ca.Node(name, time.Now())
	if err != nil {
		f.t.Fatal(err)
	}
	tls, err := pki.Client(pair, f.ca.Cert)
	if err != nil {
		f.t.Fatal(err)
	}
	if path == "" {
		path = filepath.Join(f.t.TempDir(), "last-good")
	}
	h := &host{t: f.t, name: name, path: path, guests: map[string]string{}, epochs: map[string]int64{}}
	transport := &http.Transport{TLSClientConfig: tls}
	h.Client, err = feed.NewClient(feed.ClientConfig{
		URL: "https://" + f.address, HTTP: &http.Client{Transport: transport}, Path: path, Apply: h.apply,
		Silence: 2 * time.Second, Backoff: 200 * time.Millisecond, Logger: quiet,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	h.snapshot.Store(0)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); h.Run(ctx) }()
	h.stop = sync.OnceFunc(func() { cancel(); <-done; transport.CloseIdleConnections() })
	f.t.Cleanup(h.stop)
	return h
}

func (h *host) apply(b *feed.Batch) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if b.All {
		h.snapshot.Add(1)
		clear(h.guests)
		clear(h.epochs)
	}
	for _, id := range b.Removed {
		delete(h.guests, id)
	}
	for _, g := range b.Put {
		if g.Instance.Node != h.name {
			h.t.Errorf("%s was sent %s of node %q", h.name, g.Instance.ID, g.Instance.Node)
		}
		h.guests[g.Instance.ID] = g.Instance.Tags["v"]
		h.epochs[g.Instance.ID] = g.Keys.First
	}
	for _, k := range b.Keys {
		h.epochs[k.ID] = k.Keys.First
	}
	return nil
}

func (h *host) shown() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for id, v := range h.guests {
		all = append(all, strings.TrimLeft(strings.TrimPrefix(id, "i-"), "0")+"="+v)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (h *host) shows(want string) {
	h.t.Helper()
	defer func() {
		if h.t.Failed() {
			h.t.Logf("%s shows %q, want %q; %+v", h.name, h.shown(), want, h.Status())
		}
	}()
	eventually(h.t, h.name, func() bool { return h.shown() == want })
}

// Each node gets its own guests, as they come, change, move and go.
func TestFollow(t *testing.T) {
	f := newFleet(t, 0)
	f.put(spec(1, "a", "x"), spec(2, "b", "x"), spec(3, "", "x"))
	a, b := f.host("a", ""), f.host("b", "")
	a.shows("1=x")
	b.shows("2=x")
	f.put(spec(1, "a", "y"), spec(4, "a", "x"))
	a.shows("1=y 4=x")
	f.put(spec(1, "b", "z")) // a live migration
	a.shows("4=x")
	b.shows("1=z 2=x")
	f.put(spec(2, "", "x")) // back to the control plane's own data plane
	b.shows("1=z")
	f.put(spec(1, "b", ""))
	b.shows("")
	if n := f.hub.Nodes(); len(n) != 2 || n[0].Name != "a" || n[0].Connected != 1 || n[0].Instances != 1 || n[1].Instances != 0 {
		t.Errorf("nodes %+v", n)
	}
}

// A node goes on where it was, when the control plane still knows; otherwise it
// gets everything.
func TestResume(t *testing.T) {
	f := newFleet(t, 10)
	f.put(spec(1, "a", "x"))
	a := f.host("a", "")
	a.shows("1=x")
	a.stop()
	f.put(spec(2, "a", "x"))
	f.put(spec(1, "a", ""))
	again := f.host("a", a.path)
	again.shows("2=x")
	if n := again.snapshot.Load(); n != 0 {
		t.Errorf("%d snapshots after two changes", n)
	}
	again.stop()
	for i := range 20 {
		f.put(spec(100+i, "a", "x"))
		f.put(spec(100+i, "a", ""))
	}
	f.put(spec(2, "a", "y"))
	third := f.host("a", a.path)
	third.shows("2=y")
	if n := third.snapshot.Load(); n != 1 {
		t.Errorf("%d snapshots after more changes than are remembered", n)
	}
}

// Without a control plane a node serves what it has, also after a restart; when
// it is back, nothing is missing.
func TestControlPlaneAway(t *testing.T) {
	f := newFleet(t, 0)
	f.put(spec(1, "a", "x"), spec(2, "a", "x"))
	a := f.host("a", "")
	a.shows("1=x 2=x")
	f.down()
	eventually(t, "the node notices", func() bool { return !a.Status().Connected && a.Status().Problem != "" })
	a.shows("1=x 2=x")
	a.stop()
	again := f.host("a", a.path)
	if got := again.shown(); got != "1=x 2=x" {
		t.Errorf("served from disk: %q", got)
	}
	f.up()
	f.put(spec(2, "a", "y"))
	again.shows("1=x 2=y")
	if n := again.snapshot.Load(); n > 1 {
		t.Errorf("%d snapshots", n)
	}
}

// A control plane with another store has another history, whatever its numbers.
func TestAnotherStore(t *testing.T) {
	f := newFleet(t, 0)
	f.put(spec(1, "a", "x"))
	a := f.host("a", "")
	a.shows("1=x")
	f.down()
	f.store = memstore.New(memstore.Config{})
	f.up()
	f.put(spec(2, "a", "new"))
	a.shows("2=new")
}

// New token keys reach every guest, also through an absence.
func TestRotate(t *testing.T) {
	f := newFleet(t, 0)
	f.put(spec(1, "a", "x"), spec(2, "a", "x"))
	a := f.host("a", "")
	a.shows("1=x 2=x")
	advance := func() int64 {
		s, changed, err := f.ring.Secrets().Advance(time.Unix((f.ring.Secrets().First+2)*int64(token.EpochLength/time.Second), 0), cryptorand.Reader)
		if err != nil || !changed {
			t.Fatal(changed, err)
		}
		f.ring.Set(s)
		f.hub.Rotate()
		return s.First
	}
	epochs := func(h *host) (all []int64) {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, e := range h.epochs {
			all = append(all, e)
		}
		return all
	}
	first := advance()
	eventually(t, "new keys", func() bool { return slices.Equal(epochs(a), []int64{first, first}) })
	a.stop()
	second := advance()
	again := f.host("a", a.path)
	eventually(t, "new keys after an absence", func() bool { return slices.Equal(epochs(again), []int64{second, second}) })
	if again.snapshot.Load() != 0 {
		t.Error("new keys cost a snapshot")
	}
}

// Nothing is lost or mixed up while instances change, the control plane goes
// and comes, and nodes restart.
func TestStorm(t *testing.T) {
	f := newFleet(t, 50)
	names := []string{"a", "b", "c"}
	hosts := map[string]*host{}
	for _, n := range names {
		hosts[n] = f.host(n, "")
	}
	random := rand.New(rand.NewPCG(1, 2))
	want := map[int][2]string{}
	for step := range 400 {
		n := random.IntN(30)
		switch node := append([]string{""}, names...)[random.IntN(4)]; random.IntN(5) {
		case 0:
			delete(want, n)
			f.put(spec(n+1, "", ""))
		default:
			want[n] = [2]string{node, fmt.Sprint(step)}
			f.put(spec(n+1, node, fmt.Sprint(step)))
		}
		switch random.IntN(60) {
		case 0:
			f.down()
			f.up()
		case 1:
			h := hosts[names[random.IntN(3)]]
			h.stop()
			hosts[h.name] = f.host(h.name, h.path)
		}
	}
	for _, name := range names {
		var all []string
		for n, w := range want {
			if w[0] == name {
				all = append(all, fmt.Sprintf("%x=%s", n+1, w[1]))
			}
		}
		slices.Sort(all)
		hosts[name].shows(strings.Join(all, " "))
	}
}

// A stream that says nothing is given up, and a better one is looked for.
func TestSilence(t *testing.T) {
	f := newFleet(t, 0)
	f.put(spec(1, "a", "x"))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.server.CloseClientConnections()
	f.server.Close()
	var calls atomic.Int32
	f.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) > 1 {
			f.hub.ServeHTTP(w, r)
			return
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	_ = f.server.Listener.Close()
	f.server.Listener, f.address = ln, ln.Addr().String()
	own, _ := f.ca.Control([]string{"127.0.0.1"}, time.Now())
	f.server.TLS, _ = pki.Server(own, f.ca.Cert)
	f.server.StartTLS()
	f.host("a", "").shows("1=x")
	if calls.Load() < 2 {
		t.Error("the silent stream was not met: the test proves nothing")
	}
}

// Who has no certificate is told so, and gets nothing.
func TestNoCertificate(t *testing.T) {
	f := newFleet(t, 0)
	f.put(spec(1, "a", "x"))
	w := httptest.NewRecorder()
	f.hub.ServeHTTP(w, httptest.NewRequest(http.MethodGet, feed.Path, nil))
	if body, _ := io.ReadAll(w.Body); w.Code != http.StatusForbidden || strings.Contains(string(body), "i-0") {
		t.Errorf("%d %s", w.Code, body)
	}
}
