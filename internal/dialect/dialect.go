// Package dialect is what a dialect of the metadata service has to say, and
// the guards that every dialect shares. A dialect is a value: a table of
// items, the names of its headers, the statuses of its refusals and the exact
// form of its answers. It decides nothing; the order of decisions is one and
// the same for all, and stands in Decide.
package dialect

import (
	"net/netip"

	"openimds/internal/item"
)

// Dialect describes one cloud's metadata service. It is immutable.
type Dialect struct {
	// Name is the dialect's name in configuration and metrics: ecs, ec2.
	Name string
	// Addresses are the link-local addresses that clients have built in. They
	// are always accepted as Host.
	Addresses []netip.Addr
	// Tree is the compiled table of items.
	Tree *item.Tree
	// Session describes session tokens.
	Session Session
	// Refusals are the statuses in which dialects differ.
	Refusals Refusals
	// CloseByDefault: an HTTP/1.1 connection is closed after an answer unless
	// the client asked to keep it alive.
	CloseByDefault bool
	// DefaultHopLimit applies to instances that set none; 0: not limited.
	DefaultHopLimit int
	// IPv6OptIn: the IPv6 address answers only instances whose options enable
	// it.
	IPv6OptIn bool
	// Append appends the whole answer to dst: status line, headers, empty
	// line and body. It keeps nothing of r.
	Append func(dst []byte, r *Reply) []byte
}

// Session describes a dialect's session tokens.
type Session struct {
	// TokenHeader and TTLHeader are the header names in lower case.
	TokenHeader, TTLHeader string
	// Prefix are the first four bytes of a token.
	Prefix [4]byte
}

// Refusals are statuses of refusals.
type Refusals struct {
	// MissingToken: no token where one is required.
	MissingToken int
	// InexactTokenPath: PUT on a dated token path, or with a trailing slash.
	InexactTokenPath int
	// Throttled: over the rate.
	Throttled int
	// ForwardedRead: X-Forwarded-For on a read that carries a token; 0: allowed.
	ForwardedRead int
	// Expect100: a client that waits for 100 Continue; 0: it is answered at once.
	Expect100 int
	// TokenPathAllow is the Allow header for other methods on the token path.
	TokenPathAllow string
}

// Forms of an identity document's signature, each named as its item is.
const (
	// FormSignature is a bare signature (EC2).
	FormSignature = "signature"
	// FormPKCS7 is a PKCS#7 envelope around the document (ECS; EC2: by a DSA key).
	FormPKCS7 = "pkcs7"
	// FormRSA2048 is a PKCS#7 envelope around the document (EC2).
	FormRSA2048 = "rsa2048"
)

// Signed returns the parts of a row whose value is a signature over the
// identity document that document appends.
func Signed(form string, document func([]byte, *item.Query) ([]byte, bool)) (get func([]byte, *item.Query) ([]byte, bool), has func(*item.Query) bool) {
	has = func(q *item.Query) bool { return q.Signer != nil && q.Signer.Signs(q.Instance, form) }
	get = func(dst []byte, q *item.Query) ([]byte, bool) {
		start := len(dst)
		if q.Signer == nil {
			return dst, false
		}
		dst, ok := document(dst, q)
		if !ok {
			return dst, false
		}
		signature, refusal := q.Signer.Sign(q.Instance, form, dst[start:])
		if signature == nil {
			q.Refusal = refusal
			return dst, false
		}
		return append(dst[:start], signature...), true
	}
	return get, has
}

// TokenPath is the only path that mints session tokens, in every dialect.
const TokenPath = "/latest/api/token"

// MaxTTL is the longest life of a session token in seconds.
const MaxTTL = 21600

// Outcome is what became of a request: a bounded label of the counters.
type Outcome uint8

// Outcomes. Their order is that of the decisions.
const (
	Served           Outcome = iota // 200 with a value or a listing
	Absent                          // 404: no such item
	Minted                          // 200 with a session token
	UnknownCaller                   // 404: no instance has the caller's address
	Malformed                       // 4xx or 5xx: not a well-formed message
	MethodRefused                   // 405
	HostRefused                     // 403: Host is none of ours
	ExpectRefused                   // 417
	EndpointDisabled                // 403
	Throttled                       // 429 or 503
	Browser                         // 403: Origin or Sec-Fetch-* header
	Forwarded                       // 403: came through a proxy
	TokenPathRefused                // PUT on an inexact token path
	BadTTL                          // 400: TTL missing or out of range
	BadToken                        // 401
	NoToken                         // 401 or 403: token required and not given
	Injected                        // a fault that a test asked for
	Failed                          // 503: the service itself could not
	Outcomes                        // how many there are
)

var outcomeNames = [Outcomes]string{
	"served", "absent", "minted", "unknown_caller", "malformed", "method_refused",
	"host_refused", "expect_refused", "endpoint_disabled", "throttled", "browser",
	"forwarded", "token_path_refused", "bad_ttl", "bad_token", "no_token", "injected", "failed",
}

// String returns the outcome as a metric label.
func (o Outcome) String() string { return outcomeNames[o] }

// Access is how a request was authorised: a label of the counters.
type Access uint8

// Access modes of a request.
const (
	NoAccess  Access = iota // refused before tokens were looked at
	TokenFree               // normal mode, IMDSv1
	Tokened                 // security hardening mode, IMDSv2
	Accesses                // how many there are
)

var accessNames = [Accesses]string{"none", "token_free", "tokened"}

// String returns the access mode as a metric label.
func (a Access) String() string { return accessNames[a] }

// Content tells what a body is.
type Content uint8

// Contents of bodies.
const (
	Text   Content = iota // an item's value, a listing or a token
	Binary                // user data, vendor data
	Error                 // the dialect's error page, or nothing
)

// Reply is an answer before it has a dialect's form.
type Reply struct {
	Status  int
	Outcome Outcome
	// Body of a 200. Error bodies are the dialect's own, made from Status and
	// Outcome.
	Body    []byte
	Content Content
	// TokenTTL is the remaining life in seconds of the token that was minted
	// or presented; -1: there was none.
	TokenTTL int
	// Allow is the Allow header of a 405.
	Allow string
	// RetryAfter in seconds, where Outcome is Throttled.
	RetryAfter int
	// Head: the headers of the answer to a GET, without its body.
	Head bool
	// Close: the connection is closed after the answer. KeepAlive: an HTTP/1.0
	// client asked to keep it open, it stays open, and has to be told.
	Close, KeepAlive bool
	// Date and Modified are the time of the answer and of the instance's last
	// change, in the form of RFC 9110 §5.6.7, 29 bytes.
	Date, Modified []byte
}
