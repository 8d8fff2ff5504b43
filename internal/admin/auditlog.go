package admin

import (
	"time"

	"openimds/internal/audit"
	"openimds/internal/fault"
)

var auditParams = []param{
	{name: "since", doc: "from this time on: RFC 3339, or how long ago, such as 1h"},
	{name: "until", doc: "before this time, written in the same way"},
	{name: "principal", doc: "of this caller, by its full name"},
	{name: "action", doc: "of this action, such as ec2:RunInstances or admin:Apply"},
	{name: "decision", doc: "with this decision", words: []string{string(audit.Allow), string(audit.Deny)}},
	{name: "resource", doc: "about this resource: its full name, or what follows its last slash"},
	{name: "limit", doc: "how many at most, 1 to 1000; 100 if it is not given"},
}

// AuditRecords is the answer to a query of the audit log.
type AuditRecords struct {
	// Records, the newest first.
	Records []audit.Record `json:"records"`
	// There are older ones that match.
	More bool `json:"more"`
	// How many lines of the log could not be read.
	Damaged int `json:"damaged,omitempty"`
	// Where the newest of them is.
	Damage string `json:"damage,omitempty"`
}

func (c *call) audit() (AuditRecords, error) {
	out := AuditRecords{Records: []audit.Record{}}
	if c.Audit == nil {
		return out, fault.New(fault.Unsupported, "nothing is recorded here: imds dev keeps an audit log with --state DIR, imds serve always does")
	}
	f := audit.Filter{
		Principal: c.query.Get("principal"), Action: c.query.Get("action"), Resource: c.query.Get("resource"), Decision: audit.Decision(c.query.Get("decision")),
	}
	var err error
	if f.Limit, err = limit(c.query); err != nil {
		return out, err
	}
	if f.Since, err = c.ago("since"); err != nil {
		return out, err
	}
	if f.Until, err = c.ago("until"); err != nil {
		return out, err
	}
	if err := c.Control.Permit(c.caller); err != nil {
		return out, err
	}
	found, err := c.Audit.Query(c.Context(), f)
	if err != nil {
		return out, err
	}
	if found.Records != nil {
		out.Records = found.Records
	}
	out.More, out.Damaged, out.Damage = found.More, found.Damaged, found.Damage
	return out, nil
}

// ago reads a time, or how long ago it was.
func (c *call) ago(name string) (time.Time, error) {
	text := c.query.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	span, err := spanOf(name, text)
	if err != nil {
		return time.Time{}, fault.New(fault.Invalid, "%s: found %.40q, expected a time such as 2026-01-15T08:00:00Z, or how long ago, such as 1h", name, text)
	}
	return c.Now().Add(-span), nil
}
