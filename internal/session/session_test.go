package session_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"openimds/internal/seal"
	"openimds/internal/session"
	"openimds/internal/testnet"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ring(t *testing.T, fill byte) *seal.Ring {
	t.Helper()
	k, err := seal.NewKey(bytes.Repeat([]byte{fill}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return seal.NewRing(k)
}

func claims(dialect string) session.Claims {
	return session.Claims{
		Dialect: dialect, Account: "123456789012", Role: "web", Name: "i-1", Issued: now, Expires: now.Add(6 * time.Hour),
		Policy: `{"Version":"confidential"}`, Born: 7, RoleEpoch: 8, InstanceEpoch: 9,
		Via:      []session.Link{{Account: "210987654321", Role: "first", Instance: "i-0", Born: 1, RoleEpoch: 2, InstanceEpoch: 3}},
		Instance: &session.Instance{ID: "i-1", ARN: "arn:i-1", VPC: "vpc-1", IPv4: netip.MustParseAddr("10.0.0.1"), Delivery: session.Tokened},
	}
}

// TestRoundTrip has the forms of EC2-STS-01 and ECS-STS-01.
func TestRoundTrip(t *testing.T) {
	for dialect, form := range map[string]string{"ec2": `^ASIA[A-Z2-7]{16}$`, "ecs": `^STS\.N[A-Z2-7]{24}$`} {
		r := ring(t, 1)
		k, err := session.Issue(r, claims(dialect), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(form).MatchString(k.AccessKeyID) || !session.IsKeyID(dialect, k.AccessKeyID) || len(k.AccessKeySecret) != 40 {
			t.Errorf("%s: access key %q with a secret of %d characters", dialect, k.AccessKeyID, len(k.AccessKeySecret))
		}
		secret, c, err := session.Open(r, dialect, k.AccessKeyID, k.SessionToken, now.Add(6*time.Hour-1))
		if err != nil || secret != k.AccessKeySecret || !reflect.DeepEqual(c, claims(dialect)) {
			t.Errorf("%s: opened %v, the same secret %v, %v", dialect, c, secret == k.AccessKeySecret, err)
		}
		if secret, _, err := session.Open(r, dialect, k.AccessKeyID, k.SessionToken, now.Add(6*time.Hour)); !errors.Is(err, session.ErrExpired) || secret != "" {
			t.Errorf("%s: at its end: %v", dialect, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	r := ring(t, 1)
	k, err := session.Issue(r, claims("ec2"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := session.Issue(r, claims("ec2"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if k.AccessKeyID == other.AccessKeyID || k.AccessKeySecret == other.AccessKeySecret || k.SessionToken == other.SessionToken {
		t.Error("two sessions have something in common")
	}
	flipped := []byte(k.SessionToken)
	flipped[len(flipped)/2] ^= 1
	for name, c := range map[string]struct {
		ring               *seal.Ring
		dialect, id, token string
	}{
		"no token":            {r, "ec2", k.AccessKeyID, ""},
		"another key's token": {r, "ec2", k.AccessKeyID, other.SessionToken},
		"another cloud":       {r, "ecs", k.AccessKeyID, k.SessionToken},
		"another seal key":    {ring(t, 2), "ec2", k.AccessKeyID, k.SessionToken},
		"one bit":             {r, "ec2", k.AccessKeyID, string(flipped)},
		"cut off":             {r, "ec2", k.AccessKeyID, k.SessionToken[:len(k.SessionToken)-4]},
		"padding":             {r, "ec2", k.AccessKeyID, k.SessionToken + "="},
		"a line end inside":   {r, "ec2", k.AccessKeyID, k.SessionToken[:8] + "\n" + k.SessionToken[8:]},
		"too long":            {r, "ec2", k.AccessKeyID, strings.Repeat("A", 1<<20)},
	} {
		if secret, _, err := session.Open(c.ring, c.dialect, c.id, c.token, now); !errors.Is(err, session.ErrInvalid) || secret != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNothingIsShown: a token cannot be read, and claims print without the
// policy.
func TestNothingIsShown(t *testing.T) {
	k, err := session.Issue(ring(t, 1), claims("ec2"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	testnet.Logger(&log, nil).Info("made", "credentials", k, "value", *k, "claims", claims("ec2"))
	shown := log.String() + fmt.Sprintf("%v %+v %#v %s %v %#v %+v", *k, *k, *k, k, claims("ec2"), claims("ec2"), claims("ec2"))
	for _, secret := range []string{k.AccessKeySecret, k.SessionToken, "confidential"} {
		if strings.Contains(shown, secret) {
			t.Errorf("shown: %s", shown)
		}
	}
}

// FuzzOpen: whatever a token is, Open opens only what Issue made.
func FuzzOpen(f *testing.F) {
	k, err := seal.NewKey(bytes.Repeat([]byte{1}, seal.KeySize))
	if err != nil {
		f.Fatal(err)
	}
	r := seal.NewRing(k)
	good, err := session.Issue(r, claims("ec2"), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.SessionToken)
	f.Add("")
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, token string) {
		if _, _, err := session.Open(r, "ec2", good.AccessKeyID, token, now); (err == nil) != (token == good.SessionToken) {
			t.Errorf("opened %q: %v", token, err)
		}
	})
}
