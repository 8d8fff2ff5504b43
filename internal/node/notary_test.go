package node

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/throttle"
)

// stamp is a Signer that counts.
type stamp struct {
	forms string // that it makes, with blanks between
	err   error
	until time.Time
	made  atomic.Int64
}

func (s *stamp) Signs(_, form string) bool { return strings.Contains(s.forms, form) }

func (s *stamp) Sign(in *instance.Instance, form string, document []byte) ([]byte, time.Time, error) {
	n := s.made.Add(1)
	if s.err != nil {
		return nil, time.Time{}, s.err
	}
	return fmt.Appendf(nil, "%s %s %d %s", in.ID, form, n, document), s.until, nil
}

const (
	getPKCS7    = "GET /latest/dynamic/instance-identity/pkcs7 HTTP/1.1"
	getRSA2048  = "GET /latest/dynamic/instance-identity/rsa2048 HTTP/1.1"
	getIdentity = "GET /latest/dynamic/instance-identity/ HTTP/1.1"
)

func signing(s *stamp, p throttle.Policy) func(*Config) {
	return func(c *Config) { c.Signer, c.Signing = s, p }
}

// TestSignaturesAreKept: a document is signed once in each form, until it is
// another, or its signature has had its time.
func TestSignaturesAreKept(t *testing.T) {
	s := &stamp{forms: "rsa2048 signature"}
	b := newBed(t, signing(s, throttle.Policy{}))
	s.until = b.now.Add(time.Hour)
	ask := func(made int64) string {
		t.Helper()
		r, body := b.ask("ec2", "127.0.0.1", getRSA2048, ec2Host)
		if r.StatusCode != 200 || s.made.Load() != made {
			t.Errorf("status %d, %d signatures made, want 200 and %d", r.StatusCode, s.made.Load(), made)
		}
		return body
	}
	first := ask(1)
	if again := ask(1); again != first {
		t.Errorf("first %q, then %q", first, again)
	}
	if _, document := b.ask("ec2", "127.0.0.1", "GET /latest/dynamic/instance-identity/document HTTP/1.1", ec2Host); !strings.HasSuffix(first, document) {
		t.Errorf("what is signed is not what is served:\n%s\n%s", first, document)
	}
	b.now = b.now.Add(time.Hour)
	s.until = b.now.Add(time.Hour)
	ask(2)
	in := *b.node.guests["i-0a1b2c3d4e5f60001"].snap.Load().in
	in.Type = "m6i.xlarge"
	if err := b.node.Update([]*instance.Instance{&in}, nil); err != nil {
		t.Fatal(err)
	}
	if body := ask(3); !strings.Contains(body, "m6i.xlarge") {
		t.Errorf("the old document is signed: %s", body)
	}
}

// TestListingSignsNothing: what is signed is listed, and listing it is cheap.
func TestListingSignsNothing(t *testing.T) {
	s := &stamp{forms: "rsa2048 signature"}
	b := newBed(t, signing(s, throttle.Policy{}))
	_, body := b.ask("ec2", "127.0.0.1", getIdentity, ec2Host)
	if body != "document\nrsa2048\nsignature" || s.made.Load() != 0 {
		t.Errorf("%q, %d signatures made", body, s.made.Load())
	}
	if r, _ := b.ask("ec2", "127.0.0.1", getPKCS7, ec2Host); r.StatusCode != 404 || s.made.Load() != 0 {
		t.Errorf("a form that is not made: %d", r.StatusCode)
	}
}

// TestNoSigner: without one there are no signatures (EC2-ITEM-084,
// ECS-ITEM-063).
func TestNoSigner(t *testing.T) {
	b := newBed(t, nil)
	for dialect, lines := range map[string][]string{"ec2": {getRSA2048, ec2Host}, "ecs": {getPKCS7, ecsHost}} {
		if r, _ := b.ask(dialect, "127.0.0.1", lines...); r.StatusCode != 404 {
			t.Errorf("%s: %d", dialect, r.StatusCode)
		}
	}
	if _, body := b.ask("ec2", "127.0.0.1", getIdentity, ec2Host); body != "document" {
		t.Errorf("listed: %q", body)
	}
}

// TestAudiencesAreLimited: an instance that has ever other documents signed is
// told to slow down, while what is signed already is served, and others feel
// nothing (ECS-IDENT-09).
func TestAudiencesAreLimited(t *testing.T) {
	s := &stamp{forms: "pkcs7"}
	b := newBed(t, signing(s, throttle.PerSecond(1, 3)))
	s.until = b.now.Add(time.Hour)
	ask := func(from, audience string, status int) {
		t.Helper()
		r, body := b.ask("ecs", from, strings.Replace(getPKCS7, " HTTP", "?audience="+audience+" HTTP", 1), ecsHost)
		if r.StatusCode != status {
			t.Errorf("audience %s: %d, want %d", audience, r.StatusCode, status)
		}
		if status == 200 && !strings.HasSuffix(body, `,"audience":"`+audience+`"}`) {
			t.Errorf("audience %s: %s", audience, body)
		}
	}
	for _, audience := range []string{"a", "b", "c"} {
		ask("127.0.0.1", audience, 200)
	}
	ask("127.0.0.1", "d", 429)
	ask("127.0.0.1", "a", 200)
	ask("127.0.0.4", "d", 200)
	b.now = b.now.Add(time.Second)
	ask("127.0.0.1", "d", 200)
	if s.made.Load() != 5 {
		t.Errorf("%d signatures made, want 5", s.made.Load())
	}
}

// TestKeptSignaturesAreBounded: the newest are kept.
func TestKeptSignaturesAreBounded(t *testing.T) {
	s := &stamp{forms: "pkcs7"}
	b := newBed(t, signing(s, throttle.PerSecond(1000, 1000)))
	s.until = b.now.Add(time.Hour)
	ask := func(i int) {
		if r, _ := b.ask("ecs", "127.0.0.1", fmt.Sprintf("GET /latest/dynamic/instance-identity/pkcs7?audience=%d HTTP/1.1", i), ecsHost); r.StatusCode != 200 {
			t.Fatalf("audience %d: %d", i, r.StatusCode)
		}
	}
	const many = 3 * keptSignatures
	for i := range many {
		ask(i)
	}
	if kept := len(*b.node.guests["i-bp1imdssample0000001"].notary.kept.Load()); kept != keptSignatures {
		t.Errorf("%d are kept, want %d", kept, keptSignatures)
	}
	for i := many - keptSignatures; i < many; i++ {
		ask(i)
	}
	if s.made.Load() != many {
		t.Errorf("%d made, want %d", s.made.Load(), many)
	}
}

// TestSignerFails: a signer that fails is no missing item; one that does not
// make the form after all is.
func TestSignerFails(t *testing.T) {
	for want, err := range map[int]error{
		503: errors.New("the secret place is closed"),
		404: fault.New(fault.NotFound, "no such form"),
	} {
		s := &stamp{forms: "pkcs7", err: err}
		b := newBed(t, signing(s, throttle.Policy{}))
		r, body := b.ask("ecs", "127.0.0.1", getPKCS7, ecsHost)
		if r.StatusCode != want || strings.Contains(body, "secret") {
			t.Errorf("%v: %d %s", err, r.StatusCode, body)
		}
		if logged := strings.Contains(b.log.String(), "not signed"); logged != (want == 503) {
			t.Errorf("%v: the log says %s", err, &b.log)
		}
		// The next item is not refused for that.
		if r, _ := b.ask("ecs", "127.0.0.1", getID, ecsHost); r.StatusCode != 200 {
			t.Errorf("after it: %d", r.StatusCode)
		}
		if r, _ := b.ask("ecs", "127.0.0.1", "GET /latest/none HTTP/1.1", ecsHost); r.StatusCode != 404 {
			t.Errorf("after it: %d", r.StatusCode)
		}
	}
}

// TestOneAtATime: however many ask at once, an instance has a document signed
// once.
func TestOneAtATime(t *testing.T) {
	s := &stamp{forms: "pkcs7", until: time.Unix(1<<40, 0)}
	n := &notary{signer: s, policy: throttle.PerSecond(1000, 1000), now: time.Now}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if got, _ := n.Sign(&instance.Instance{ID: "i-1"}, "pkcs7", []byte("{}")); !bytes.Equal(got, []byte("i-1 pkcs7 1 {}")) {
				t.Errorf("%q", got)
			}
		})
	}
	wg.Wait()
}

// TestKeptSignatureAllocatesNothing: what is signed is served like any item.
func TestKeptSignatureAllocatesNothing(t *testing.T) {
	s := &stamp{forms: "rsa2048", until: time.Unix(1<<40, 0)}
	b := newBed(t, signing(s, throttle.Policy{}))
	x := b.exchange("ec2", "127.0.0.1", "127.0.0.1", getRSA2048+"\r\n"+ec2Host+"\r\n\r\n")
	p := pipeline{b.node}
	p.Serve(x)
	if allocs := testing.AllocsPerRun(100, func() {
		x.Out = x.Out[:0]
		p.Serve(x)
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
