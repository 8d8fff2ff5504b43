// Package alisign makes and verifies the signatures of Alibaba Cloud's
// RPC-style APIs over a request and the bytes of its body: version 1, an
// HMAC-SHA1 over the parameters of the query and of a form, and version 3
// (ACS3-HMAC-SHA256), an HMAC-SHA256 over the request as a whole. It does no
// I/O: time and nonces are parameters, and who looks up keys is a function.
//
// What a signature does not cover must not decide what a request means: version
// 1 covers no header, and version 3 those that it names.
package alisign

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// Credentials are an access key: its public identifier, its secret, and, if
// it is a temporary one, the security token that goes with it. They print
// without the secret and the token.
type Credentials struct {
	AccessKeyID     string
	AccessKeySecret string
	SecurityToken   string // empty for a long-term key
}

// String keeps secrets out of text.
func (c Credentials) String() string { return "credentials of " + c.AccessKeyID }

// GoString keeps secrets out of %#v.
func (c Credentials) GoString() string { return c.String() }

// LogValue keeps secrets out of logs.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Request is what a verified signature proves. It prints without the token and
// the parameters.
type Request struct {
	AccessKeyID   string
	SecurityToken string // empty if the key is a long-term one
	Action        string // what to do, "RunInstances"
	Version       string // of the API, "2014-05-26"
	Nonce         string // empty if a request of version 3 has none
	Timestamp     time.Time
	// Params are the parameters of the query and of the form together, but for
	// those that version 1 has of its own, from AccessKeyId to Version. Each
	// has one value, which may be empty.
	Params map[string]string
}

// String leaves out the token and the parameters, which may hold user data.
func (r Request) String() string {
	return fmt.Sprintf("%s of version %s by %s", r.Action, r.Version, r.AccessKeyID)
}

// GoString leaves the same out of %#v.
func (r Request) GoString() string { return r.String() }

// LogValue leaves the same out of logs.
func (r Request) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("access_key_id", r.AccessKeyID),
		slog.String("action", r.Action),
		slog.String("version", r.Version))
}

// Config is what a request is held against.
type Config struct {
	// Now is the time of the verifier. A request that is signed more than 15
	// minutes before or after it is refused.
	Now time.Time
	// Lookup returns the secret and the security token that belong to an access
	// key. It is told the token that came with the request, for those who keep
	// sessions in it; Verify compares the two in any case. It returns
	// ErrUnknownKey, or an *Error of its own, to refuse a request. Any other
	// error says that the look-up did not work.
	Lookup func(accessKeyID, securityToken string) (Credentials, error)
	// Nonces, if there are any, refuse a request that came before. They have to
	// remember for NonceWindow at least.
	Nonces *Nonces
}

const (
	timeLayout = "2006-01-02T15:04:05Z"
	maxSkew    = 15 * time.Minute
)

// NonceWindow is how long a signed request is accepted at most: its timestamp
// may be ahead of the clock, and then behind it.
const NonceWindow = 2 * maxSkew

// claim is what a request says of its own signature.
type claim struct {
	accessKeyID, token, nonce string
	action, version           string
	timestamp                 time.Time
	signature                 string
	// toSign returns the text that should have been signed, and sign signs it.
	toSign func() string
	sign   func(secret, text string) string
}

// Verify returns whose signature the request carries, and what is asked for.
// The body is what was read from it; the caller bounds its size. An *Error says
// why the request is refused; any other error is Lookup's.
func Verify(req *http.Request, body []byte, cfg Config) (Request, error) {
	if req.Method != http.MethodGet && req.Method != http.MethodPost {
		return Request{}, refuse(UnsupportedHTTPMethod, "This http method is not supported.")
	}
	query, params, err := parameters(req, body)
	if err != nil {
		return Request{}, err
	}
	read := claimV1
	if strings.HasPrefix(req.Header.Get("Authorization"), "ACS3-") {
		read = claimV3
	}
	c, err := read(req, body, query, params)
	if err != nil {
		return Request{}, err
	}
	if skew := cfg.Now.Sub(c.timestamp); skew.Abs() > maxSkew {
		return Request{}, refuse(TimestampExpired, "Specified time stamp or date value is expired.")
	}
	creds, err := c.credentials(cfg.Lookup)
	if err != nil {
		return Request{}, err
	}
	if toSign := c.toSign(); !equal(c.sign(creds.AccessKeySecret, toSign), c.signature) {
		return Request{}, refuse(SignatureDoesNotMatch, "Specified signature is not matched with our calculation."+serverString+toSign)
	}
	if err := c.checkToken(creds.SecurityToken); err != nil {
		return Request{}, err
	}
	if err := c.checkNonce(cfg.Nonces, cfg.Now); err != nil {
		return Request{}, err
	}
	return Request{
		AccessKeyID:   c.accessKeyID,
		SecurityToken: c.token,
		Action:        c.action,
		Version:       c.version,
		Nonce:         c.nonce,
		Timestamp:     c.timestamp,
		Params:        params,
	}, nil
}

func (c *claim) credentials(lookup func(accessKeyID, securityToken string) (Credentials, error)) (Credentials, error) {
	creds, err := lookup(c.accessKeyID, c.token)
	var refusal *Error
	switch {
	case errors.As(err, &refusal):
		return Credentials{}, refusal
	case errors.Is(err, ErrUnknownKey), err == nil && creds.AccessKeySecret == "":
		return Credentials{}, refuse(UnknownAccessKey, "The specified Access Key ID does not exist.")
	case err != nil:
		return Credentials{}, fmt.Errorf("look up access key: %w", err)
	}
	return creds, nil
}

func (c *claim) checkToken(want string) error {
	switch {
	case equal(c.token, want):
		return nil
	case c.token == "":
		return refuse(MissingSecurityToken, "SecurityToken is mandatory for this action.")
	default:
		return refuse(WrongSecurityToken, "Specified SecurityToken does not match the AccessKey.")
	}
}

// checkNonce comes last: only who holds a key can fill the memory of nonces.
func (c *claim) checkNonce(nonces *Nonces, now time.Time) error {
	if nonces == nil {
		return nil
	}
	once := c.nonce
	if once == "" {
		// No second request has the same signature unless it is the same.
		once = "\x00" + c.signature
	}
	switch err := nonces.Use(c.accessKeyID+"\x00"+once, now); {
	case err == nil:
		return nil
	case errors.Is(err, ErrUsed):
		return refuse(NonceUsed, "The request signature nonce has been used.")
	default:
		return refuse(Throttling, "You have made too many requests within a short time; your request is denied due to request throttling.")
	}
}

// parseTime reads the one form of a timestamp that the vendor knows.
func parseTime(parameter, text string) (time.Time, error) {
	t, err := time.Parse(timeLayout, text)
	if err != nil || len(text) != len(timeLayout) {
		return time.Time{}, refuse(IllegalTimestamp, notSupplied(parameter))
	}
	return t, nil
}

// equal takes a time that does not depend on where two strings differ.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
