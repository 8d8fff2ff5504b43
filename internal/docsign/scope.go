package docsign

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"openimds/internal/fault"
)

// scopeID is what one line of keys is for. Its name is that of the keeper's
// record: ec2/us-east-1/rsa.
type scopeID struct {
	dialect, region string
	algorithm       algorithm
}

func scopeName(dialect, region string, a algorithm) string {
	return dialect + "/" + region + "/" + string(a)
}

// parseScope reads a scope's name. A region has no slash, and is no more than
// letters, digits and what joins them.
func parseScope(name string) (scopeID, error) {
	parts := strings.Split(name, "/")
	if len(parts) == 3 {
		s := scopeID{parts[0], parts[1], algorithm(parts[2])}
		odd := strings.ContainsFunc(s.region, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
		})
		known := s.dialect == "ec2" || s.dialect == "ecs"
		if known && s.region != "" && len(s.region) <= 64 && !odd && (s.algorithm == algorithmRSA || s.algorithm == algorithmDSA) {
			return s, nil
		}
	}
	return scopeID{}, fault.New(fault.Invalid, "%q names no identity keys: want dialect, region and algorithm", name)
}

// scope is one line of keys: of a dialect, a region and an algorithm.
type scope struct {
	id scopeID
	a  *Authority

	mu    sync.Mutex // held while keys are made and kept: others wait for the first
	keys  []*key     // in the order in which they begin; the slice is never changed, only replaced
	saved []byte     // the record as the keeper has it
}

// scope returns the scope of a name.
func (a *Authority) scope(name string) (*scope, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.scopes[name]; s != nil {
		return s, nil
	}
	id, err := parseScope(name)
	if err != nil {
		return nil, err
	}
	s := &scope{id: id, a: a}
	a.scopes[name] = s
	return s, nil
}

// all returns the scopes in the order of their names.
func (a *Authority) all() []*scope {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []*scope
	for _, s := range a.scopes {
		all = append(all, s)
	}
	slices.SortFunc(all, func(x, y *scope) int { return strings.Compare(x.name(), y.name()) })
	return all
}

func (s *scope) name() string { return scopeName(s.id.dialect, s.id.region, s.id.algorithm) }

// signing returns the key that signs at now, and until when it will for
// certain, the first key being made now.
func (s *scope) signing(ctx context.Context, now time.Time) (*key, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) == 0 {
		if err := s.advanceLocked(ctx, now); err != nil {
			return nil, time.Time{}, err
		}
	}
	i := current(s.keys, now)
	if i+1 < len(s.keys) {
		return s.keys[i], s.keys[i+1].from, nil
	}
	return s.keys[i], s.keys[i].certificate.NotAfter, nil
}

// published returns the keys whose certificates verifiers need.
func (s *scope) published() []*key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys
}

// advance makes the key that is due, and forgets those that are useless.
func (s *scope) advance(ctx context.Context, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.advanceLocked(ctx, now)
}

// maxTries is how often others may be first.
const maxTries = 5

// advanceLocked is advance with the lock held. What cannot be kept is not used:
// a verifier must not be given a certificate that a restart makes worthless.
func (s *scope) advanceLocked(ctx context.Context, now time.Time) error {
	p := s.a.cfg.Periods
	for tries := 0; ; tries++ {
		next := p.forget(s.keys, now)
		from, due := p.due(s.keys, now)
		if due {
			k, err := newKey(s.id, now, from, p.notAfter(from))
			if err != nil {
				return err
			}
			next = append(next, k)
		}
		if !due && len(next) == len(s.keys) {
			return nil
		}
		err := s.save(ctx, next)
		if fault.KindOf(err) == fault.Conflict && tries < maxTries {
			// Another control machine was first: its keys are the keys.
			if err := s.loadLocked(ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("keep identity keys of %s: %w", s.name(), err)
		}
		if due {
			s.a.cfg.Logger.Info("new identity key", "dialect", s.id.dialect, "region", s.id.region, "algorithm", string(s.id.algorithm),
				"serial", fmt.Sprintf("%x", next[len(next)-1].certificate.SerialNumber), "signs from", next[len(next)-1].from)
		}
		return nil
	}
}

// save puts keys in force once they are kept.
func (s *scope) save(ctx context.Context, keys []*key) error {
	if s.a.cfg.Keeper == nil {
		s.keys = keys
		return nil
	}
	plain, err := encode(keys)
	if err != nil {
		return err
	}
	defer clear(plain)
	sealed := s.a.cfg.Secrets.Seal(plain, s.context())
	if err := s.a.cfg.Keeper.Save(ctx, s.name(), s.saved, sealed); err != nil {
		return err
	}
	s.keys, s.saved = keys, sealed
	return nil
}

func (s *scope) load(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.loadLocked(ctx); err != nil {
		return err
	}
	if s.saved == nil || !s.a.cfg.Secrets.Stale(s.saved) {
		return nil
	}
	// A disk that is full or read-only is no reason not to sign.
	if err := s.save(ctx, s.keys); err != nil && fault.KindOf(err) != fault.Conflict {
		s.a.cfg.Logger.Warn("identity keys are not sealed anew: keep the older seal key, and start again once the store takes writes", "keys", s.name(), "err", err)
	}
	return nil
}

// loadLocked reads what the keeper has, with the lock held.
func (s *scope) loadLocked(ctx context.Context) error {
	sealed, err := s.a.cfg.Keeper.Load(ctx, s.name())
	if err != nil {
		return fmt.Errorf("read identity keys of %s: %w", s.name(), err)
	}
	if sealed == nil || bytes.Equal(sealed, s.saved) {
		s.saved = sealed
		return nil
	}
	plain, err := s.a.cfg.Secrets.Open(sealed, s.context())
	if err != nil {
		return fmt.Errorf("open identity keys of %s: %w", s.name(), err)
	}
	defer clear(plain)
	keys, err := decode(plain, s.id)
	if err != nil {
		return fmt.Errorf("read identity keys of %s: %w", s.name(), err)
	}
	s.keys, s.saved = keys, sealed
	return nil
}

// context is what the record is sealed for.
func (s *scope) context() string { return "identity keys " + s.name() }
