package admin

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"openimds/internal/fault"
	"openimds/internal/trace/finding"
	"openimds/internal/usage/history"
)

// TakenFindings says what became of a tracer's report.
type TakenFindings struct {
	// How many findings were taken.
	Taken int `json:"taken"`
	// How many are about no instance that is known here.
	Unknown int `json:"unknown"`
	// The batch had been taken before, and is not counted again.
	Repeated bool `json:"repeated,omitempty"`
}

// FindingsPath is where tracers report.
const FindingsPath = "/v1/trace/findings"

// Origin is where a tracer reports from, where that says whose findings they
// are: an instance that is a network namespace of this machine.
type Origin struct {
	// Instance that the findings are about, whatever they say.
	Instance string
	// Since is when it began to have its namespaces, of which Own knows the
	// inodes. Since then, findings about processes in others are not about it.
	Since time.Time
	Own   func(netns uint32) bool
}

type originKey struct{}

// WithOrigin returns the context of requests that come from there.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, &o)
}

// about returns the instance that a finding of this origin is about; empty: none.
func (o *Origin) about(f *finding.Finding) string {
	if f.Process.NetNS != 0 && !f.Time.Before(o.Since) && !o.Own(f.Process.NetNS) {
		return ""
	}
	return o.Instance
}

func findingsRoute() route {
	return answering(route{
		method: "POST", path: FindingsPath, id: "putFindings", reporter: true,
		doc:     "Take what a tracer in an instance has found: lines of JSON, as imds-trace writes them, 1 MiB at most. The trace token is enough",
		params:  []param{{name: "instance", doc: "the instance that findings are about which do not say it"}},
		headers: []param{{name: batchHeader, doc: "1 to 128 printable characters, the same when a batch is sent again: it counts once, however often it comes within 30 days"}},
	}, (*call).findings)
}

// batchHeader has the key of a batch.
const batchHeader = "Idempotency-Key"

// batchKey reads it; empty: the batch has none.
func (c *call) batchKey() (string, error) {
	key := c.Header.Get(batchHeader)
	if len(key) > 128 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) || len(c.Header.Values(batchHeader)) > 1 {
		return "", fault.New(fault.Invalid, "%s: found %.40q, expected 1 to 128 printable characters, once", batchHeader, key)
	}
	return key, nil
}

func (c *call) findings() (TakenFindings, error) {
	var out TakenFindings
	l, err := c.kept()
	if err != nil {
		return out, err
	}
	batch := history.Found{Findings: map[string][]finding.Finding{}}
	if batch.Key, err = c.batchKey(); err != nil {
		return out, err
	}
	if batch.Text, err = io.ReadAll(http.MaxBytesReader(nil, c.Body, finding.MaxBatch)); err != nil {
		return out, fault.New(fault.Invalid, "findings: %v", err)
	}
	now := c.Now()
	origin, _ := c.Context().Value(originKey{}).(*Origin)
	err = finding.Read(bytes.NewReader(batch.Text), func(f *finding.Finding) error {
		id := c.query.Get("instance")
		if f.Machine != nil && f.Machine.Instance != "" {
			id = f.Machine.Instance
		}
		if origin != nil {
			id = origin.about(f)
		}
		if _, err := c.Control.Find(c.caller, id); id == "" || err != nil {
			out.Unknown++
			return nil
		}
		if f.Time.After(now) {
			f.Time = now // its clock is ahead: it is no evidence of the future
		}
		out.Taken++
		batch.Findings[id] = append(batch.Findings[id], *f)
		return nil
	})
	if err != nil {
		return TakenFindings{}, fault.New(fault.Invalid, "findings: %v", err)
	}
	if out.Repeated, err = l.Findings(batch); err != nil {
		return TakenFindings{}, err
	}
	return out, nil
}
