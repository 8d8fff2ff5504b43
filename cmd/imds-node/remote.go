package main

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"openimds/internal/creds"
	"openimds/internal/fault"
	"openimds/internal/feed"
	"openimds/internal/instance"
	"openimds/internal/item"
)

// remote is what only the control plane can make, as the data plane sees it:
// credentials of roles and signatures over identity documents. What it made is
// kept, and served while it is away.
type remote struct {
	calls  *feed.Calls
	broker *creds.Broker
	signs  atomic.Pointer[feed.Client] // nil: at the very start

	mu   sync.Mutex // guards kept
	kept map[string][]keptSignature
	find func(id string) (*instance.Instance, bool)
}

// keptSignature is a signature over a document.
type keptSignature struct {
	form      string
	document  [sha256.Size]byte
	signature []byte
}

func newRemote(calls *feed.Calls, find func(id string) (*instance.Instance, bool), log *slog.Logger) *remote {
	r := &remote{calls: calls, kept: map[string][]keptSignature{}, find: find}
	choice := creds.Choice{Name: "control plane", Source: creds.SourceFunc(func(ctx context.Context, ask creds.Request) (*instance.Credentials, error) {
		return calls.Credentials(ctx, feed.CredentialsCall{Instance: ask.Instance.ID, Delivery: ask.Delivery})
	})}
	r.broker = creds.New(creds.Config{
		Choose: func(*instance.Instance) creds.Choice { return choice }, Find: find, Logger: log,
	})
	return r
}

// credentialsOf returns what holds the credentials of an instance.
func (r *remote) credentialsOf(id string) item.Credentials { return r.broker.Holder(id) }

// drop forgets credentials that are void.
func (r *remote) drop(d feed.Drop) {
	if d.All {
		r.broker.DropAll()
	}
	for _, role := range d.Roles {
		r.broker.DropRole(role[0], role[1], role[2])
	}
	for _, id := range d.Instances {
		r.broker.DropInstance(id)
	}
}

// Signs implements node.Signer.
func (r *remote) Signs(dialect, form string) bool {
	c := r.signs.Load()
	return c != nil && c.Signs(dialect, form)
}

const (
	// signTime is how long a client is kept waiting for a signature.
	signTime = 2 * time.Second
	// signAgain is when the control plane is asked again that was away.
	signAgain = time.Minute
	// mostKept is how many signatures are kept for an instance.
	mostKept = 8
)

// Sign implements node.Signer. While the control plane is away, what it signed
// before is served: the document is still the same.
func (r *remote) Sign(in *instance.Instance, form string, document []byte) ([]byte, time.Time, error) {
	ctx, cancel := context.WithTimeout(context.Background(), signTime)
	defer cancel()
	sum := sha256.Sum256(document)
	reply, err := r.calls.Sign(ctx, feed.SignatureCall{Instance: in.ID, Form: form, Document: document})
	if err == nil {
		r.keep(in.ID, keptSignature{form, sum, reply.Signature})
		return reply.Signature, reply.Until, nil
	}
	if fault.KindOf(err) == fault.Unavailable {
		if s := r.keptOf(in.ID, form, sum); s != nil {
			return s, time.Now().Add(signAgain), nil
		}
	}
	return nil, time.Time{}, err
}

func (r *remote) keptOf(id, form string, document [sha256.Size]byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.kept[id] {
		if s.form == form && s.document == document {
			return s.signature
		}
	}
	return nil
}

// keep puts a signature before the others of its instance, and forgets those of
// instances that are gone.
func (r *remote) keep(id string, s keptSignature) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := []keptSignature{s}
	for _, o := range r.kept[id] {
		if (o.form != s.form || o.document != s.document) && len(next) < mostKept {
			next = append(next, o)
		}
	}
	if r.kept[id] == nil {
		for other := range r.kept {
			if _, ok := r.find(other); !ok {
				delete(r.kept, other)
			}
		}
	}
	r.kept[id] = next
}
