package docsign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"openimds/identity"
	"openimds/internal/dialect"
	"openimds/internal/fault"
	"openimds/internal/seal"
	"openimds/internal/store/memstore"
)

// TestRotation lives through three years, a day at a time: whoever fetched the
// certificates within the last weeks can verify what is signed today, and what
// was signed within the last months can be verified with today's.
func TestRotation(t *testing.T) {
	c := &clock{start}
	a := newAuthority(t, c, nil)
	p := Periods{}.orDefault()
	type signed struct {
		at   time.Time
		text []byte
	}
	var documents []signed
	published := map[int]string{} // by day
	keys := map[string]bool{}
	const days = 3 * 365
	for d := range days {
		c.t = start.Add(time.Duration(d) * day)
		if err := a.Advance(t.Context()); err != nil {
			t.Fatal(err)
		}
		document := fmt.Sprintf(`{"instanceId":"i-%d","accountId":"1","region":"us-east-1"}`, d)
		vm := *ec2VM
		vm.Started = start
		documents = append(documents, signed{c.t, sign(t, a, &vm, dialect.FormRSA2048, document)})
		var b bytes.Buffer
		for _, cert := range a.Certificates() {
			keys[cert.Serial] = true
			WritePEM(&b, []Certificate{cert})
		}
		published[d] = b.String()
		if n := strings.Count(b.String(), "BEGIN"); n > 3 {
			t.Fatalf("day %d: %d certificates are published", d, n)
		}
		if d%7 != 0 {
			continue
		}
		check := func(day, doc int) {
			t.Helper()
			certs, err := identity.ParseCertificates([]byte(published[day]))
			if err != nil {
				t.Fatal(err)
			}
			v := identity.Verifier{Certificates: certs, Now: c.now}
			if _, err := v.PKCS7(documents[doc].text); err != nil {
				t.Fatalf("day %d: certificates of day %d, document of day %d: %v", d, day, doc, err)
			}
		}
		check(d, d)
		check(max(0, d-int(p.Ahead/day)+1), d)
		check(d, max(0, d-int(p.Keep/day)))
	}
	if len(keys) != 4 {
		t.Errorf("%d keys in three years, want 4", len(keys))
	}
}

// TestLongPause: a service that was off when a key was due publishes the next
// one first, unless the old certificate is about to end.
func TestLongPause(t *testing.T) {
	for _, test := range []struct {
		off  time.Duration
		want []string // states
	}{
		{300 * day, []string{"current"}},
		{310 * day, []string{"current", "next"}},
		{500 * day, []string{"current", "next"}},
		{870 * day, []string{"previous", "current"}}, // its end is too near
		{5000 * day, []string{"previous", "current"}},
	} {
		c := &clock{start}
		a := newAuthority(t, c, nil)
		old := sign(t, a, ec2VM, dialect.FormRSA2048, ec2Document)
		c.t = c.t.Add(test.off)
		if err := a.Advance(t.Context()); err != nil {
			t.Fatal(err)
		}
		var states []string
		for _, cert := range a.Certificates() {
			states = append(states, cert.State)
		}
		if fmt.Sprint(states) != fmt.Sprint(test.want) {
			t.Errorf("after %v: %v, want %v", test.off, states, test.want)
		}
		same := bytes.Equal(old, sign(t, a, ec2VM, dialect.FormRSA2048, ec2Document))
		if want := test.want[0] == "current"; same != want {
			t.Errorf("after %v: the same key signs: %v, want %v", test.off, same, want)
		}
	}
}

// TestClockGoesBack: the keys that there are go on.
func TestClockGoesBack(t *testing.T) {
	c := &clock{start}
	a := newAuthority(t, c, nil)
	one := sign(t, a, ec2VM, dialect.FormRSA2048, ec2Document)
	c.t = c.t.Add(-24 * time.Hour)
	if two := sign(t, a, ec2VM, dialect.FormRSA2048, ec2Document); !bytes.Equal(one, two) || len(a.Certificates()) != 1 {
		t.Error("another key signs")
	}
}

// TestUntil: a signature is not served beyond the time of its key.
func TestUntil(t *testing.T) {
	c := &clock{start}
	a := newAuthority(t, c, nil)
	sign(t, a, ec2VM, dialect.FormRSA2048, ec2Document)
	c.t = start.Add(310 * day)
	if err := a.Advance(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.t = a.Certificates()[1].SignsFrom.Add(-time.Minute)
	_, until, err := a.Sign(ec2VM, dialect.FormRSA2048, []byte(ec2Document))
	if err != nil || until.Sub(c.t) != time.Minute {
		t.Errorf("until %v, %v", until, err)
	}
	c.t = c.t.Add(time.Minute)
	if _, until, _ = a.Sign(ec2VM, dialect.FormRSA2048, []byte(ec2Document)); until.Sub(c.t) != recheck {
		t.Errorf("until %v", until)
	}
}

func newRing(t *testing.T, fill byte, older ...seal.Key) (*seal.Ring, seal.Key) {
	t.Helper()
	k, err := seal.NewKey(bytes.Repeat([]byte{fill}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return seal.NewRing(k, older...), k
}

func keepers(t *testing.T) map[string]Keeper {
	s := memstore.New(memstore.Config{})
	t.Cleanup(func() { _ = s.Close() })
	return map[string]Keeper{"store": InStore{s, "identity/"}, "files": Files{filepath.Join(t.TempDir(), "identity")}}
}

// TestKept: after a restart the same keys sign, which nobody finds in what is
// kept, and which are sealed anew under a newer key.
func TestKept(t *testing.T) {
	for name, keeper := range keepers(t) {
		t.Run(name, func(t *testing.T) {
			c := &clock{start}
			ring, oldKey := newRing(t, 1)
			with := func(r *seal.Ring) *Authority {
				return newAuthority(t, c, func(cfg *Config) { cfg.Keeper, cfg.Secrets, cfg.LegacyDSA = keeper, r, true })
			}
			a := with(ring)
			for _, form := range []string{dialect.FormRSA2048, dialect.FormPKCS7} {
				sign(t, a, ec2VM, form, ec2Document)
			}
			before := a.Certificates()
			ring, _ = newRing(t, 2, oldKey)
			a = with(ring)
			if after := a.Certificates(); fmt.Sprint(after) != fmt.Sprint(before) || len(after) != 2 {
				t.Errorf("after a restart:\n%v\nbefore:\n%v", after, before)
			}
			d, err := (&identity.Verifier{Certificates: trusted(t, a, "ec2", "us-east-1"), AllowSHA1: true, Now: c.now}).PKCS7(sign(t, a, ec2VM, dialect.FormPKCS7, ec2Document))
			if err != nil {
				t.Errorf("%v, %v", d, err)
			}
			newest, _ := newRing(t, 2)
			with(newest) // opens without the old key: sealed anew
			names, err := keeper.Names(t.Context())
			if err != nil || len(names) != 2 {
				t.Fatalf("%q, %v", names, err)
			}
			for _, n := range names {
				raw, err := keeper.Load(t.Context(), n)
				if err != nil || bytes.Contains(raw, []byte("certificate")) {
					t.Errorf("%s is not sealed: %v", n, err)
				}
			}
			other, _ := newRing(t, 3)
			if _, err := New(t.Context(), Config{Keeper: keeper, Secrets: other}); !errors.Is(err, seal.ErrKey) {
				t.Errorf("with another key: %v", err)
			}
			if _, err := New(t.Context(), Config{Keeper: keeper}); fault.KindOf(err) != fault.Invalid {
				t.Errorf("without a key: %v", err)
			}
		})
	}
}

// TestMovedRecord: a record of one region is worth nothing under another's
// name.
func TestMovedRecord(t *testing.T) {
	dir := t.TempDir()
	ring, _ := newRing(t, 1)
	c := &clock{start}
	a := newAuthority(t, c, func(cfg *Config) { cfg.Keeper, cfg.Secrets = Files{dir}, ring })
	sign(t, a, ec2VM, dialect.FormRSA2048, ec2Document)
	if err := os.Rename(filepath.Join(dir, "ec2.us-east-1.rsa.keys"), filepath.Join(dir, "ec2.eu-west-1.rsa.keys")); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), Config{Keeper: Files{dir}, Secrets: ring}); !errors.Is(err, seal.ErrDamaged) {
		t.Errorf("%v", err)
	}
}

// TestTwoMachines: of two that start at once, one makes the key, and both sign
// with it.
func TestTwoMachines(t *testing.T) {
	for name, keeper := range keepers(t) {
		if name == "files" {
			continue // they are for one process
		}
		t.Run(name, func(t *testing.T) {
			c := &clock{start}
			ring, _ := newRing(t, 1)
			var machines []*Authority
			for range 4 {
				machines = append(machines, newAuthority(t, c, func(cfg *Config) { cfg.Keeper, cfg.Secrets = keeper, ring }))
			}
			var wg sync.WaitGroup
			signatures := make([][]byte, len(machines))
			for i, a := range machines {
				wg.Go(func() { signatures[i], _, _ = a.Sign(ec2VM, dialect.FormRSA2048, []byte(ec2Document)) })
			}
			wg.Wait()
			for i, s := range signatures {
				if len(s) == 0 || !bytes.Equal(s, signatures[0]) {
					t.Errorf("machine %d signs with a key of its own", i)
				}
			}
		})
	}
}

// full is a keeper that takes nothing.
type full struct{}

func (full) Names(context.Context) ([]string, error)      { return nil, nil }
func (full) Load(context.Context, string) ([]byte, error) { return nil, nil }
func (full) Save(context.Context, string, []byte, []byte) error {
	return fault.New(fault.Unavailable, "the disk is full")
}

// TestNotKept: a key that cannot be kept is not used.
func TestNotKept(t *testing.T) {
	ring, _ := newRing(t, 1)
	a := newAuthority(t, &clock{start}, func(cfg *Config) { cfg.Keeper, cfg.Secrets = full{}, ring })
	if _, _, err := a.Sign(ec2VM, dialect.FormRSA2048, []byte(ec2Document)); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("%v", err)
	}
	if all := a.Certificates(); len(all) != 0 {
		t.Errorf("published: %v", all)
	}
}

// TestKeysAreQuiet: no way of printing shows a private key.
func TestKeysAreQuiet(t *testing.T) {
	k, err := newKey(scopeID{"ec2", "r", algorithmDSA}, start, start, start.Add(day))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, k); strings.Contains(text, k.dsa.X.String()) || !strings.HasPrefix(text, "identity key ") {
			t.Errorf("%s: %s", verb, text)
		}
	}
}

// TestDSADomain: the parameters are of the sizes that FIPS 186-2 has, and do
// what they must.
func TestDSADomain(t *testing.T) {
	d := dsaDomain()
	if d.P.BitLen() != 1024 || d.Q.BitLen() != 160 || !d.P.ProbablyPrime(20) || !d.Q.ProbablyPrime(20) {
		t.Error("P or Q is not what it must be")
	}
	one := d.Q.Sub(d.Q, d.Q).SetInt64(1)
	d = dsaDomain()
	if r := one.Exp(d.G, d.Q, d.P); r.BitLen() != 1 || d.G.BitLen() < 2 {
		t.Error("G is not of order Q")
	}
}
