package feed

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"openimds/internal/fault"
	"openimds/internal/instance"
)

// Paths of what a node asks for, with POST and a JSON body, over the same
// authenticated connection as its feed.
const (
	CredentialsPath = "/feed/v1/credentials"
	SignaturePath   = "/feed/v1/signature"
	UsagePath       = "/feed/v1/usage"
)

// CredentialsCall asks for credentials of the role of an instance; the answer is
// an instance.Credentials.
type CredentialsCall struct {
	Instance string `json:"instance"`
	// Delivery is "1.0" or "2.0".
	Delivery string `json:"delivery"`
}

// SignatureCall asks for a signature over an instance's identity document.
type SignatureCall struct {
	Instance string `json:"instance"`
	Form     string `json:"form"`
	Document []byte `json:"document"`
}

// SignatureReply is the answer.
type SignatureReply struct {
	Signature []byte `json:"signature"`
	// Until is when it may last be served without asking again.
	Until time.Time `json:"until"`
}

// Refusal is the body of another status than 200.
type Refusal struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
}

// Calls asks the control plane. Its methods are safe for concurrent use; their
// errors are faults of the kind that the control plane names, and Unavailable
// where it cannot be reached.
type Calls struct {
	// URL of the control plane, and what makes the requests: those of a ClientConfig.
	URL  string
	HTTP *http.Client
}

// Credentials asks for a set of credentials.
func (c *Calls) Credentials(ctx context.Context, ask CredentialsCall) (*instance.Credentials, error) {
	k := &instance.Credentials{}
	return k, c.post(ctx, CredentialsPath, ask, k)
}

// Sign asks for a signature.
func (c *Calls) Sign(ctx context.Context, ask SignatureCall) (SignatureReply, error) {
	var s SignatureReply
	return s, c.post(ctx, SignaturePath, ask, &s)
}

// Usage reports what a node has counted: a series.Report. It may be sent again.
func (c *Calls) Usage(ctx context.Context, report any) error {
	var taken struct{}
	return c.post(ctx, UsagePath, report, &taken)
}

// maxReply bounds an answer in bytes.
const maxReply = 64 << 10

func (c *Calls) post(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("ask the control plane: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask the control plane: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the control plane cannot be asked")
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the control plane does not answer to the end")
	}
	if resp.StatusCode != http.StatusOK {
		return refusal(resp.Status, answer)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fault.New(fault.Internal, "the control plane's answer is not understood") // the parser may quote it
	}
	return nil
}

// refusal makes an error of another answer than 200.
func refusal(status string, answer []byte) error {
	var r Refusal
	if json.Unmarshal(answer, &r) == nil {
		for k := fault.Internal; k <= fault.Unsupported; k++ {
			if k.String() == r.Kind {
				return fault.New(k, "%s", r.Message)
			}
		}
	}
	return fault.New(fault.Unavailable, "the control plane answers %s", status)
}
