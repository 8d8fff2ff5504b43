// Package sigv4 makes and verifies AWS Signature Version 4 over a request and
// the bytes of its body, in the header form (Authorization) and in the query
// form (presigned URLs). It does no I/O: time is a parameter, and who looks up
// keys is a function.
//
// What a signature covers: the method, the path, the query, the body, and the
// headers that it names; of these, Host and every x-amz- header are required.
// What it does not cover must not decide what a request means.
package sigv4

import (
	"fmt"
	"log/slog"
	"time"
)

// Credentials are an access key: its public identifier, its secret, and, if
// it is a temporary one, the session token that goes with it. They print
// without the secret and the token.
type Credentials struct {
	AccessKeyID  string
	SecretKey    string
	SessionToken string // empty for a long-term key
}

// String keeps secrets out of text.
func (c Credentials) String() string { return "credentials of " + c.AccessKeyID }

// GoString keeps secrets out of %#v.
func (c Credentials) GoString() string { return c.String() }

// LogValue keeps secrets out of logs.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Identity is what a verified signature proves. It prints without the token.
type Identity struct {
	AccessKeyID   string
	SessionToken  string // empty if the key is a long-term one
	Region        string
	Service       string
	SignedHeaders []string // lower case, sorted
	Date          time.Time
}

// String leaves the token out.
func (i Identity) String() string {
	return fmt.Sprintf("%s for %s in %s", i.AccessKeyID, i.Service, i.Region)
}

// GoString keeps the token out of %#v.
func (i Identity) GoString() string { return i.String() }

// LogValue keeps the token out of logs.
func (i Identity) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("access_key_id", i.AccessKeyID),
		slog.String("region", i.Region),
		slog.String("service", i.Service))
}
