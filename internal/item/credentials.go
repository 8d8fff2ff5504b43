package item

import (
	"time"

	"openimds/internal/instance"
)

// Credentials holds the credentials of one instance's role. Its methods are
// safe for concurrent use, and allocate nothing while a valid set is held.
type Credentials interface {
	// Get returns the set for requests with a session token, or that for
	// requests without. It is valid at now, which is in Unix seconds, and must
	// not be changed. Where none is held, Get waits a bounded time for one to
	// be made. The kind of a fault says why there is none.
	Get(in *instance.Instance, tokened bool, now int64) (*instance.Credentials, error)
	// Updated returns when the set that is held was issued; the zero time if
	// none is.
	Updated(tokened bool) time.Time
}
