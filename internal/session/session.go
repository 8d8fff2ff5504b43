// Package session makes and reads the temporary credentials of a role. They
// are stateless: all that is known of a session, its secret key included, is
// sealed in its session token, so that whoever has the seal keys can verify a
// signature of any session and nobody else can read or make one. Time is a
// parameter.
package session

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"openimds/internal/instance"
	"openimds/internal/seal"
)

// Deliveries of credentials to an instance: fetched from its metadata service
// in normal mode, or with a session token of the metadata service.
const (
	TokenFree = "1.0"
	Tokened   = "2.0"
)

// Claims are what a session token says.
type Claims struct {
	// Dialect whose APIs the session may call: ecs or ec2.
	Dialect string `json:"d"`
	Account string `json:"a"`
	Role    string `json:"r"`
	// Name of the session: of an instance's, the instance's id.
	Name    string    `json:"n"`
	Issued  time.Time `json:"i"`
	Expires time.Time `json:"e"`
	// Policy, if any, narrows what the role may do: a document in the dialect's language.
	Policy string `json:"p,omitempty"`
	// Instance that the credentials were delivered to; nil: they were got by AssumeRole.
	Instance *Instance `json:"m,omitempty"`
	// Born is when the role was made, in Unix nanoseconds: a role of the same name that is made later is another one.
	Born int64 `json:"b"`
	// RoleEpoch and InstanceEpoch are the revocations that were in force when the session began, in Unix nanoseconds; 0: none. A later one ends it.
	RoleEpoch     int64 `json:"re,omitempty"`
	InstanceEpoch int64 `json:"me,omitempty"`
	// Via are the sessions by which this one was begun, the first of them first; empty: by no session. Whatever ends one of those ends this one.
	Via []Link `json:"via,omitempty"`
}

// Link is what can end a session, without its secrets.
type Link struct {
	Account string `json:"a"`
	Role    string `json:"r"`
	// Instance that was given the session, if any.
	Instance string `json:"m,omitempty"`
	// Born, RoleEpoch and InstanceEpoch are those of the session.
	Born          int64 `json:"b"`
	RoleEpoch     int64 `json:"re,omitempty"`
	InstanceEpoch int64 `json:"me,omitempty"`
}

// Link returns what can end the session itself.
func (c Claims) Link() Link {
	l := Link{Account: c.Account, Role: c.Role, Born: c.Born, RoleEpoch: c.RoleEpoch, InstanceEpoch: c.InstanceEpoch}
	if c.Instance != nil {
		l.Instance = c.Instance.ID
	}
	return l
}

// Links returns what can end the session: all that it came by, and itself. A
// link that says no more than one before it is left out, so that there are no
// more than roles, and instances, that differ.
func (c Claims) Links() []Link {
	all := slices.Clone(c.Via)
	self := c.Link()
	for _, l := range all {
		// The earlier one knows no later revocations.
		if l.Account == self.Account && l.Role == self.Role && l.Born == self.Born && (self.Instance == "" || self.Instance == l.Instance) {
			return all
		}
	}
	return append(all, self)
}

// Instance is where credentials were delivered to.
type Instance struct {
	// ID of the instance, and its name in policies.
	ID  string `json:"i"`
	ARN string `json:"a"`
	// VPC and IPv4 of its primary network interface.
	VPC  string     `json:"v,omitempty"`
	IPv4 netip.Addr `json:"4,omitzero"`
	// Delivery is TokenFree or Tokened.
	Delivery string `json:"d"`
}

// Errors of Open.
var (
	// ErrInvalid: the token is damaged, of another access key, or not ours.
	ErrInvalid = errors.New("the session token is not valid")
	// ErrExpired: the session is over.
	ErrExpired = errors.New("the session is over")
)

// maxToken bounds what is looked at: a session policy of 2,048 characters and
// all the rest are well below.
const maxToken = 8 << 10

// secretSize is the size of a secret access key in bytes, which are 40
// characters.
const secretSize = 30

// sealed is what a token holds.
type sealed struct {
	Secret []byte `json:"s"`
	Claims
}

// text spells tokens and secrets: one spelling for each, of characters that
// need no escape in any signature.
var text = base64.RawURLEncoding.Strict()

// Issue makes the credentials of a session. They print without the secret.
func Issue(ring *seal.Ring, c Claims, random io.Reader) (*instance.Credentials, error) {
	var id [15]byte
	s := sealed{Secret: make([]byte, secretSize), Claims: c}
	for _, b := range [][]byte{id[:], s.Secret} {
		if _, err := io.ReadFull(random, b); err != nil {
			return nil, fmt.Errorf("make session credentials: %w", err)
		}
	}
	plain, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("make session credentials: %w", err)
	}
	key := newKeyID(c.Dialect, id)
	return &instance.Credentials{
		AccessKeyID:     key,
		AccessKeySecret: text.EncodeToString(s.Secret),
		SessionToken:    text.EncodeToString(ring.Seal(plain, place(c.Dialect, key))),
		Updated:         c.Issued, Expires: c.Expires,
	}, nil
}

// Open reads the session token that goes with an access key of a dialect. The
// secret is what the key signs with. The error is ErrInvalid, or ErrExpired
// together with the claims.
func Open(ring *seal.Ring, dialect, accessKeyID, token string, now time.Time) (secret string, c Claims, err error) {
	if len(token) > maxToken {
		return "", Claims{}, ErrInvalid
	}
	raw, err := text.DecodeString(token)
	if err != nil || strings.ContainsAny(token, "\r\n") { // line ends, which the decoder passes over, would be a second spelling
		return "", Claims{}, ErrInvalid
	}
	plain, err := ring.Open(raw, place(dialect, accessKeyID))
	if err != nil {
		return "", Claims{}, ErrInvalid
	}
	var s sealed
	if err := json.Unmarshal(plain, &s); err != nil || s.Dialect != dialect || len(s.Secret) != secretSize {
		return "", Claims{}, ErrInvalid
	}
	if !now.Before(s.Expires) {
		return "", s.Claims, ErrExpired
	}
	return text.EncodeToString(s.Secret), s.Claims, nil
}

// place binds a token to its access key.
func place(dialect, accessKeyID string) string { return "session/" + dialect + "/" + accessKeyID }

// String says whose session it is.
func (c Claims) String() string {
	return fmt.Sprintf("session %s of role %s of account %s", c.Name, c.Role, c.Account)
}

// GoString is String: a session policy may be confidential.
func (c Claims) GoString() string { return c.String() }

// LogValue leaves the session policy out of logs.
func (c Claims) LogValue() slog.Value {
	return slog.GroupValue(slog.String("role", c.Role), slog.String("session", c.Name), slog.String("account", c.Account), slog.Time("expires", c.Expires))
}
