package seal_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"openimds/internal/seal"
	"openimds/internal/testnet"
)

// key returns a key of 32 equal bytes.
func key(t testing.TB, b byte) seal.Key {
	t.Helper()
	k, err := seal.NewKey(bytes.Repeat([]byte{b}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// What is sealed is opened, in its place, and nowhere else and in no other
// form.
func TestSeal(t *testing.T) {
	ring, other := seal.NewRing(key(t, 1)), seal.NewRing(key(t, 2))
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "secret")
		context := rapid.String().Draw(t, "context")
		sealed := ring.Seal(secret, context)
		if got, err := ring.Open(sealed, context); err != nil || !bytes.Equal(got, secret) || got == nil {
			t.Fatalf("opened %x, %v; want %x", got, err, secret)
		}
		if len(sealed) != len(secret)+seal.Overhead {
			t.Fatalf("%d bytes more, want %d", len(sealed)-len(secret), seal.Overhead)
		}
		if again := ring.Seal(secret, context); bytes.Equal(again, sealed) {
			t.Fatal("sealed twice in the same way")
		}
		if elsewhere := rapid.String().Draw(t, "elsewhere"); elsewhere != context {
			if _, err := ring.Open(sealed, elsewhere); !errors.Is(err, seal.ErrDamaged) {
				t.Fatalf("in another place: %v", err)
			}
		}
		if _, err := other.Open(sealed, context); !errors.Is(err, seal.ErrKey) {
			t.Fatalf("under another key: %v", err)
		}
		at := rapid.IntRange(0, len(sealed)-1).Draw(t, "at")
		bad := bytes.Clone(sealed)
		bad[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "change"))
		for what, b := range map[string][]byte{"changed": bad, "cut off": sealed[:at], "longer": append(bytes.Clone(sealed), 0)} {
			if got, err := ring.Open(b, context); err == nil {
				t.Fatalf("%s at %d: opened %x", what, at, got)
			}
		}
	})
}

// The bytes of a secret do not show in what is sealed.
func TestSealHides(t *testing.T) {
	secret := []byte(strings.Repeat("secret", 10))
	if sealed := seal.NewRing(key(t, 1)).Seal(secret, "context"); bytes.Contains(sealed, []byte("secret")) || bytes.Contains(sealed, []byte("context")) {
		t.Errorf("sealed as %q", sealed)
	}
}

// What was sealed once must open for ever: this was sealed by the first
// version.
func TestSealedForm(t *testing.T) {
	const sealed = "014ddaa4709d61f7ea5c9998c687c1d5e4b370353bc7f8a9be08233502bbf311a9379582816deb5d217a7765b3c5c81f1340a1cd"
	b, err := hex.DecodeString(sealed)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := seal.NewRing(key(t, 1)).Open(b, "accesskey/AKIAIMDSDEV000000000"); err != nil || string(got) != "imds-dev-secret" {
		t.Errorf("opened %q, %v", got, err)
	}
}

// A new key seals, the old one still opens, until it is given up.
func TestRotation(t *testing.T) {
	first := seal.NewRing(key(t, 1))
	sealed := first.Seal([]byte("secret"), "c")
	both := seal.NewRing(key(t, 2), key(t, 1))
	if got, err := both.Open(sealed, "c"); err != nil || string(got) != "secret" {
		t.Errorf("opened %q, %v", got, err)
	}
	if first.Stale(sealed) || !both.Stale(sealed) {
		t.Errorf("stale: %v under its key, %v under a newer one", first.Stale(sealed), both.Stale(sealed))
	}
	again := both.Seal([]byte("secret"), "c")
	if both.Stale(again) {
		t.Error("sealed anew, and stale")
	}
	if _, err := seal.NewRing(key(t, 2)).Open(again, "c"); err != nil {
		t.Errorf("under the new key alone: %v", err)
	}
	_, err := first.Open(again, "c")
	if !errors.Is(err, seal.ErrKey) || !strings.Contains(err.Error(), key(t, 2).ID()) || !strings.Contains(err.Error(), key(t, 1).ID()) {
		t.Errorf("under the old key alone: %v; want it to name both keys", err)
	}
	for _, b := range [][]byte{nil, {1}, {1, 2, 3, 4, 5, 6, 7, 8}, bytes.Repeat([]byte{2}, 100)} {
		if !both.Stale(b) {
			t.Errorf("%x is not stale", b)
		}
		if _, err := both.Open(b, "c"); !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("Open of %x: %v", b, err)
		}
	}
}

func TestNewKey(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33, 64} {
		if _, err := seal.NewKey(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes", n)
		}
	}
	if one, same, other := key(t, 1).ID(), key(t, 1).ID(), key(t, 2).ID(); one != same || one == other || len(one) != 16 {
		t.Errorf("ids %s and %s of one key, %s of another", one, same, other)
	}
}

// However a key or a ring is printed, it is by its id.
func TestKeysAreNotShown(t *testing.T) {
	k := key(t, 0xab)
	ring := seal.NewRing(k)
	holder := struct {
		K seal.Key
		R *seal.Ring
	}{k, ring}
	var log bytes.Buffer
	testnet.Logger(&log, nil).Info("x", "key", k, "ring", ring, "holder", holder)
	testnet.JSONLogger(&log, nil).Info("x", "key", k, "ring", ring, "holder", holder)
	encoded, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{log.String(), string(encoded)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{k, &k, ring, holder, []seal.Key{k}} {
			texts = append(texts, fmt.Sprintf(verb, v))
		}
	}
	for _, text := range texts {
		if !strings.Contains(text, k.ID()) && !strings.Contains(text, "0x") {
			t.Errorf("%q does not name the key", text)
		}
		for _, shown := range []string{"abababab", "171 171", "0xab, 0xab", "q6ur", "cipher", "aead"} {
			if strings.Contains(text, shown) {
				t.Errorf("%q shows %q", text, shown)
			}
		}
	}
}

func FuzzOpen(f *testing.F) {
	ring := seal.NewRing(key(f, 1))
	good := ring.Seal([]byte("secret"), "c")
	f.Add(good)
	f.Add(good[:seal.Overhead])
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if got, err := ring.Open(sealed, "c"); err == nil && !bytes.Equal(sealed, good) {
			t.Errorf("opened %x to %q", sealed, got)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	ring := seal.NewRing(key(b, 1))
	sealed := ring.Seal(make([]byte, 40), "c")
	for b.Loop() {
		if _, err := ring.Open(sealed, "c"); err != nil {
			b.Fatal(err)
		}
	}
}
