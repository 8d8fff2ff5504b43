package deliver_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"openimds/internal/alarm/deliver"
	"openimds/internal/state"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
)

var secret = []byte("a secret of tests")

// receiver is a webhook that remembers what came, and answers as it is told.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	came   []string // ids
	status func(n int) int
	bad    []string
}

func newReceiver(t *testing.T, status func(n int) int) *receiver {
	r := &receiver{status: status}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		id := q.Header.Get(deliver.HeaderID)
		r.came = append(r.came, id)
		if want := "v1=" + deliver.Signature(secret, q.Header.Get(deliver.HeaderTime), id, body); q.Header.Get(deliver.HeaderSignature) != want || q.Method != http.MethodPost {
			r.bad = append(r.bad, id)
		}
		w.WriteHeader(r.status(len(r.came)))
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.came)
}

// clock is a time that moves on by itself a second at a look.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(time.Second)
	return c.t
}

func open(t *testing.T) *state.DB {
	t.Helper()
	store := memstore.New(memstore.Config{})
	db, err := state.Open(t.Context(), store, testnet.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = db.Close()
		_ = store.Close()
	})
	return db
}

func put(t *testing.T, db *state.DB, url string, made time.Time, ids ...string) {
	t.Helper()
	err := db.Update(t.Context(), func(tx *state.Tx) error {
		for _, id := range ids {
			if err := state.Save(tx, db.Notices, id, &state.Notice{ID: id, URL: url, Body: `{"id":"` + id + `"}`, Made: made}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// run delivers until done says so.
func run(t *testing.T, cfg deliver.Config, done func() bool) {
	t.Helper()
	cfg.Poll, cfg.Secret = time.Millisecond, secret
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		deliver.New(cfg).Run(ctx)
	}()
	for !done() && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-ended
	if !done() {
		t.Error("it did not come to an end")
	}
}

// Messages arrive in order, signed, each until it has arrived, and what one
// address does not take does not keep the others back.
func TestDeliver(t *testing.T) {
	db, c := open(t), &clock{t: time.Now()}
	good := newReceiver(t, func(int) int { return 204 })
	shaky := newReceiver(t, func(n int) int {
		if n%3 == 0 {
			return 200
		}
		return 500
	})
	dead := newReceiver(t, func(int) int { return 302 })
	put(t, db, good.URL+"/hook", c.t, "a1", "a2", "a3")
	put(t, db, shaky.URL, c.t, "b1", "b2")
	put(t, db, dead.URL, c.t, "c1")
	run(t, deliver.Config{DB: db, Loopback: true, Now: c.now}, func() bool {
		left := db.Notices.All(nil)
		return len(left) == 1 && len(shaky.got()) == 6 && left[0].Tries > 2
	})
	if got := good.got(); !slices.Equal(got, []string{"a1", "a2", "a3"}) {
		t.Errorf("the good address got %v", got)
	}
	if got := shaky.got(); !slices.Equal(got, []string{"b1", "b1", "b1", "b2", "b2", "b2"}) {
		t.Errorf("the shaky address got %v", got)
	}
	left := db.Notices.All(nil)[0]
	if left.ID != "c1" || !strings.Contains(left.Problem, "302") || !left.Next.After(left.Made) {
		t.Errorf("what was not delivered: %+v", left)
	}
	for _, r := range []*receiver{good, shaky, dead} {
		if len(r.bad) > 0 {
			t.Errorf("not signed: %v", r.bad)
		}
	}
}

// A message that was under way when the courier ended is sent again by the
// next, and one that nobody takes is given up after its time.
func TestRestart(t *testing.T) {
	db, c := open(t), &clock{t: time.Now()}
	hold := make(chan struct{})
	r := newReceiver(t, func(int) int { return 200 })
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		r.came = append(r.came, "held "+q.Header.Get(deliver.HeaderID))
		r.mu.Unlock()
		<-hold
	}))
	defer slow.Close()
	defer close(hold)
	put(t, db, slow.URL, c.t, "m1")
	run(t, deliver.Config{DB: db, Loopback: true, Now: c.now}, func() bool { return len(r.got()) > 0 })
	if n := db.Notices.All(nil); len(n) != 1 || n[0].Tries != 0 {
		t.Fatalf("broken off: %+v", n)
	}
	put(t, db, r.URL, c.t, "m1") // the same message
	run(t, deliver.Config{DB: db, Loopback: true, Now: c.now}, func() bool { return len(db.Notices.All(nil)) == 0 })
	if got := r.got(); !slices.Equal(got, []string{"held m1", "m1"}) {
		t.Errorf("it got %v", got)
	}
	dead := newReceiver(t, func(int) int { return 500 })
	put(t, db, dead.URL, c.t.Add(-25*time.Hour), "old")
	run(t, deliver.Config{DB: db, Loopback: true, Now: c.now}, func() bool { return len(db.Notices.All(nil)) == 0 })
}

// A message that is given up stands in the history of its alarm, without the
// secret of its address; one of an alarm that was deleted is tried once.
func TestGivenUp(t *testing.T) {
	db, c := open(t), &clock{t: time.Now()}
	dead := newReceiver(t, func(int) int { return 500 })
	a := &state.Alarm{Name: "a", Dialect: "ec2", Account: "1", Region: "r"}
	err := db.Update(t.Context(), func(tx *state.Tx) error {
		for i, alarm := range []string{a.Key(), "ec2/1/r/deleted"} {
			n := &state.Notice{ID: string(rune('1' + i)), URL: dead.URL + "/hidden?key=hidden", Alarm: alarm, Instance: "i-1", Body: "{}", Made: c.t.Add(-25 * time.Hour * time.Duration(1-i))}
			if err := state.Save(tx, db.Notices, n.ID, n); err != nil {
				return err
			}
		}
		return state.Save(tx, db.Alarms, a.Key(), a)
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, deliver.Config{DB: db, Loopback: true, Now: c.now}, func() bool { return len(db.Notices.All(nil)) == 0 })
	if got := dead.got(); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("it got %v", got)
	}
	a, _ = db.Alarms.Get(a.Key())
	if a.GivenUp != 1 || len(a.Events) != 1 || a.Events[0].Instance != "i-1" || !strings.Contains(a.Events[0].Summary, "given up") || strings.Contains(a.Events[0].Summary, "hidden") {
		t.Errorf("the alarm is %+v", a)
	}
}

// Whoever may put alarms does not reach this machine with them, nor a metadata
// service, whatever a name leads to.
func TestForbidden(t *testing.T) {
	for address, want := range map[string]bool{
		"192.0.2.1": true, "10.0.0.1": true, "2001:db8::1": true, "fd12::1": true,
		"127.0.0.1": false, "::1": false, "169.254.169.254": false, "::ffff:169.254.169.254": false, "fd00:ec2::254": false, "100.100.100.200": false,
		"fd00:100::100:200": false, "fe80::1": false, "0.0.0.0": false, "::": false, "224.0.0.1": false, "255.255.255.255": false, "::ffff:127.0.0.1": false,
	} {
		if got := deliver.Allowed(netip.MustParseAddr(address), false); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	db, c := open(t), &clock{t: time.Now()}
	r := newReceiver(t, func(int) int { return 200 })
	put(t, db, strings.Replace(r.URL, "127.0.0.1", "localhost", 1), c.t, "m1")
	run(t, deliver.Config{DB: db, Now: c.now}, func() bool { return db.Notices.All(nil)[0].Tries > 0 })
	if n := db.Notices.All(nil)[0]; len(r.got()) > 0 || !strings.Contains(n.Problem, "this machine") {
		t.Errorf("%v, %+v", r.got(), n)
	}
}

func TestPause(t *testing.T) {
	var last time.Duration
	for tries := 1; tries < 100; tries++ {
		p := deliver.Pause(tries)
		if p < time.Second || p > 13*time.Minute || tries < 8 && p < last*3/4 {
			t.Errorf("after %d tries %v, before it %v", tries, p, last)
		}
		last = p
	}
	if last < 7*time.Minute {
		t.Error(last)
	}
}
