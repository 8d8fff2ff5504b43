package token_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openimds/internal/token"
)

var (
	ec2 = [4]byte{1, 0, 4, 0}
	t0  = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
)

func ring(t testing.TB, now time.Time) *token.Ring {
	t.Helper()
	s, err := token.NewSecrets(now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return token.NewRing(s)
}

func mint(t testing.TB, k *token.Keys, generation uint64, now time.Time, ttl time.Duration) []byte {
	t.Helper()
	text, err := k.Mint(nil, new(token.Scratch), ec2, generation, now, ttl, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestForm(t *testing.T) {
	text := mint(t, token.NewKeys(ring(t, t0), "i-1"), 0, t0, time.Hour)
	if len(text) != token.Length || !bytes.HasPrefix(text, []byte("AQAEA")) || !bytes.HasSuffix(text, []byte("==")) {
		t.Errorf("a token of %d characters that starts with %q and ends in %q", len(text), text[:5], text[len(text)-2:])
	}
}

// A token is good for its instance and generation until it expires, and for
// nothing else.
func TestVerify(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now := t0.Add(time.Duration(rapid.Int64Range(0, int64(72*time.Hour)).Draw(rt, "clock")))
		ttl := time.Duration(rapid.IntRange(1, 21600).Draw(rt, "ttl")) * time.Second
		generation := rapid.Uint64().Draw(rt, "generation")
		r := ring(t, now)
		k := token.NewKeys(r, "i-1")
		text := mint(t, k, generation, now, ttl)
		s := new(token.Scratch)

		later := now.Add(time.Duration(rapid.Int64Range(0, int64(ttl)-int64(time.Millisecond)).Draw(rt, "age")))
		// The ring's owner advances it every now and then.
		secrets, _, err := r.Secrets().Advance(later, rand.Reader)
		if err != nil {
			rt.Fatal(err)
		}
		r.Set(secrets)
		left, ok := k.Verify(s, ec2, generation, later, text)
		if !ok {
			rt.Fatalf("a token of %v is refused after %v", ttl, later.Sub(now))
		}
		if want := ttl - later.Sub(now); (left - want).Abs() > time.Millisecond {
			rt.Fatalf("%v left, want %v", left, want)
		}
		if _, ok := k.Verify(s, ec2, generation, now.Add(ttl), text); ok {
			rt.Fatal("accepted at its expiry")
		}
		if _, ok := k.Verify(s, ec2, generation+1, later, text); ok {
			rt.Fatal("accepted for another generation")
		}
		if _, ok := token.NewKeys(r, "i-2").Verify(s, ec2, generation, later, text); ok {
			rt.Fatal("accepted for another instance")
		}
		if _, ok := k.Verify(s, [4]byte{1, 0, 0, 0}, generation, later, text); ok {
			rt.Fatal("accepted in another dialect")
		}
		bad := bytes.Clone(text)
		i := rapid.IntRange(0, len(bad)-1).Draw(rt, "place")
		bad[i] ^= byte(rapid.IntRange(1, 127).Draw(rt, "change"))
		if _, ok := k.Verify(s, ec2, generation, later, bad); ok {
			rt.Fatalf("accepted with byte %d changed", i)
		}
	})
}

func TestMalformed(t *testing.T) {
	k := token.NewKeys(ring(t, t0), "i-1")
	good := string(mint(t, k, 0, t0, time.Hour))
	zero := base64.URLEncoding.EncodeToString(append(ec2[:], make([]byte, 36)...))
	for _, text := range []string{
		"", "aaa", good[:55], good + "=", good + "\n", good[:54] + "\r\n", zero,
		good[:20] + "\n" + good[21:], " " + good[1:], string(bytes.Repeat([]byte("A"), 56)),
	} {
		if _, ok := k.Verify(new(token.Scratch), ec2, 0, t0, []byte(text)); ok {
			t.Errorf("accepted %q", text)
		}
	}
}

// Two spellings of the same bytes are not both tokens.
func TestOneSpelling(t *testing.T) {
	k := token.NewKeys(ring(t, t0), "i-1")
	good := mint(t, k, 0, t0, time.Hour)
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	accepted := 0
	for _, c := range alphabet {
		good[53] = byte(c)
		if _, ok := k.Verify(new(token.Scratch), ec2, 0, t0, good); ok {
			accepted++
		}
	}
	if accepted != 1 {
		t.Errorf("%d spellings of the last character are accepted, want 1", accepted)
	}
}

func TestSurvivesRestart(t *testing.T) {
	r := ring(t, t0)
	text := mint(t, token.NewKeys(r, "i-1"), 7, t0, 6*time.Hour)
	path := t.TempDir() + "/keys"
	if err := token.Save(path, r.Secrets()); err != nil {
		t.Fatal(err)
	}
	later := t0.Add(6*time.Hour - time.Second)
	loaded, err := token.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	loaded, _, err = loaded.Advance(later, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := token.NewKeys(token.NewRing(loaded), "i-1").Verify(new(token.Scratch), ec2, 7, later, text); !ok {
		t.Error("refused after a restart")
	}
}

func TestAdvance(t *testing.T) {
	s, err := token.NewSecrets(t0, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, changed, _ := s.Advance(t0.Add(-100*time.Hour), rand.Reader); changed {
		t.Error("a clock that went backwards changed the masters")
	}
	for shift := range 5 {
		next, changed, err := s.Advance(t0.Add(time.Duration(shift)*token.EpochLength), rand.Reader)
		if err != nil || changed != (shift > 0) || next.First != s.First+int64(shift) {
			t.Fatalf("shift %d: first %d, changed %v, %v", shift, next.First, changed, err)
		}
		for i, m := range next.Masters {
			for j, old := range s.Masters {
				if same := m == old; same != (j == i+shift) {
					t.Errorf("shift %d: new master %d equals old master %d: %v", shift, i, j, same)
				}
			}
		}
	}
}

// A clock that jumped ahead of the ring must not stop tokens.
func TestClockJump(t *testing.T) {
	k := token.NewKeys(ring(t, t0), "i-1")
	for _, jump := range []time.Duration{-1000 * time.Hour, 1000 * time.Hour} {
		now := t0.Add(jump)
		text := mint(t, k, 0, now, time.Minute)
		if _, ok := k.Verify(new(token.Scratch), ec2, 0, now, text); !ok {
			t.Errorf("after a jump of %v a fresh token is refused", jump)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	s := token.Secrets{Masters: [3]token.Master{{0xab}}}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%+v", s), fmt.Sprintf("%#v", s)} {
		if text != "token secrets from epoch 0" {
			t.Errorf("printed as %q", text)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	k := token.NewKeys(ring(t, t0), "i-1")
	s := new(token.Scratch)
	buf := make([]byte, 0, 64)
	text := mint(t, k, 0, t0, time.Hour)
	if n := testing.AllocsPerRun(200, func() {
		if _, err := k.Mint(buf, s, ec2, 0, t0, time.Hour, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Mint allocates %v times", n)
	}
	if n := testing.AllocsPerRun(200, func() { k.Verify(s, ec2, 0, t0, text) }); n != 0 {
		t.Errorf("Verify allocates %v times", n)
	}
}

func BenchmarkMint(b *testing.B) {
	k, s, buf := token.NewKeys(ring(b, t0), "i-1"), new(token.Scratch), make([]byte, 0, 64)
	for b.Loop() {
		_, _ = k.Mint(buf, s, ec2, 0, t0, time.Hour, rand.Reader)
	}
}

func BenchmarkVerify(b *testing.B) {
	k, s := token.NewKeys(ring(b, t0), "i-1"), new(token.Scratch)
	text := mint(b, k, 0, t0, time.Hour)
	for b.Loop() {
		k.Verify(s, ec2, 0, t0, text)
	}
}
