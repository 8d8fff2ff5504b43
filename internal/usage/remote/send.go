package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// Bounds of trying again.
const (
	firstWait = 500 * time.Millisecond
	mostWait  = time.Minute
	// mostAsked is how long the place may ask to be left alone.
	mostAsked = 15 * time.Minute
)

// refusal is an answer that says that the same will never be taken.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// busy is an answer that says that the same may be taken later; after is how
// much later, if it says so.
type busy struct {
	text  string
	after time.Duration
}

func (b *busy) Error() string { return b.text }

// write sends a request once. The error is a *refusal, a *busy, or that of the
// connection.
func (e *endpoint) write(ctx context.Context, body []byte, now time.Time) error {
	answer, err := e.post(ctx, e.URL, body, writeHeader())
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	code := answer.StatusCode
	if code >= 200 && code <= 299 {
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // for the next request on this connection
		return nil
	}
	text := fmt.Sprintf("%s answered %d", answer.Request.URL.Host, code)
	if more := excerpt(answer.Body); more != "" {
		text += ": " + more
	}
	if code == http.StatusTooManyRequests || code >= 500 {
		return &busy{text, retryAfter(answer.Header.Get("Retry-After"), now)}
	}
	return &refusal{text}
}

// retryAfter reads seconds or a date; 0: it says nothing.
func retryAfter(header string, now time.Time) time.Duration {
	if header == "" {
		return 0
	}
	after := time.Duration(0)
	if n, err := strconv.Atoi(header); err == nil {
		after = time.Duration(min(n, int(mostAsked/time.Second))) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		after = at.Sub(now)
	}
	return min(max(after, 0), mostAsked)
}

// wait is how long to wait before the n-th try after the first, from 1.
func wait(n int, err error) time.Duration {
	if b, ok := errors.AsType[*busy](err); ok && b.after > 0 {
		return b.after
	}
	d := min(firstWait<<min(n-1, 20), mostWait)
	return d/2 + rand.N(d/2+1) //nolint:gosec // it spreads tries, and is no secret
}

// sleep is false when ctx is done before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
