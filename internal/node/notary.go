package node

import (
	"bytes"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/item"
	"openimds/internal/throttle"
)

// Signer signs identity documents. Where the keys are, which is never on a host
// of a fleet, it is internal/docsign; elsewhere it asks the control plane. Its
// methods are safe for concurrent use.
type Signer interface {
	// Signs reports, at once, whether it makes this form for the dialect.
	Signs(dialect, form string) bool
	// Sign returns the signature over document, which is in's, as it is
	// served, and until when it may be served again. It may take as long as a
	// client waits. Neither side changes document or the signature.
	Sign(in *instance.Instance, form string, document []byte) (signature []byte, until time.Time, err error)
}

// DefaultSigning is how often an instance may have a document signed that was
// not signed before. A signature costs as much as thousands of other answers;
// only documents with audiences come in any number.
var DefaultSigning = throttle.PerSecond(5, 20)

// keptSignatures is how many signatures are kept for an instance: the forms of
// its document, and the audiences it asked for last.
const keptSignatures = 8

// notary keeps the signatures of one instance's documents: each is made when it
// is asked for first. It is an item.Signer.
type notary struct {
	signer  Signer
	policy  throttle.Policy
	log     *slog.Logger
	now     func() time.Time
	limiter throttle.Limiter
	kept    atomic.Pointer[[]signed] // newest first; never changed, only replaced
	signing sync.Mutex               // held while one is made: an instance has one at a time
}

// signed is a document's signature in one form.
type signed struct {
	form      string
	document  []byte
	signature []byte
	until     time.Time
}

// Signs implements item.Signer.
func (n *notary) Signs(in *instance.Instance, form string) bool {
	return n.signer.Signs(in.Dialect, form)
}

// Sign implements item.Signer.
func (n *notary) Sign(in *instance.Instance, form string, document []byte) ([]byte, item.Refusal) {
	now := n.now()
	if s := n.find(form, document, now); s != nil {
		return s, item.NotRefused
	}
	if !n.signer.Signs(in.Dialect, form) {
		return nil, item.NotRefused
	}
	if _, ok := n.limiter.Allow(n.policy, now.UnixNano()); !ok {
		return nil, item.TooMany
	}
	n.signing.Lock()
	defer n.signing.Unlock()
	if s := n.find(form, document, now); s != nil {
		return s, item.NotRefused
	}
	document = bytes.Clone(document)
	signature, until, err := n.signer.Sign(in, form, document)
	if err != nil {
		if fault.KindOf(err) == fault.NotFound {
			return nil, item.NotRefused
		}
		n.log.Error("an identity document was not signed", "instance", in.ID, "form", form, "err", err)
		return nil, item.Unavailable
	}
	n.keep(signed{form, document, signature, until})
	return signature, item.NotRefused
}

// find returns a signature that is kept and may still be served.
func (n *notary) find(form string, document []byte, now time.Time) []byte {
	kept := n.kept.Load()
	if kept == nil {
		return nil
	}
	for i := range *kept {
		if s := &(*kept)[i]; s.form == form && now.Before(s.until) && bytes.Equal(s.document, document) {
			return s.signature
		}
	}
	return nil
}

// keep puts a signature before the others, in place of those it replaces; the
// lock is held.
func (n *notary) keep(s signed) {
	next := []signed{s}
	if kept := n.kept.Load(); kept != nil {
		next = append(next, *kept...)
		same := func(o signed) bool { return o.form == s.form && bytes.Equal(o.document, s.document) }
		next = slices.Concat(next[:1], slices.DeleteFunc(next[1:], same))
	}
	next = next[:min(len(next), keptSignatures)]
	n.kept.Store(&next)
}
