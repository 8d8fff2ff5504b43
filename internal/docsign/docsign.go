// Package docsign signs instance identity documents in the clouds' forms. It
// makes a key and a self-signed certificate for each dialect and region, keeps
// them sealed, replaces them in time with an overlap, and publishes the
// certificates. It signs the bytes it is given; what a document says is the
// dialects' business. Time is a parameter wherever it decides.
package docsign

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"openimds/internal/dialect"
	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/seal"
)

// Config is what an Authority is made of. The zero value keeps keys in memory.
type Config struct {
	// Keeper keeps the keys. Nil: they end with the process.
	Keeper Keeper
	// Secrets seals the keys for the keeper. It is required with one.
	Secrets *seal.Ring
	// LegacyDSA also makes EC2's pkcs7, which is signed with a DSA key of 1024
	// bits over SHA-1.
	LegacyDSA bool
	// ECSDigestSHA256 makes ECS's pkcs7 with SHA-256 in place of the vendor's
	// SHA-1.
	ECSDigestSHA256 bool
	// Periods of keys; a zero is its default.
	Periods Periods
	// Now is the clock; time.Now by default.
	Now func() time.Time
	// Logger is told of new keys; nobody by default.
	Logger *slog.Logger
}

// Authority signs documents. It is safe for concurrent use.
type Authority struct {
	cfg Config

	mu     sync.Mutex // guards scopes, not what they hold
	scopes map[string]*scope
}

// New returns an authority with the keys that its keeper has. Keys that cannot
// be opened are an error: to make others would leave every verifier with
// certificates that are worth nothing.
func New(ctx context.Context, cfg Config) (*Authority, error) {
	if cfg.Keeper != nil && cfg.Secrets == nil {
		return nil, fault.New(fault.Invalid, "identity keys are kept sealed or not at all: give a key to seal them under")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Periods = cfg.Periods.orDefault()
	a := &Authority{cfg: cfg, scopes: map[string]*scope{}}
	if cfg.Keeper == nil {
		return a, nil
	}
	names, err := cfg.Keeper.Names(ctx)
	if err != nil {
		return nil, fmt.Errorf("read identity keys: %w", err)
	}
	for _, name := range names {
		s, err := a.scope(name)
		if err == nil {
			err = s.load(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Signs reports whether the authority makes this form for the dialect.
func (a *Authority) Signs(name, form string) bool {
	switch name {
	case "ec2":
		return form == dialect.FormSignature || form == dialect.FormRSA2048 || form == dialect.FormPKCS7 && a.cfg.LegacyDSA
	case "ecs":
		return form == dialect.FormPKCS7
	}
	return false
}

// recheck is how long a signature may be served before the authority is asked
// again, so that a key that was replaced is out of use within this time.
const recheck = time.Hour

// Sign returns the signature over document in a form of in's dialect, as it is
// served, and until when it may be served. The first signature of a region
// makes its key. A form that is not made is fault.NotFound; with the same key
// the same document is signed with the same bytes (but for DSA's).
func (a *Authority) Sign(in *instance.Instance, form string, document []byte) ([]byte, time.Time, error) {
	if !a.Signs(in.Dialect, form) {
		return nil, time.Time{}, fault.New(fault.NotFound, "there is no %s of the identity document", form)
	}
	algorithm := algorithmRSA
	if in.Dialect == "ec2" && form == dialect.FormPKCS7 {
		algorithm = algorithmDSA
	}
	s, err := a.scope(scopeName(in.Dialect, in.Region, algorithm))
	if err != nil {
		return nil, time.Time{}, err
	}
	now := a.cfg.Now()
	k, until, err := s.signing(context.Background(), now)
	if err != nil {
		return nil, time.Time{}, err
	}
	signature, err := a.form(k, in, form, document)
	return signature, minTime(until, now.Add(recheck)), err
}

// form makes one form of signature.
func (a *Authority) form(k *key, in *instance.Instance, form string, document []byte) ([]byte, error) {
	switch {
	case in.Dialect == "ecs":
		h := sha1
		if a.cfg.ECSDigestSHA256 {
			h = sha256
		}
		return ecsEnvelope(k, h, document)
	case form == dialect.FormSignature:
		return ec2Signature(k, document)
	case form == dialect.FormRSA2048:
		return ec2Envelope(k, sha256, document, signingTime(k, in.Started))
	default:
		return ec2Envelope(k, sha1, document, signingTime(k, in.Started))
	}
}

// signingTime is when a document counts as signed: when it was made, which is
// the start of its instance, but not before its key was in use, since verifiers
// hold the time against the certificate.
func signingTime(k *key, started time.Time) time.Time {
	if started.Before(k.from) {
		return k.from
	}
	return minTime(started, k.certificate.NotAfter)
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Advance makes the keys that are due, and forgets those whose documents are
// useless. Call it at least daily.
func (a *Authority) Advance(ctx context.Context) error {
	now := a.cfg.Now()
	for _, s := range a.all() {
		if err := s.advance(ctx, now); err != nil {
			return err
		}
	}
	return nil
}

// Ensure makes the keys of a dialect's region, so that its certificates are
// there before anybody asks for a document.
func (a *Authority) Ensure(ctx context.Context, dialectName, region string) error {
	algorithms := []algorithm{algorithmRSA}
	if dialectName == "ec2" && a.cfg.LegacyDSA {
		algorithms = append(algorithms, algorithmDSA)
	}
	for _, algorithm := range algorithms {
		s, err := a.scope(scopeName(dialectName, region, algorithm))
		if err == nil {
			err = s.advance(ctx, a.cfg.Now())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
