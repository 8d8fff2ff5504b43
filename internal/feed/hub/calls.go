package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"openimds/internal/dialect"
	"openimds/internal/fault"
	"openimds/internal/feed"
	"openimds/internal/instance"
	"openimds/internal/usage/series"
)

// Signer signs identity documents; see node.Signer.
type Signer interface {
	Signs(dialect, form string) bool
	Sign(in *instance.Instance, form string, document []byte) (signature []byte, until time.Time, err error)
}

// forms returns the forms that a signer makes, by dialect.
func forms(s Signer) map[string][]string {
	if s == nil {
		return nil
	}
	all := map[string][]string{}
	for _, name := range []string{instance.DialectECS, instance.DialectEC2} {
		for _, form := range []string{dialect.FormSignature, dialect.FormPKCS7, dialect.FormRSA2048} {
			if s.Signs(name, form) {
				all[name] = append(all[name], form)
			}
		}
	}
	return all
}

// Handler serves feeds, and what nodes ask for besides, each below its path.
func (h *Hub) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(feed.Path, h)
	mux.HandleFunc("POST "+feed.CredentialsPath, answer(h, h.credentials))
	mux.HandleFunc("POST "+feed.SignaturePath, answer(h, h.signature))
	mux.HandleFunc("POST "+feed.UsagePath, answerUpTo(h, maxUsage, h.usage))
	return mux
}

// maxCall bounds what a node asks, in bytes.
const maxCall = 64 << 10

// maxUsage bounds a usage report, in bytes: that of ten thousand instances has
// some megabytes.
const maxUsage = 16 << 20

// answer makes a handler of a function of a call: who asks, what is asked, the
// answer or the refusal.
func answer[In, Out any](h *Hub, serve func(ctx context.Context, node string, in In) (Out, error)) http.HandlerFunc {
	return answerUpTo(h, maxCall, serve)
}

// answerUpTo is answer for calls of another size.
func answerUpTo[In, Out any](h *Hub, most int64, serve func(ctx context.Context, node string, in In) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		node, err := NodeName(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		var in In
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
		if err == nil {
			err = json.Unmarshal(body, &in)
		}
		if err != nil {
			http.Error(w, "the call is not understood", http.StatusBadRequest)
			return
		}
		out, err := serve(r.Context(), node, in)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		if err != nil {
			refusal := feed.Refusal{Kind: fault.KindOf(err).String(), Message: "something broke at the control plane: its log says what"}
			if f, ok := errors.AsType[*fault.Error](err); ok && f.Kind != fault.Internal {
				refusal.Message = f.Msg
			}
			h.cfg.Logger.Warn("a node did not get what it asked for", "node", node, "path", r.URL.Path, "err", err)
			w.WriteHeader(http.StatusUnprocessableEntity)
			_ = e.Encode(refusal) // the node sees a broken answer
			return
		}
		_ = e.Encode(out)
	}
}

// guest returns an instance if it is assigned to a node: a node gets nothing
// that is another's, whatever it asks for.
func (h *Hub) guest(node, id string) (*instance.Instance, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.lanes[node]; l != nil && l.guests[id] != nil {
		return &l.guests[id].Spec, nil
	}
	return nil, fault.New(fault.NotFound, "node %s has no instance %.64q", node, id)
}

func (h *Hub) credentials(_ context.Context, node string, ask feed.CredentialsCall) (*instance.Credentials, error) {
	in, err := h.guest(node, ask.Instance)
	switch {
	case err != nil:
		return nil, err
	case h.cfg.Credentials == nil:
		return nil, fault.New(fault.NotFound, "there are no credentials here")
	}
	return h.cfg.Credentials(in, ask.Delivery)
}

// usage takes what a node has counted.
func (h *Hub) usage(ctx context.Context, node string, report series.Report) (struct{}, error) {
	if h.cfg.Usage == nil {
		return struct{}{}, fault.New(fault.Invalid, "usage is not kept here") // so that it does not wait for ever
	}
	return struct{}{}, h.cfg.Usage(ctx, node, report)
}

// signature signs what is the document of one of the node's instances, and
// nothing else: a stolen host must not vouch for others.
func (h *Hub) signature(_ context.Context, node string, ask feed.SignatureCall) (feed.SignatureReply, error) {
	in, err := h.guest(node, ask.Instance)
	switch {
	case err != nil:
		return feed.SignatureReply{}, err
	case h.cfg.Signer == nil || h.cfg.Document == nil:
		return feed.SignatureReply{}, fault.New(fault.NotFound, "there are no signatures here")
	case !vouches(h.cfg.Document(in), ask.Document):
		return feed.SignatureReply{}, fault.New(fault.Unavailable, "this is not the identity document of instance %s as it is now", in.ID)
	}
	signature, until, err := h.cfg.Signer.Sign(in, ask.Form, ask.Document)
	return feed.SignatureReply{Signature: signature, Until: until}, err
}

// vouches reports whether a document is what an instance's identity document is
// now, or that with an audience as its last member (ECS-IDENT-03).
func vouches(own, document []byte) bool {
	if len(own) == 0 {
		return false
	}
	if bytes.Equal(own, document) {
		return true
	}
	end, closed := bytes.CutSuffix(own, []byte("}"))
	rest, same := bytes.CutPrefix(document, end)
	rest, named := bytes.CutPrefix(rest, []byte(`,"audience":`))
	rest, whole := bytes.CutSuffix(rest, []byte("}"))
	var audience string
	return closed && same && named && whole && json.Unmarshal(rest, &audience) == nil
}
