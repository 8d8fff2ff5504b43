package token_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"openimds/internal/token"
)

var prefix = [4]byte{1, 0, 4, 0}

// A leased key and the ring it was derived from make and take each other's
// tokens, of this instance alone.
func TestLease(t *testing.T) {
	now := time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)
	secrets, err := token.NewSecrets(now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ring := token.NewRing(secrets)
	lease, err := secrets.Lease("i-1")
	if err != nil {
		t.Fatal(err)
	}
	// A lease travels as JSON.
	text, err := json.Marshal(lease)
	if err != nil {
		t.Fatal(err)
	}
	var arrived token.Lease
	if err := json.Unmarshal(text, &arrived); err != nil {
		t.Fatal(err)
	}
	if err := arrived.Check(); err != nil {
		t.Fatal(err)
	}
	here, there, other := token.NewKeys(ring, "i-1"), token.NewLeasedKeys("i-1"), token.NewLeasedKeys("i-2")
	var s token.Scratch
	if _, err := there.Mint(nil, &s, prefix, 0, now, time.Hour, rand.Reader); err == nil {
		t.Error("a token was made without keys")
	}
	there.Set(arrived)
	other.Set(arrived)
	for name, keys := range map[string][2]*token.Keys{"ring to lease": {here, there}, "lease to ring": {there, here}} {
		made, err := keys[0].Mint(nil, &s, prefix, 0, now, time.Hour, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := keys[1].Verify(&s, prefix, 0, now, made); !ok {
			t.Errorf("%s: refused", name)
		}
		if _, ok := other.Verify(&s, prefix, 0, now, made); ok {
			t.Errorf("%s: good on another instance", name)
		}
	}
	for _, shown := range []string{lease.String(), fmt.Sprintf("%v %#v", lease, lease)} {
		if strings.Contains(shown, fmt.Sprint(lease.Keys[0][0], " ", lease.Keys[0][1])) {
			t.Errorf("a formatted lease shows its keys: %s", shown)
		}
	}
	arrived.Keys[1] = arrived.Keys[1][:31]
	if arrived.Check() == nil {
		t.Error("a short key passed")
	}
}

// A new lease takes over as the epochs move on; tokens of the old one live on.
func TestLeaseMoves(t *testing.T) {
	now := time.Date(2026, 3, 1, 11, 59, 0, 0, time.UTC)
	secrets, _ := token.NewSecrets(now, rand.Reader)
	first, _ := secrets.Lease("i-1")
	keys := token.NewLeasedKeys("i-1")
	keys.Set(first)
	var s token.Scratch
	made, err := keys.Mint(nil, &s, prefix, 0, now, 6*time.Hour, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	later := now.Add(5 * time.Hour)
	next, changed, err := secrets.Advance(later, rand.Reader)
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	second, _ := next.Lease("i-1")
	keys.Set(second)
	if _, ok := keys.Verify(&s, prefix, 0, later, made); !ok {
		t.Error("a token did not outlive its epoch")
	}
	if _, ok := keys.Verify(&s, prefix, 0, now.Add(7*time.Hour), made); ok {
		t.Error("a token outlived its time")
	}
}
