package sink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"openimds/internal/trace/finding"
)

// Report sends findings to a control plane: batches of JSON lines, each kept
// in a spool on disk until the receiver has taken it.
type Report struct {
	// URL takes the batches, by POST.
	URL string
	// TokenFile has the bearer token; it is read for each batch, so that it can
	// be replaced. Empty: none is sent.
	TokenFile string
	// Machine is told with each finding.
	Machine finding.Machine
	// Spool keeps what is not taken yet.
	Spool *Spool
	// Every is how often a batch is closed.
	Every time.Duration
	// Client sends. Its timeout bounds an attempt.
	Client *http.Client
	Log    *slog.Logger

	batch []byte
	cut   time.Time // when the batch was closed last
	lost  atomic.Uint64
	sent  atomic.Uint64
}

// Pauses between attempts.
const (
	firstPause = time.Second
	lastPause  = 5 * time.Minute
)

// Put implements Sink. It never waits: what the spool has no room for is lost
// and counted.
func (r *Report) Put(f *finding.Finding) error {
	with := *f
	with.Machine = &r.Machine
	had := len(r.batch)
	b, err := finding.Append(r.batch, &with)
	if err != nil {
		return err
	}
	if len(b)-had > finding.MaxLine {
		r.lost.Add(f.Count)
		return nil
	}
	r.batch = b
	if len(r.batch) > finding.MaxBatch-finding.MaxLine {
		return r.Cut()
	}
	return nil
}

// Tick implements Ticker: it closes the batch when it is time.
func (r *Report) Tick(now time.Time) error {
	if now.Sub(r.cut) < r.Every {
		return nil
	}
	r.cut = now
	return r.Cut()
}

// Cut closes the batch and spools it.
func (r *Report) Cut() error {
	if len(r.batch) == 0 {
		return nil
	}
	b := r.batch
	r.batch = nil
	dropped, err := r.Spool.Add(b)
	r.lost.Add(uint64(dropped))
	return err
}

// Lost is how many findings were dropped, Sent how many lines were taken.
func (r *Report) Lost() uint64 { return r.lost.Load() }

// Sent is how many lines the receiver took.
func (r *Report) Sent() uint64 { return r.sent.Load() }

// Run sends what is in the spool until ctx is done.
func (r *Report) Run(ctx context.Context) {
	pause := firstPause
	for {
		wait := r.Every
		if err := r.drain(ctx); err != nil && ctx.Err() == nil {
			r.Log.Warn("report findings: will be tried again", "url", r.URL, "err", err, "in", pause)
			wait, pause = pause, min(2*pause, lastPause)
		} else {
			pause = firstPause
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// Finish closes the batch and tries once to send everything, when Run has
// returned. What is not taken waits in the spool for the next tracer.
func (r *Report) Finish(ctx context.Context) error {
	if err := r.Cut(); err != nil {
		return err
	}
	if err := r.drain(ctx); err != nil {
		return fmt.Errorf("send the last findings: %w: they wait in the spool", err)
	}
	return nil
}

// drain sends batches, oldest first, until none is left.
func (r *Report) drain(ctx context.Context) error {
	for {
		name, body, err := r.Spool.First()
		if err != nil || name == "" {
			return err
		}
		if err := r.post(ctx, name, body); err != nil {
			if _, refused := errors.AsType[refusal](err); !refused {
				return err
			}
			// It would be refused for ever, and hold up the others.
			r.lost.Add(uint64(bytes.Count(body, []byte("\n"))))
			r.Log.Error("report findings: a batch was refused and is dropped", "err", err)
		} else {
			r.sent.Add(uint64(bytes.Count(body, []byte("\n"))))
		}
		if err := r.Spool.Remove(name); err != nil {
			return err
		}
	}
}

// batchKey tells a batch from all others, of other machines too. It stays the
// same over tries and restarts, so that a batch whose answer was lost counts
// once.
func batchKey(name string, body []byte) string {
	sum := sha256.Sum256(body)
	return strings.TrimSuffix(name, spoolSuffix) + "-" + hex.EncodeToString(sum[:8])
}

// refusal is an answer that says that the batch itself is wrong.
type refusal struct{ error }

func (r *Report) post(ctx context.Context, name string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Idempotency-Key", batchKey(name, body))
	if r.TokenFile != "" {
		token, err := os.ReadFile(r.TokenFile)
		if err != nil {
			return fmt.Errorf("read the token of the report: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	res, err := r.Client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	switch {
	case res.StatusCode/100 == 2:
		return nil
	case res.StatusCode == http.StatusBadRequest, res.StatusCode == http.StatusRequestEntityTooLarge, res.StatusCode == http.StatusUnprocessableEntity:
		return refusal{errors.New(res.Status)}
	}
	return errors.New(res.Status)
}
