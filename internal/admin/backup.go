package admin

import (
	"context"
	"io"
	"net/http"
	"time"

	"openimds/internal/fault"
)

// Backup writes the store, as it is at one revision, to w, while it is in use.
type Backup func(ctx context.Context, w io.Writer) (revision uint64, err error)

// backupStall is how long a reader of a backup may take none of it: the store
// keeps every page that a backup still needs.
const backupStall = time.Minute

// backupRoute answers with the store's file. An answer that is cut off is no
// backup: its connection is broken, so that the client cannot take it for one.
func backupRoute() route {
	const id = "backupStore"
	return route{
		method: "GET", path: "/v1/store/backup", id: id, media: "application/octet-stream",
		doc: "The store's file, as it is at one revision; `imds store restore` takes it",
		plain: func(h *handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				request := newRequestID()
				w.Header().Set("X-Request-Id", request)
				w.Header().Set("Cache-Control", "no-store")
				if err := h.mayBackup(r, id, request); err != nil {
					h.refuse(w, err)
					return
				}
				w.Header().Set("Content-Type", "application/octet-stream")
				revision, err := h.Backup(r.Context(), &patient{w, http.NewResponseController(w)})
				if err != nil {
					h.Logger.Error("a backup was cut off", "request", request, "err", err)
					panic(http.ErrAbortHandler)
				}
				h.Logger.Info("the store was backed up", "request", request, "revision", revision)
			})
		},
	}
}

// mayBackup decides, and records, whether a request gets the store.
func (h *handler) mayBackup(r *http.Request, id, request string) error {
	switch {
	case !h.authorized(r, false):
		return fault.New(fault.Unauthenticated, "a token is needed: send the header Authorization: Bearer TOKEN (imds: --token-file FILE)")
	case len(r.URL.Query()) > 0:
		return fault.New(fault.Invalid, "there are no parameters here")
	}
	who, err := caller(r, id, request)
	if err != nil {
		return err
	}
	if h.Backup == nil {
		return fault.New(fault.Unsupported, "the state is in memory, or in a store that is backed up by its own means")
	}
	return h.Control.Permit(who)
}

// patient gives a slow reader time, as long as it reads.
type patient struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	// A writer that knows no deadlines is none of a network.
	_ = p.c.SetWriteDeadline(time.Now().Add(backupStall))
	return p.w.Write(b)
}
