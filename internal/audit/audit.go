// Package audit keeps the record of who asked the control plane for what, and
// what came of it: a file of JSON lines that is only ever appended to, rotated
// by size and age, and read newest first. A call is answered only after its
// record has reached the kernel, so that a process that is killed loses none;
// a machine that loses power loses what came after the last sync, a second's
// worth.
package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// API is the interface that a call came through.
type API string

// The interfaces.
const (
	EC2   API = "ec2"
	ECS   API = "ecs"
	STS   API = "sts"
	Admin API = "admin"
)

// Decision is whether a call was let through.
type Decision string

// The decisions. A caller who could not be made out is denied.
const (
	Allow Decision = "allow"
	Deny  Decision = "deny"
)

// Record is one call. It holds no secrets: of keys their identifiers only, of
// user data, credentials and tokens nothing but the fact that they changed.
type Record struct {
	// Time is when the call was decided; it must be set. It is kept in UTC.
	Time time.Time `json:"time"`
	// RequestID is the identifier that the caller got with the answer.
	RequestID string `json:"requestId,omitempty"`
	// Principal is who called, as a resource name; empty if nobody knows.
	Principal string `json:"principal,omitempty"`
	// AccessKeyID is the access key that the call was signed with, as claimed.
	AccessKeyID string `json:"accessKeyId,omitempty"`
	SourceIP    string `json:"sourceIp,omitempty"`
	UserAgent   string `json:"userAgent,omitempty"`
	API         API    `json:"api"`
	// Action is the action with its service, such as ec2:RunInstances.
	Action string `json:"action"`
	// Resources are the names of the resources it was about.
	Resources []string `json:"resources,omitempty"`
	Decision  Decision `json:"decision"`
	// Reason is why: "allow", "explicit deny", "implicit deny", or what kept
	// the call from being decided.
	Reason string `json:"reason,omitempty"`
	// Policy and Sid name the statement that decided, if one did.
	Policy string `json:"policy,omitempty"`
	Sid    string `json:"sid,omitempty"`
	// Error is the code of the error that the caller got; empty: none.
	Error string `json:"error,omitempty"`
	// Changes is what a call that was let through set out to change: what was there then, and what it asked for.
	Changes []Change `json:"changes,omitempty"`
	// Cut tells that something was too long and is missing its end.
	Cut bool `json:"cut,omitempty"`
}

// Change is one value that a call changed. Of a secret, From and To are empty.
type Change struct {
	Resource string `json:"resource,omitempty"`
	Field    string `json:"field"`
	From     string `json:"from,omitempty"`
	To       string `json:"to,omitempty"`
}

// Limits of a record. Callers choose the length of much that is in it, and a
// reader must be able to hold a line.
const (
	maxLine = 64 << 10 // bytes of a line, with its end
	maxText = 512      // bytes of one text: escapes can make six times as many
)

// encode returns the record as a line with its end, no longer than maxLine.
func (r Record) encode() ([]byte, error) {
	if r.Time.IsZero() {
		return nil, fmt.Errorf("audit record of %s has no time", r.Action)
	}
	r.Time = r.Time.UTC()
	for _, s := range []*string{
		&r.RequestID, &r.Principal, &r.AccessKeyID, &r.SourceIP, &r.UserAgent, (*string)(&r.API), &r.Action,
		(*string)(&r.Decision), &r.Reason, &r.Policy, &r.Sid, &r.Error,
	} {
		*s = r.clip(*s)
	}
	resources, changes := make([]string, len(r.Resources)), make([]Change, len(r.Changes))
	for i, s := range r.Resources {
		resources[i] = r.clip(s)
	}
	for i, c := range r.Changes {
		changes[i] = Change{r.clip(c.Resource), r.clip(c.Field), r.clip(c.From), r.clip(c.To)}
	}
	r.Resources, r.Changes = resources, changes
	for {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(r); err != nil {
			return nil, fmt.Errorf("encode audit record: %w", err)
		}
		if b.Len() <= maxLine {
			return b.Bytes(), nil
		}
		// Without the lists, the rest always fits.
		r.Cut = true
		r.Resources, r.Changes = r.Resources[:len(r.Resources)/2], r.Changes[:len(r.Changes)/2]
	}
}

// clip returns at most maxText bytes of a text, and notes that it was longer.
func (r *Record) clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	r.Cut = true
	return strings.ToValidUTF8(s[:maxText], "")
}
