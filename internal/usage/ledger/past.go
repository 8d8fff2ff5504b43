package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"openimds/internal/usage/history"
	"openimds/internal/usage/series"
)

// Past is where what was long ago is read, if not from the file: with the same
// figures, as far as the file has them, or an error. It is safe for concurrent
// use.
type Past interface {
	// Range is history.File.Range.
	Range(ctx context.Context, instance string, from, to time.Time, r series.Resolution) ([]series.Point, error)
	// Totals is history.File.Totals.
	Totals(ctx context.Context, from, to time.Time, yield func(instance string, total history.Total)) error
}

// ErrPast is in the errors of a Past: what is in the file can be read.
var ErrPast = errors.New("the past cannot be read")

// ReadFrom makes readers read from a place other than the file.
func (l *Ledger) ReadFrom(p Past) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.past = p
}

// Reader reads what is kept, without what has been counted since.
type Reader struct {
	l    *Ledger
	ctx  context.Context //nolint:containedctx // a reader lives as long as one question
	past Past
}

// Past returns a reader, whose questions end with ctx.
func (l *Ledger) Past(ctx context.Context) Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Reader{l, ctx, l.past}
}

// Range is history.File.Range.
func (r Reader) Range(instance string, from, to time.Time, resolution series.Resolution) ([]series.Point, error) {
	if r.past == nil {
		return r.l.file.Range(instance, from, to, resolution)
	}
	points, err := r.past.Range(r.ctx, instance, from, to, resolution)
	return points, pastError(err)
}

// Totals is history.File.Totals.
func (r Reader) Totals(from, to time.Time, yield func(instance string, total history.Total)) error {
	if r.past == nil {
		return r.l.file.Totals(from, to, yield)
	}
	return pastError(r.past.Totals(r.ctx, from, to, yield))
}

func pastError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrPast, err)
}
