package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"openimds/internal/config"
	"openimds/internal/docsign"
	"openimds/internal/seal"
	"openimds/internal/state"
	"openimds/internal/store"
)

// identityPrefix is where a store keeps the keys of identity documents.
const identityPrefix = "identity/"

// keptIdentity returns the keys of identity documents that a store keeps.
func (s settings) keptIdentity(ctx context.Context, kept store.Store, secrets *seal.Ring, log *slog.Logger) (*docsign.Authority, error) {
	c := s.identity(log)
	c.Keeper, c.Secrets = docsign.InStore{Store: kept, Prefix: identityPrefix}, secrets
	return docsign.New(ctx, c)
}

// identity returns what is chosen of the signatures of identity documents.
func (s settings) identity(log *slog.Logger) docsign.Config {
	return docsign.Config{LegacyDSA: s.Identity.EC2PKCS7, ECSDigestSHA256: s.Identity.ECSDigest == config.SHA256, Logger: log}
}

// devIdentity returns the keys of identity documents that the state folder of
// `imds dev` keeps, sealed under a key beside them; without a folder they end
// with the process.
func (s settings) devIdentity(ctx context.Context, dir string, log *slog.Logger) (*docsign.Authority, error) {
	c := s.identity(log)
	if dir == "" {
		return docsign.New(ctx, c)
	}
	path := filepath.Join(dir, "seal.key")
	k, err := seal.ReadKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o700); err == nil {
			k, err = seal.Generate(path)
		}
	}
	if err != nil {
		return nil, err
	}
	c.Keeper, c.Secrets = docsign.Files{Dir: filepath.Join(dir, "identity")}, seal.NewRing(k)
	return docsign.New(ctx, c)
}

// identityKeys are the keys of identity documents, for the regions that
// instances are launched in, and those of the instances that there are.
type identityKeys struct {
	*docsign.Authority
	plane *plane
	log   *slog.Logger
}

// ensure makes the keys that are due, and those of new regions.
func (k identityKeys) ensure(ctx context.Context) error {
	if err := k.Advance(ctx); err != nil {
		return err
	}
	type place struct{ dialect, region string }
	seen := map[place]bool{}
	for dialect, region := range k.plane.regions {
		seen[place{dialect, region}] = true
	}
	k.plane.db.Instances.All(func(r *state.Instance) bool {
		seen[place{r.Spec.Dialect, r.Spec.Region}] = true
		return false
	})
	for p := range seen {
		if err := k.Ensure(ctx, p.dialect, p.region); err != nil {
			return err
		}
	}
	return nil
}

// tend keeps the keys until ctx is done.
func (k identityKeys) tend(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if err := k.ensure(ctx); err != nil && ctx.Err() == nil {
			k.log.Error("keys of identity documents were not made; trying again in a minute", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// published returns the certificates, those of new regions too.
func (k identityKeys) published(ctx context.Context) ([]docsign.Certificate, error) {
	if err := k.ensure(ctx); err != nil {
		k.log.Error("keys of identity documents were not made", "err", err)
		return nil, err
	}
	return k.Certificates(), nil
}
