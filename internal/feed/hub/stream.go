package hub

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"openimds/internal/feed"
)

// writeTime is how long a node may take to read what is sent before its stream
// is given up.
const writeTime = 30 * time.Second

func cmpNames(a, b string) int { return cmp.Compare(a, b) }

// NodeName returns the name of the node that a request comes from: the common
// name of the certificate that its connection was verified with. Without one it
// is an error.
func NodeName(r *http.Request) (string, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return "", errors.New("a node shows a client certificate that this control plane's authority has signed")
	}
	name := r.TLS.VerifiedChains[0][0].Subject.CommonName
	if name == "" {
		return "", errors.New("the client certificate has no common name: it is the node's name")
	}
	return name, nil
}

// ServeHTTP serves the feed of the node that the client certificate names. The
// answer lasts until one side ends it.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	node, err := NodeName(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "a feed is read with GET", http.StatusMethodNotAllowed)
		return
	}
	at := h.position(r)
	log := h.cfg.Logger.With("node", node, "from", r.RemoteAddr)
	log.Info("a node follows", "revision", at.have, "snapshot", at.snapshot)
	h.open(node, 1)
	defer h.open(node, -1)
	err = h.stream(w, r, node, at)
	log.Info("a node no longer follows", "why", err)
}

// open counts a stream of a node.
func (h *Hub) open(node string, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.lane(node)
	l.streams += n
	if n > 0 {
		l.since = time.Now().UTC().Truncate(time.Second)
	}
}

// position is where a stream goes on.
type position struct {
	have     uint64 // revision
	snapshot bool   // nothing is there that is of use
	leases   uint64 // token keys that were sent, as Hub counts them
	drops    uint64 // void credentials that were told of, likewise
}

// position is where a node says it is. Whoever comes from another store gets a
// snapshot, and whoever has old token keys gets them anew.
func (h *Hub) position(r *http.Request) position {
	q := r.URL.Query()
	h.mu.Lock()
	at := position{leases: h.leases, drops: h.dropped + uint64(len(h.drops))}
	h.mu.Unlock()
	var err error
	if at.have, err = strconv.ParseUint(q.Get(feed.QueryRevision), 10, 64); err != nil || q.Get(feed.QueryStore) != h.cfg.DB.ID() {
		at.have, at.snapshot = 0, true
	}
	if q.Get(feed.QueryEpoch) != strconv.FormatInt(h.cfg.Epoch(), 10) {
		at.leases-- // differs from what is in force
	}
	return at
}

var errClosed = errors.New("the control plane is going down")

// stream sends until the request or the hub ends.
func (h *Hub) stream(w http.ResponseWriter, r *http.Request, node string, at position) error {
	control := http.NewResponseController(w)
	// An answer of this kind outlives the server's deadlines.
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("serve a feed: %w", err)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	out := bufio.NewWriterSize(w, 64<<10)
	var line []byte
	send := func(f feed.Frame) error {
		var err error
		if line, err = feed.Append(line[:0], f); err != nil {
			return err
		}
		if out.Available() < len(line) {
			// A long snapshot may take long; each piece of it may not.
			if err := control.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
				return err
			}
		}
		_, err = out.Write(line)
		return err
	}
	beat := time.NewTicker(h.cfg.Heartbeat)
	defer beat.Stop()
	for first := true; ; first = false {
		s := h.next(node, at)
		if s.closed {
			return errClosed
		}
		if err := control.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
			return fmt.Errorf("serve a feed: %w", err)
		}
		var err error
		if first || s.snapshot {
			err = send(feed.Frame{Hello: &feed.Hello{Version: feed.Version, Store: h.cfg.DB.ID(), Node: node, Forms: forms(h.cfg.Signer), Snapshot: s.snapshot}})
		}
		if err == nil && first {
			// What a node holds that was away may be void by now.
			if missed := h.missed(node, at.have); missed != nil {
				err = send(feed.Frame{Drop: missed})
			}
		}
		if err == nil {
			err = h.frames(&s, send)
		}
		if err == nil {
			err = out.Flush()
		}
		if err == nil {
			err = control.Flush()
		}
		if err != nil {
			return err
		}
		at = position{have: s.revision, leases: s.leases, drops: s.drops}
		select {
		case <-s.moved:
		case <-beat.C:
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
}
